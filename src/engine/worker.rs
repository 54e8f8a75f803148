//! The one thread that writes: takes what waits, makes it one transaction, answers each.

use std::sync::Arc;
use std::time::Duration;
use std::{iter, slice};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{self, Instant};

use super::health::{Health, Watchdog};
use super::spin::AdaptiveSpin;
use super::{Clock, EngineError, EngineOptions};
use crate::ledger::{Command, Outcome};
use crate::store::{StoreError, Writer};

/// How often a store that failed is tried again while nothing waits.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// What becomes of one command.
pub(super) type Reply = Result<Outcome, EngineError>;

/// Commands that wait, and who waits for them.
pub(super) struct Submission {
    work: Work,
    deadline: Option<Instant>,
    submitted_at: Instant,
    /// Held only to be given back.
    _room: Room,
}

/// Room in the queue, and for a stream's commands also in the streams' part of it.
type Room = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// A caller's one command, or a stream's many: either is answered at once, so that its caller is woken once.
enum Work {
    One(Command, oneshot::Sender<Reply>),
    Many(Vec<Command>, oneshot::Sender<Vec<Reply>>),
}

impl Submission {
    pub(super) fn one(
        command: Command,
        deadline: Option<Instant>,
        room: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Reply>) {
        let (reply, answer) = oneshot::channel();
        (Self::new(Work::One(command, reply), deadline, (room, None)), answer)
    }

    pub(super) fn many(
        commands: Vec<Command>,
        deadline: Option<Instant>,
        [room, among_streams]: [OwnedSemaphorePermit; 2],
    ) -> (Self, oneshot::Receiver<Vec<Reply>>) {
        let (reply, answers) = oneshot::channel();
        (Self::new(Work::Many(commands, reply), deadline, (room, Some(among_streams))), answers)
    }

    fn new(work: Work, deadline: Option<Instant>, room: Room) -> Self {
        Self { work, deadline, submitted_at: Instant::now(), _room: room }
    }

    fn commands(&self) -> &[Command] {
        match &self.work {
            Work::One(command, _) => slice::from_ref(command),
            Work::Many(commands, _) => commands,
        }
    }

    /// Gives its room to others, for it no longer waits; what is left is to be answered.
    fn release(self) -> Work {
        self.work
    }

    /// Answers every command with the same error.
    fn fail(self, error: &EngineError) {
        self.release().answer(&mut iter::repeat_with(|| Err(error.clone())));
    }
}

impl Work {
    /// Takes as many replies as there are commands. A caller that hung up is not waiting for them.
    fn answer(self, replies: &mut impl Iterator<Item = Reply>) {
        match self {
            Self::One(_, reply) => {
                if let Some(outcome) = replies.next() {
                    let _ = reply.send(outcome);
                }
            }
            Self::Many(commands, reply) => {
                let _ = reply.send(replies.take(commands.len()).collect());
            }
        }
    }
}

pub(super) struct Worker<C> {
    writer: Box<dyn Writer>,
    queue: mpsc::UnboundedReceiver<Submission>,
    /// What was taken out of the queue, but had no place in the batch before.
    carried: Option<Submission>,
    spin: AdaptiveSpin,
    /// Whether the last batch was a single command.
    was_single: bool,
    health: watch::Sender<Health>,
    watchdog: Arc<Watchdog>,
    clock: C,
    options: EngineOptions,
    runtime: Handle,
}

/// Why a batch was not committed.
enum Failure {
    Store(StoreError),
    Panic,
}

impl<C: Clock> Worker<C> {
    /// A worker for the runtime that this is called in.
    pub(super) fn new(
        writer: Box<dyn Writer>,
        queue: mpsc::UnboundedReceiver<Submission>,
        health: watch::Sender<Health>,
        watchdog: Arc<Watchdog>,
        clock: C,
        options: EngineOptions,
        spin: AdaptiveSpin,
    ) -> Self {
        Self {
            writer,
            queue,
            carried: None,
            spin,
            was_single: false,
            health,
            watchdog,
            clock,
            options,
            runtime: Handle::current(),
        }
    }

    /// Works until every handle is dropped and everything that waited is answered. It blocks while the store does.
    pub(super) async fn run(mut self) {
        while let Some(first) = self.next().await {
            let batch = self.gather(first);
            self.was_single = matches!(batch.as_slice(), [only] if only.commands().len() == 1);
            self.process_batch(batch);
        }
    }

    /// Waits for a submission; `None` when there will never be one again. While the store is failing, tries it now and
    /// then.
    async fn next(&mut self) -> Option<Submission> {
        if let Some(carried) = self.carried.take() {
            return Some(carried);
        }
        while *self.health.borrow() == Health::NotServing {
            if let Ok(submission) = time::timeout(PROBE_INTERVAL, self.queue.recv()).await {
                return submission;
            }
            if let Some(Ok(())) = self.watchdog.attempt(|| self.writer.probe()) {
                self.set_health(Health::Serving);
            }
        }
        if self.was_single
            && let Some(next) = self.spin.spin_for_work(|| self.queue.try_recv().ok())
        {
            return Some(next);
        }
        self.queue.recv().await
    }

    /// Adds to `first` what else waits, as far as one batch holds it.
    fn gather(&mut self, first: Submission) -> Vec<Submission> {
        let mut size = first.commands().len();
        let mut batch = vec![first];
        while size < self.options.batch_size_max
            && let Ok(submission) = self.queue.try_recv()
        {
            size += submission.commands().len();
            if size > self.options.batch_size_max {
                self.carried = Some(submission);
                break;
            }
            batch.push(submission);
        }
        batch
    }

    /// Answers every command of a batch.
    fn process_batch(&mut self, mut batch: Vec<Submission>) {
        loop {
            batch = fail_if(batch, |submission| {
                submission.deadline.is_some_and(|deadline| deadline <= Instant::now()).then_some(EngineError::Deadline)
            });
            if batch.is_empty() {
                return;
            }
            let commands: Vec<Command> = batch.iter().flat_map(Submission::commands).copied().collect();
            match self.transact(&commands) {
                Err(Failure::Store(StoreError::Locked)) => batch = self.wait_for_lock(batch),
                result => {
                    let replies = self.replies(&commands, result);
                    return self.answer(batch, replies);
                }
            }
        }
    }

    /// What becomes of each command, given what became of their transaction.
    fn replies(&mut self, commands: &[Command], result: Result<Vec<Outcome>, Failure>) -> Vec<Reply> {
        match result {
            Ok(outcomes) => {
                self.set_health(Health::Serving);
                outcomes.into_iter().map(Ok).collect()
            }
            // What ails one command must not fail those that share its transaction.
            Err(Failure::Panic | Failure::Store(StoreError::Corrupt { .. })) if commands.len() > 1 => {
                let (left, right) = commands.split_at(commands.len() / 2);
                let mut replies = Vec::with_capacity(commands.len());
                for half in [left, right] {
                    let result = self.transact_retrying_lock(half);
                    replies.extend(self.replies(half, result));
                }
                replies
            }
            Err(failure) => {
                let error = self.error(failure);
                vec![Err(error); commands.len()]
            }
        }
    }

    /// Answers a batch on the runtime: one wake-up from this thread, which is free for the next batch, and the callers'
    /// tasks are woken where they run. One who has the batch for himself is woken without the detour.
    fn answer(&self, batch: Vec<Submission>, replies: Vec<Reply>) {
        let single = batch.len() == 1;
        // Room is given back here, not when the runtime comes to the answers: under overload it is busy with refusals, and
        // the ledger would stand idle before a queue that only seems full.
        let decided: Vec<Work> = batch.into_iter().map(Submission::release).collect();
        let answer = move || {
            let mut replies = replies.into_iter();
            for work in decided {
                work.answer(&mut replies);
            }
        };
        if single {
            answer();
        } else {
            self.runtime.spawn(async { answer() });
        }
    }

    fn transact(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, Failure> {
        let attempt = || {
            let outcomes = self.writer.transact(commands, self.clock.now())?;
            assert_eq!(outcomes.len(), commands.len(), "a store answers each command of a batch");
            Ok(outcomes)
        };
        self.watchdog.attempt(attempt).ok_or(Failure::Panic)?.map_err(Failure::Store)
    }

    /// Waits for another process's lock as long as a command may, counted from now.
    fn transact_retrying_lock(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, Failure> {
        let began = Instant::now();
        loop {
            match self.transact(commands) {
                Err(Failure::Store(StoreError::Locked)) if began.elapsed() < self.options.lock_timeout => (),
                result => return result,
            }
        }
    }

    /// Lets go of the commands that have waited long enough for another process's lock.
    fn wait_for_lock(&self, batch: Vec<Submission>) -> Vec<Submission> {
        let waiting = batch.len();
        let locked = Arc::new(StoreError::Locked);
        let batch = fail_if(batch, |submission| {
            let waited = submission.submitted_at.elapsed();
            (waited >= self.options.lock_timeout).then(|| EngineError::Unavailable(Arc::clone(&locked)))
        });
        if batch.len() < waiting {
            self.set_health(Health::NotServing);
        }
        batch
    }

    /// What a failure is to those who wait.
    fn error(&self, failure: Failure) -> EngineError {
        let error = match failure {
            Failure::Panic => EngineError::Panicked,
            Failure::Store(error) => EngineError::from(error),
        };
        // With a corrupt row the ledger can still commit: only this command cannot be decided.
        if matches!(error, EngineError::Unavailable(_)) {
            self.set_health(Health::NotServing);
        }
        error
    }

    fn set_health(&self, health: Health) {
        self.health.send_if_modified(|current| {
            let changed = *current != health;
            if changed {
                tracing::warn!(from = ?*current, to = ?health, "whether the ledger can commit has changed");
                *current = health;
            }
            changed
        });
    }
}

/// Refuses the submissions for which there is an error, and returns the others in their order.
fn fail_if(batch: Vec<Submission>, error: impl Fn(&Submission) -> Option<EngineError>) -> Vec<Submission> {
    let mut left = Vec::with_capacity(batch.len());
    for submission in batch {
        match error(&submission) {
            Some(error) => submission.fail(&error),
            None => left.push(submission),
        }
    }
    left
}
