//! Group commit: everything that waits becomes one transaction, and is answered when that is on disk.

mod clock;
mod health;
mod spin;
mod worker;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::ledger::{Command, Commit, Currency, Entry, EntryId, Outcome, Timestamp, UserId, Wallet, WalletId};
use crate::store::{Reader, Store, StoreError};
pub use clock::{Clock, SystemClock};
use health::Watchdog;
pub use health::{Health, HealthWatch, panic_message};
use spin::AdaptiveSpin;
use worker::{Reply, Submission, Worker};

/// Commands that can be queued together, if the settings have room for them. Enough for what comes at once to cost one
/// wake-up, few enough that a batch still holds those of several callers.
const GROUP_SIZE_MAX: usize = 256;

/// The handle to the one ledger of this process. Cheap to clone; every door has one.
///
/// When the last clone is dropped, the worker answers what still waits and lets go of the store.
#[derive(Clone)]
pub struct Engine {
    queue: mpsc::UnboundedSender<Submission>,
    /// Room for commands that wait.
    permits: Arc<Semaphore>,
    /// The part of it that streams may take: they send as fast as they can, and must leave some to everybody else.
    stream_permits: Arc<Semaphore>,
    group_size_max: usize,
    /// What room there is when nobody waits.
    queue_capacity: usize,
    spin: AdaptiveSpin,
    reader: Arc<dyn Reader>,
    health: HealthWatch,
    currency: Currency,
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
    /// How long one attempt on the store may take before it stands still, as far as [`Engine::health`] can tell.
    pub stall_timeout: Duration,
}

/// Why a command or a read got no answer from the ledger.
#[derive(Clone, Debug, Error)]
pub enum EngineError {
    /// The queue is full; nothing was done.
    #[error("the queue is full")]
    Busy,
    /// The command's deadline passed before it was decided; nothing was done.
    #[error("the deadline passed before the command was decided")]
    Deadline,
    /// The store failed; the outcome of a command may be unknown.
    #[error("the store failed")]
    Unavailable(#[source] Arc<StoreError>),
    /// A stored row is not what the ledger wrote; nothing was done.
    #[error("the ledger is corrupt")]
    Corrupt(#[source] Arc<StoreError>),
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
            StoreError::Locked | StoreError::Unavailable(_) | StoreError::Incompatible(_) => {
                Self::Unavailable(Arc::new(error))
            }
        }
    }
}

/// The answers to come of commands that were queued together. Dropping it changes nothing about the commands.
pub struct Answers(oneshot::Receiver<Vec<Reply>>);

impl Answers {
    /// Waits until the commands are decided and on disk, or failed: what became of each, in their order.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] if that is not known of any.
    pub async fn outcomes(self) -> Result<Vec<Result<Outcome, EngineError>>, EngineError> {
        self.0.await.map_err(|_| EngineError::Stopped)
    }
}

/// A page of a wallet's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub entries: Vec<Entry>,
    /// The last entry of this page, when there are older ones: what the next page comes before.
    pub next_before: Option<EntryId>,
}

impl Page {
    /// The number of entries in a page when the caller does not say.
    pub const SIZE_DEFAULT: usize = 50;
    /// The most entries in a page; more are cut to this.
    pub const SIZE_MAX: usize = 1000;
}

impl Engine {
    /// Starts the worker on a thread of its own, which ends when the last handle is gone. The receiver is closed when
    /// it has, and has let go of the store.
    ///
    /// # Panics
    /// If the system cannot start a thread.
    #[must_use]
    pub fn start(
        store: Store,
        currency: Currency,
        clock: impl Clock,
        options: EngineOptions,
    ) -> (Self, oneshot::Receiver<()>) {
        let (engine, work) = Self::prepare(store, currency, clock, options, true);
        let (ended_sender, ended) = oneshot::channel();
        let runtime = Handle::current();
        let work = move || {
            runtime.block_on(work);
            drop(ended_sender);
        };
        let thread = thread::Builder::new().name("ledger".to_owned()).spawn(work);
        thread.expect("a thread for the ledger can be started");
        (engine, ended)
    }

    /// An engine, and the work of its worker, which whoever asks must drive: [`start`](Self::start) gives it a thread,
    /// because it blocks while the store does, and a simulation its own, so that a seed decides what happens when.
    pub fn with_work(
        store: Store,
        currency: Currency,
        clock: impl Clock,
        options: EngineOptions,
    ) -> (Self, impl Future<Output = ()> + Send) {
        Self::prepare(store, currency, clock, options, false)
    }

    fn prepare(
        store: Store,
        currency: Currency,
        clock: impl Clock,
        options: EngineOptions,
        own_thread: bool,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, submissions) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(options.queue_capacity));
        let (health_sender, health) = watch::channel(Health::Serving);
        let watchdog = Arc::new(Watchdog::new());
        let health = HealthWatch::new(health, Arc::clone(&watchdog), options.stall_timeout);
        let spin = AdaptiveSpin::new(own_thread);
        let worker = Worker::new(store.writer, submissions, health_sender, watchdog, clock, options, spin.clone());
        let streams_capacity = (options.queue_capacity / 2).max(1);
        let stream_permits = Arc::new(Semaphore::new(streams_capacity));
        let group_size_max = GROUP_SIZE_MAX.min(streams_capacity).min(options.batch_size_max);
        let engine = Self {
            queue,
            permits,
            stream_permits,
            group_size_max,
            queue_capacity: options.queue_capacity,
            spin,
            reader: store.reader,
            health,
            currency,
        };
        (engine, worker.run())
    }

    /// Queues a command and waits for its outcome. Dropping the future does not stop the command.
    ///
    /// # Errors
    /// [`EngineError`]; [`EngineError::Busy`] at once when the queue is full.
    pub async fn submit(&self, command: Command, deadline: Option<Instant>) -> Result<Outcome, EngineError> {
        self.record_arrival();
        let room = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| EngineError::Busy)?;
        let (submission, mut answer) = Submission::one(command, deadline, room);
        self.queue.send(submission).map_err(|_| EngineError::Stopped)?;
        let look = || match answer.try_recv() {
            Ok(reply) => Some(reply),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Err(EngineError::Stopped)),
        };
        match self.spin.spin_for_reply(look).await {
            Some(reply) => reply,
            None => answer.await.unwrap_or(Err(EngineError::Stopped)),
        }
    }

    /// Queues commands, waiting for room if there is none, and returns their answers to come: for streams, which slow
    /// down rather than be refused. Commands are decided in the order in which they are queued; those queued together
    /// share one transaction.
    ///
    /// # Errors
    /// [`EngineError::Stopped`].
    ///
    /// # Panics
    /// If there are more than [`group_size_max`](Self::group_size_max).
    pub async fn enqueue(&self, commands: Vec<Command>, deadline: Option<Instant>) -> Result<Answers, EngineError> {
        assert!(commands.len() <= self.group_size_max, "{} commands are queued together", commands.len());
        self.record_arrival();
        let size = u32::try_from(commands.len()).unwrap_or(u32::MAX);
        let acquire = async |room: &Arc<Semaphore>| Arc::clone(room).acquire_many_owned(size).await;
        let among_streams = acquire(&self.stream_permits).await.map_err(|_| EngineError::Stopped)?;
        let room = acquire(&self.permits).await.map_err(|_| EngineError::Stopped)?;
        let (submission, answers) = Submission::many(commands, deadline, [room, among_streams]);
        self.queue.send(submission).map_err(|_| EngineError::Stopped)?;
        Ok(Answers(answers))
    }

    /// Notes whether the command that comes finds others waiting.
    fn record_arrival(&self) {
        self.spin.record_arrival(self.permits.available_permits() < self.queue_capacity);
    }

    /// How many commands can be queued together, at the most.
    #[must_use]
    pub const fn group_size_max(&self) -> usize {
        self.group_size_max
    }

    /// The user's wallet as it stands, or as it stood at a moment; `None` if there is, or was, no such user.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub async fn wallet(&self, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, EngineError> {
        Ok(self.reader.wallet(user_id, at).await?)
    }

    /// A page of the user's entries before `before`, newest first; `None` if there is no such user.
    ///
    /// A `size` above [`Page::SIZE_MAX`] is cut to that.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub async fn entries(
        &self,
        user_id: UserId,
        before: Option<EntryId>,
        size: usize,
    ) -> Result<Option<Page>, EngineError> {
        let size = size.min(Page::SIZE_MAX);
        // One more than asked for tells whether there is a next page.
        let Some(mut entries) = self.reader.entries(user_id, before, size + 1).await? else { return Ok(None) };
        let more = entries.len() > size;
        entries.truncate(size);
        let next_before = if more { entries.last().map(|entry| entry.entry_id) } else { None };
        Ok(Some(Page { entries, next_before }))
    }

    /// The head of the commit chain; [`Commit::GENESIS`] if nothing was committed yet.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub async fn head(&self) -> Result<Commit, EngineError> {
        Ok(self.reader.head().await?)
    }

    /// The currency of every wallet.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// Whether the ledger can commit.
    #[must_use]
    pub const fn health(&self) -> &HealthWatch {
        &self.health
    }

    /// An id for a wallet that may be made.
    #[must_use]
    pub fn new_wallet_id(&self) -> WalletId {
        WalletId::from(Uuid::now_v7())
    }
}
