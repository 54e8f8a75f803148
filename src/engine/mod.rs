//! Group commit: everything that waits becomes one transaction, and is answered when that is on disk.

mod cache;
mod clock;
mod feed;
mod health;
mod overload;
mod queries;
mod queue;
mod spin;
mod transact;
mod worker;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::ledger::Currency;
use crate::store::{Store, StoreError};
pub use cache::Cache;
pub use clock::{Clock, ClockBehind, SystemClock, check_clock};
pub use feed::{Feed, FeedPage, Watcher};
pub use health::{Health, HealthWatch};
use overload::Overload;
pub use queries::{Page, Queries};
pub use queue::{Ledger, Replies};
use spin::AdaptiveSpin;
pub use transact::{Committed, resolve, transact};
use worker::Worker;

/// A running ledger, as the APIs use it. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    /// Submits commands.
    pub ledger: Ledger,
    /// Reads what was committed.
    pub queries: Queries,
    /// Follows what is committed.
    pub feed: Feed,
    /// Whether the ledger can commit.
    pub health: HealthWatch,
    /// The currency of every wallet.
    pub currency: Currency,
}

/// How the engine batches and waits.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Commands that may wait; one more is answered [`EngineError::Busy`].
    pub queue_capacity: usize,
    /// Commands that share one transaction at the most.
    pub batch_size_max: usize,
    /// How long a command waits while another process holds the write lock.
    pub lock_timeout: Duration,
    /// How long one attempt on the store may take before the ledger counts as stuck.
    pub stall_timeout: Duration,
    /// Whether to spin for a lone caller. It must be false if the worker has no thread of its own.
    pub spin: bool,
    /// Those who may watch the ledger at the same time; one more is answered [`EngineError::Busy`].
    pub watchers_max: usize,
}

/// Why a command or a read got no answer from the ledger.
#[derive(Clone, Debug, Error)]
pub enum EngineError {
    /// The queue is full, or there are too many watchers; nothing was done.
    #[error("there is no place left")]
    Busy,
    /// The deadline passed before the command was decided, or the read was made; nothing was done.
    #[error("the deadline passed")]
    Deadline,
    /// The store failed; the outcome of a command may be unknown.
    #[error("the store failed")]
    Unavailable(#[source] Arc<StoreError>),
    /// A stored row is not what the ledger wrote; nothing was done.
    #[error("the ledger is corrupt")]
    Corrupt(#[source] Arc<StoreError>),
    /// A cursor is beyond the end of the ledger, as that of another ledger or of one that was restored.
    #[error("the cursor is beyond the end of the ledger")]
    UnknownCursor,
    /// A bug: the worker panicked over this command.
    #[error("the ledger's worker panicked")]
    Panicked,
    /// The engine has stopped; the outcome of a command may be unknown.
    #[error("the engine has stopped")]
    Stopped,
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { .. } => Self::Corrupt(Arc::new(error)),
            StoreError::Locked
            | StoreError::Stale
            | StoreError::Unavailable(_)
            | StoreError::InDoubt(_)
            | StoreError::Incompatible(_) => Self::Unavailable(Arc::new(error)),
        }
    }
}

impl Engine {
    /// An engine, and the work of its worker, which the caller must drive. The future blocks its thread while the store
    /// works. Watchers are told on the runtime that this is called in.
    pub fn new(store: Store, clock: impl Clock, options: EngineOptions) -> (Self, impl Future<Output = ()> + Send) {
        let Store { mut writers, reader, genesis } = store;
        let (writer, currency) = (writers.remove(0), genesis.currency);
        let (spin, overload) = (AdaptiveSpin::new(options.spin), Overload::default());
        let (ledger, submissions) = queue::queue(&options, spin.clone(), overload.clone());
        let (reporter, health) = health::watch(options.stall_timeout);
        let queries = Queries::new(reader);
        let (feed, publisher, telling) = Feed::new(queries.clone(), options.watchers_max);
        Handle::current().spawn(telling);
        let worker = Worker::new(writer, submissions, (reporter, overload, publisher), clock, options, spin);
        let engine = Self { ledger, queries, feed, health, currency };
        (engine, worker.run())
    }

    /// An engine whose worker runs on a thread of its own, which ends when the last [`Ledger`] is gone. The receiver is
    /// closed when it has ended, and has let go of the store.
    ///
    /// # Panics
    /// If the system cannot start a thread.
    #[must_use]
    pub fn start(store: Store, clock: impl Clock, options: EngineOptions) -> (Self, oneshot::Receiver<()>) {
        let (engine, work) = Self::new(store, clock, options);
        let (ended_sender, ended) = oneshot::channel();
        let runtime = Handle::current();
        runtime.spawn(engine.health.clone().log_stalls());
        runtime.spawn(engine.ledger.overload().log());
        let work = move || {
            // Not the runtime's own way to block: a store may block in a runtime of its own.
            let _entered = runtime.enter();
            block_on(work);
            drop(ended_sender);
        };
        let thread = thread::Builder::new().name("ledger".to_owned()).spawn(work);
        thread.expect("a thread for the ledger can be started");
        (engine, ended)
    }
}
