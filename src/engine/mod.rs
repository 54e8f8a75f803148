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

use futures::executor;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::ledger::{Currency, Genesis, Shards};
use crate::store::{Store, StoreError, WriterCounts};
pub use cache::Cache;
pub use clock::{Clock, ClockBehind, SystemClock, check_clock};
pub use feed::{Feed, FeedPage, Watcher};
pub use health::{Health, HealthWatch};
use overload::Overload;
pub use queries::{Page, Queries};
pub use queue::{Ledger, Replies};
use spin::AdaptiveSpin;
pub use transact::{Committed, resolve, transact};
use worker::{Parts, Worker};

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
    /// What the writer of each shard has done, in the order of the shards.
    pub writer_counts: Arc<[Arc<WriterCounts>]>,
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
    /// Whether to spin for a lone caller, in a ledger of one shard. It must be false if the worker has no thread of its
    /// own.
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
    /// A cursor is of a ledger with another number of shards.
    #[error("the cursor is of a ledger with another number of shards")]
    ForeignCursor,
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
    /// An engine, and the work of its workers, one for each shard, which the caller must drive. Each future blocks its
    /// thread while the store works. Watchers are told on the runtime that this is called in.
    ///
    /// # Panics
    /// If the store does not have a writer for each shard.
    pub fn new<C: Clock>(
        store: Store,
        clock: C,
        options: EngineOptions,
    ) -> (Self, Vec<impl Future<Output = ()> + Send + use<C>>) {
        let Store { writers, reader, genesis: Genesis { shards, currency, .. } } = store;
        assert_eq!(writers.len(), usize::from(shards.count()), "each shard has a writer");
        // Several workers that spin would take the processors from each other.
        let (spin, overload) = (AdaptiveSpin::new(options.spin && shards == Shards::ONE), Overload::default());
        let (ledger, queues) = queue::queues(shards, &options, spin.clone(), overload.clone());
        let (reporters, health) = health::watch(shards, options.stall_timeout);
        let queries = Queries::new(reader);
        let (feed, publishers, telling) = Feed::new(queries.clone(), shards, options.watchers_max);
        Handle::current().spawn(telling);
        let clock = Arc::new(clock);
        let writer_counts = writers.iter().map(|writer| writer.counts()).collect();
        let parts = shards.all().zip(writers).zip(queues).zip(reporters).zip(publishers);
        let work = parts.map(|((((shard, writer), queue), health), feed)| {
            let parts = Parts { shard, writer, queue, health, feed, clock: Arc::clone(&clock) };
            Worker::new(parts, options, spin.clone(), overload.clone()).run()
        });
        let work = work.collect();
        (Self { ledger, queries, feed, health, writer_counts, currency }, work)
    }

    /// An engine each of whose workers runs on a thread of its own, which ends when the last [`Ledger`] is gone. The
    /// receiver is closed when all have ended, and have let go of the store.
    ///
    /// # Panics
    /// If the system cannot start a thread, or the store does not have a writer for each shard.
    #[must_use]
    pub fn start(store: Store, clock: impl Clock, options: EngineOptions) -> (Self, oneshot::Receiver<()>) {
        let (engine, work) = Self::new(store, clock, options);
        let (ended_sender, ended) = oneshot::channel();
        let ended_sender = Arc::new(ended_sender);
        let runtime = Handle::current();
        runtime.spawn(engine.health.clone().log_stalls());
        runtime.spawn(engine.ledger.overload().log());
        let is_only = work.len() == 1;
        for (index, work) in work.into_iter().enumerate() {
            let name = if is_only { "ledger".to_owned() } else { format!("ledger-{index}") };
            let (runtime, ended_sender) = (runtime.clone(), Arc::clone(&ended_sender));
            let work = move || {
                // Timers are the runtime's. It must not be the runtime that drives this: a writer may block on a
                // runtime of its own, which is not allowed inside another.
                let entered = runtime.enter();
                executor::block_on(work);
                drop((entered, ended_sender));
            };
            let thread = thread::Builder::new().name(name).spawn(work);
            thread.expect("a thread for the ledger can be started");
        }
        (engine, ended)
    }
}
