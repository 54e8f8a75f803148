//! The bounded queue before the worker: permits, deadlines, and the replies to come.

use std::sync::Arc;
use std::{iter, slice};

use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::overload::Overload;
use super::spin::AdaptiveSpin;
use super::{EngineError, EngineOptions};
use crate::ledger::{Command, Outcome, Shards, UserId};

/// The most commands that can be queued together. Enough for one wake-up to serve many, few enough that a batch holds
/// the groups of several callers.
const GROUP_SIZE_MAX: usize = 256;

/// What becomes of one command.
pub(super) type Reply = Result<Outcome, EngineError>;

/// The handle that submits commands to the one ledger of this process. Cheap to clone.
///
/// When the last clone is dropped, the worker answers what still waits and lets go of the store.
#[derive(Clone)]
pub struct Ledger {
    shards: Shards,
    /// That of each shard.
    queues: Arc<[mpsc::UnboundedSender<Submission>]>,
    /// One for each command that may wait.
    permits: Arc<Semaphore>,
    /// The permits that streams may take as well: streams send as fast as they can, and must leave some to other
    /// callers.
    stream_permits: Arc<Semaphore>,
    group_size_max: usize,
    /// The number of permits when nothing waits.
    capacity: usize,
    spin: AdaptiveSpin,
    overload: Overload,
}

/// The replies to commands that were queued together. Dropping it changes nothing about the commands.
pub struct Replies(Parts);

/// The replies of each shard that decides some of the commands.
enum Parts {
    /// One shard decides all of them: so many.
    One(usize, oneshot::Receiver<Vec<Reply>>),
    /// So many commands, and the places among them of those that each shard decides.
    Many(usize, Vec<(Vec<usize>, oneshot::Receiver<Vec<Reply>>)>),
}

impl Replies {
    /// Waits until the commands are decided and on disk, or failed: what became of each, in their order. Those that the
    /// engine had not answered when it ended are [`EngineError::Stopped`].
    pub async fn outcomes(self) -> Vec<Result<Outcome, EngineError>> {
        match self.0 {
            Parts::One(size, replies) => replies.await.unwrap_or_else(|_| stopped(size)),
            Parts::Many(size, parts) => {
                let mut outcomes = stopped(size);
                for (places, replies) in parts {
                    let replies = replies.await.unwrap_or_default();
                    places.into_iter().zip(replies).for_each(|(place, reply)| outcomes[place] = reply);
                }
                outcomes
            }
        }
    }
}

/// The replies to so many commands when the engine has ended.
fn stopped(size: usize) -> Vec<Reply> {
    vec![Err(EngineError::Stopped); size]
}

/// The two ends of the queues: one for each shard.
pub(super) fn queues(
    shards: Shards,
    options: &EngineOptions,
    spin: AdaptiveSpin,
    overload: Overload,
) -> (Ledger, Vec<mpsc::UnboundedReceiver<Submission>>) {
    let (queues, submissions): (Vec<_>, _) = shards.all().map(|_| mpsc::unbounded_channel()).unzip();
    let capacity = options.queue_capacity;
    let stream_capacity = (capacity / 2).max(1);
    let ledger = Ledger {
        shards,
        queues: queues.into(),
        permits: Arc::new(Semaphore::new(capacity)),
        stream_permits: Arc::new(Semaphore::new(stream_capacity)),
        group_size_max: GROUP_SIZE_MAX.min(stream_capacity).min(options.batch_size_max),
        capacity,
        spin,
        overload,
    };
    (ledger, submissions)
}

impl Ledger {
    /// Queues a command and waits for its outcome. Dropping the future does not stop the command.
    ///
    /// # Errors
    /// [`EngineError`]; [`EngineError::Busy`] at once when the queue is full.
    pub async fn submit(&self, command: Command, deadline: Option<Instant>) -> Result<Outcome, EngineError> {
        self.record_arrival();
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
            self.overload.record_busy();
            EngineError::Busy
        })?;
        let queue = self.queue_of(command.user_id);
        let (submission, mut reply) = Submission::one(command, deadline, permit);
        queue.send(submission).map_err(|_| EngineError::Stopped)?;
        let arrived = || match reply.try_recv() {
            Ok(reply) => Some(reply),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Err(EngineError::Stopped)),
        };
        match self.spin.spin_for_reply(arrived).await {
            Some(reply) => reply,
            None => reply.await.unwrap_or(Err(EngineError::Stopped)),
        }
    }

    /// Queues commands, waiting for permits if there are none, and returns their replies to come: for streams, which
    /// slow down rather than be refused. The commands of one user are decided in the order in which they are queued;
    /// those queued together that are of one shard share a transaction.
    ///
    /// # Errors
    /// [`EngineError::Stopped`].
    ///
    /// # Panics
    /// If there are more than [`group_size_max`](Self::group_size_max).
    pub async fn enqueue(&self, commands: Vec<Command>, deadline: Option<Instant>) -> Result<Replies, EngineError> {
        assert!(commands.len() <= self.group_size_max, "{} commands are queued together", commands.len());
        self.record_arrival();
        let size = commands.len();
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        let acquire = async |from: &Arc<Semaphore>| {
            Arc::clone(from).acquire_many_owned(permits).await.map_err(|_| EngineError::Stopped)
        };
        let stream_permits = acquire(&self.stream_permits).await?;
        let permits = acquire(&self.permits).await?;
        let [queue] = self.queues.as_ref() else {
            return Ok(self.send_to_shards(commands, deadline, [permits, stream_permits]));
        };
        let (submission, replies) = Submission::many(commands, deadline, [permits, stream_permits]);
        queue.send(submission).map_err(|_| EngineError::Stopped)?;
        Ok(Replies(Parts::One(size, replies)))
    }

    /// Queues each command where its user's shard is decided.
    fn send_to_shards(
        &self,
        commands: Vec<Command>,
        deadline: Option<Instant>,
        mut permits: [OwnedSemaphorePermit; 2],
    ) -> Replies {
        let size = commands.len();
        let mut of_shards: Vec<(Vec<usize>, Vec<Command>)> = self.queues.iter().map(|_| Default::default()).collect();
        for (place, command) in commands.into_iter().enumerate() {
            let (places, commands) = &mut of_shards[self.shards.of(command.user_id).place()];
            places.push(place);
            commands.push(command);
        }
        let mut parts = Vec::new();
        for ((places, commands), queue) in of_shards.into_iter().zip(self.queues.iter()) {
            if commands.is_empty() {
                continue;
            }
            let permits =
                permits.each_mut().map(|permits| permits.split(commands.len()).expect("one for each command"));
            let (submission, replies) = Submission::many(commands, deadline, permits);
            // If the worker has ended, it drops the submission, and with it the replies.
            let _ = queue.send(submission);
            parts.push((places, replies));
        }
        Replies(Parts::Many(size, parts))
    }

    /// Where the user's commands wait.
    fn queue_of(&self, user_id: UserId) -> &mpsc::UnboundedSender<Submission> {
        match self.queues.as_ref() {
            [only] => only,
            queues => &queues[self.shards.of(user_id).place()],
        }
    }

    /// How many commands can be queued together, at the most.
    #[must_use]
    pub const fn group_size_max(&self) -> usize {
        self.group_size_max
    }

    /// The counts of what is refused.
    pub(super) fn overload(&self) -> Overload {
        self.overload.clone()
    }

    /// Records that a command comes, and whether others wait.
    fn record_arrival(&self) {
        self.spin.record_arrival(self.permits.available_permits() < self.capacity);
    }
}

/// Commands that wait, and who waits for them.
pub(super) struct Submission {
    work: Work,
    pub(super) deadline: Option<Instant>,
    pub(super) submitted_at: Instant,
    /// Held only to be given back.
    _permits: Permits,
}

/// A place in the queue for each command, and for a stream's commands also among those of streams.
type Permits = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// A caller's one command, or a stream's many: either is answered at once, so that its caller is woken once.
pub(super) enum Work {
    One(Command, oneshot::Sender<Reply>),
    Many(Vec<Command>, oneshot::Sender<Vec<Reply>>),
}

impl Submission {
    fn one(
        command: Command,
        deadline: Option<Instant>,
        permit: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Reply>) {
        let (sender, reply) = oneshot::channel();
        (Self::new(Work::One(command, sender), deadline, (permit, None)), reply)
    }

    fn many(
        commands: Vec<Command>,
        deadline: Option<Instant>,
        [permits, stream_permits]: [OwnedSemaphorePermit; 2],
    ) -> (Self, oneshot::Receiver<Vec<Reply>>) {
        let (sender, replies) = oneshot::channel();
        (Self::new(Work::Many(commands, sender), deadline, (permits, Some(stream_permits))), replies)
    }

    fn new(work: Work, deadline: Option<Instant>, permits: Permits) -> Self {
        Self { work, deadline, submitted_at: Instant::now(), _permits: permits }
    }

    pub(super) fn commands(&self) -> &[Command] {
        match &self.work {
            Work::One(command, _) => slice::from_ref(command),
            Work::Many(commands, _) => commands,
        }
    }

    /// Releases its permits, and returns what is still to be answered.
    pub(super) fn release(self) -> Work {
        self.work
    }

    /// Answers every command with the same error.
    pub(super) fn fail(self, error: &EngineError) {
        self.release().answer(&mut iter::repeat_with(|| Err(error.clone())));
    }
}

impl Work {
    /// Takes as many replies as there are commands. A caller that hung up is not waiting for them.
    pub(super) fn answer(self, replies: &mut impl Iterator<Item = Reply>) {
        match self {
            Self::One(_, sender) => {
                if let Some(reply) = replies.next() {
                    let _ = sender.send(reply);
                }
            }
            Self::Many(commands, sender) => {
                let _ = sender.send(replies.take(commands.len()).collect());
            }
        }
    }
}
