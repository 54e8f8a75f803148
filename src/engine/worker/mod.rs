//! The one thread that writes a shard: takes what waits, makes it one transaction, answers each.

mod attempts;
mod in_doubt;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{self, Instant, Sleep};

use super::cache::Cache;
use super::clock::StepDetector;
use super::feed::Publisher;
use super::health::HealthReporter;
use super::overload::Overload;
use super::queue::{Reply, Submission, Work};
use super::spin::AdaptiveSpin;
use super::{Clock, EngineError, EngineOptions};
use crate::ledger::{Command, Outcome, Shard};
use crate::store::{StoreError, Writer, WriterCounts};
use in_doubt::Resolved;

/// How often a store that failed, or is locked, is tried again.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// How long the store is left alone before it is checked.
const QUIET_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Worker<C> {
    writer: Box<dyn Writer>,
    counts: Arc<WriterCounts>,
    cache: Cache,
    queue: mpsc::UnboundedReceiver<Submission>,
    /// A submission that was taken out of the queue but did not fit into the batch before.
    carried: Option<Submission>,
    spin: AdaptiveSpin,
    /// Whether the last batch was a single command.
    was_single: bool,
    /// When an attempt on the store ended last.
    attempted_at: Instant,
    /// Since when every attempt has found the store locked by another process.
    locked_since: Option<Instant>,
    /// Whether a command could not be decided, and it is open whether that is true of every command.
    is_undecided: bool,
    health: HealthReporter,
    clock: C,
    /// Of the first shard's worker only, so that a step is told once.
    clock_steps: Option<StepDetector>,
    /// When the store is to be checked, if it is left alone until then.
    quiet: Pin<Box<Sleep>>,
    options: EngineOptions,
    runtime: Handle,
    overload: Overload,
    feed: Publisher,
}

/// What a worker has to itself.
pub(super) struct Parts<C> {
    pub(super) shard: Shard,
    pub(super) writer: Box<dyn Writer>,
    pub(super) queue: mpsc::UnboundedReceiver<Submission>,
    pub(super) health: HealthReporter,
    pub(super) feed: Publisher,
    pub(super) clock: C,
}

/// Why a batch was not committed.
enum Failure {
    Store(StoreError),
    Panic,
}

impl<C: Clock> Worker<C> {
    /// A worker for the runtime that this is called in.
    pub(super) fn new(parts: Parts<C>, options: EngineOptions, spin: AdaptiveSpin, overload: Overload) -> Self {
        let Parts { shard, writer, queue, health, feed, clock } = parts;
        let (cache, runtime, counts) = (Cache::default(), Handle::current(), writer.counts());
        Self {
            writer,
            counts,
            cache,
            queue,
            carried: None,
            spin,
            was_single: false,
            attempted_at: Instant::now(),
            locked_since: None,
            is_undecided: false,
            health,
            clock,
            clock_steps: (shard == Shard::FIRST).then(StepDetector::default),
            quiet: Box::pin(time::sleep(QUIET_INTERVAL)),
            options,
            runtime,
            overload,
            feed,
        }
    }

    /// Works until every handle is dropped and everything that waited is answered. It blocks while the store does.
    pub(super) async fn run(mut self) {
        while let Some(first) = self.next().await {
            let batch = self.gather(first);
            self.was_single = matches!(batch.as_slice(), [only] if only.commands().len() == 1);
            self.process_batch(batch).await;
            self.feed.publish();
            // Now that all are answered: a probe takes as long as a commit. It must also be made when every command
            // that comes has expired.
            let is_due = self.is_failing() && self.attempted_at.elapsed() >= PROBE_INTERVAL;
            if std::mem::take(&mut self.is_undecided) || is_due {
                self.probe();
            }
            self.maintain();
        }
    }

    /// Whether the store failed last, or was locked.
    fn is_failing(&self) -> bool {
        !self.health.is_up() || self.locked_since.is_some()
    }

    /// Waits for a submission; `None` when there will never be one again. While the store is failing or locked, tries
    /// it now and then.
    async fn next(&mut self) -> Option<Submission> {
        if let Some(carried) = self.carried.take() {
            return Some(carried);
        }
        if !self.is_failing()
            && self.was_single
            && let Some(next) = self.spin.spin_for_work(|| self.queue.try_recv().ok())
        {
            return Some(next);
        }
        loop {
            if self.is_failing() {
                if let Ok(submission) = time::timeout(PROBE_INTERVAL, self.queue.recv()).await {
                    return submission;
                }
                self.probe();
            } else {
                tokio::select! {
                    biased;
                    submission = self.queue.recv() => return submission,
                    () = &mut self.quiet => self.check(),
                }
            }
        }
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
    async fn process_batch(&mut self, mut batch: Vec<Submission>) {
        // Once a commit was in doubt, it may still be made, as long as nothing else is committed: from then on nobody
        // is told that nothing was done.
        let mut was_in_doubt: Option<EngineError> = None;
        loop {
            batch = self.expire(batch, was_in_doubt.as_ref());
            if batch.is_empty() {
                return;
            }
            let commands: Vec<Command> = batch.iter().flat_map(Submission::commands).cloned().collect();
            let began = Instant::now();
            match self.transact(&commands) {
                Err(Failure::Store(StoreError::Locked)) => batch = self.wait_for_lock(batch, was_in_doubt.as_ref()),
                Err(Failure::Store(error @ StoreError::InDoubt(_))) => {
                    let in_doubt = EngineError::from(error);
                    match self.resolve(batch, &in_doubt, began).await {
                        Resolved::Done(left, replies) => return self.answer(left, replies),
                        Resolved::NotDone(left) => (batch, was_in_doubt) = (left, Some(in_doubt)),
                    }
                }
                result => {
                    let mut replies = self.replies(&commands, result, began);
                    if let Some(in_doubt) = was_in_doubt {
                        let failed = replies.iter_mut().filter(|reply| reply.is_err());
                        failed.for_each(|reply| *reply = Err(in_doubt.clone()));
                    }
                    return self.answer(batch, replies);
                }
            }
        }
    }

    /// Fails the commands that can wait no longer. Returns the others.
    fn expire(&self, batch: Vec<Submission>, was_in_doubt: Option<&EngineError>) -> Vec<Submission> {
        let now = Instant::now();
        fail_if(batch, |submission| {
            if let Some(in_doubt) = was_in_doubt {
                return (self.gives_up_at(submission) <= now).then(|| in_doubt.clone());
            }
            submission.deadline.filter(|deadline| *deadline <= now)?;
            self.overload.record_expired(submission.commands().len());
            Some(EngineError::Deadline)
        })
    }

    /// The reply to each command. After a panic or a corrupt row, halves the batch until only the command that caused
    /// it fails.
    fn replies(&mut self, commands: &[Command], result: Result<Vec<Outcome>, Failure>, began: Instant) -> Vec<Reply> {
        match result {
            Ok(outcomes) => {
                if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Applied(_))) {
                    self.health.up();
                } else if !self.health.is_up() {
                    // Replays and refusals wrote nothing, so their commit proves nothing.
                    self.probe();
                }
                outcomes.into_iter().map(Ok).collect()
            }
            // A command that cannot be decided must not fail those that share its transaction.
            Err(Failure::Panic | Failure::Store(StoreError::Corrupt { .. })) if commands.len() > 1 => {
                let (left, right) = commands.split_at(commands.len() / 2);
                let mut replies = Vec::with_capacity(commands.len());
                for half in [left, right] {
                    let began = Instant::now();
                    let result = self.transact_retrying_lock(half);
                    replies.extend(self.replies(half, result, began));
                }
                replies
            }
            Err(failure) => {
                let error = self.report(failure, commands.len(), began);
                vec![Err(error); commands.len()]
            }
        }
    }

    /// Answers a batch on the runtime: this thread makes one wake-up and is free for the next batch, and the runtime
    /// wakes the callers' tasks. A caller that has the batch to itself is woken directly.
    fn answer(&self, batch: Vec<Submission>, replies: Vec<Reply>) {
        let single = batch.len() == 1;
        // Permits are given back here, not when the runtime sends the replies: under overload it is busy with refusals,
        // and the worker would wait before a queue that only seems full.
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

    /// Fails the commands that have waited long enough for another process's lock. Returns the others.
    fn wait_for_lock(&mut self, batch: Vec<Submission>, was_in_doubt: Option<&EngineError>) -> Vec<Submission> {
        let waiting = size_of(&batch);
        let locked = EngineError::Unavailable(Arc::new(StoreError::Locked));
        let answer = was_in_doubt.unwrap_or(&locked);
        let batch = fail_if(batch, |submission| {
            let waited = submission.submitted_at.elapsed().min(self.locked_for());
            (waited >= self.options.lock_timeout).then(|| answer.clone())
        });
        let left = size_of(&batch);
        if left < waiting {
            self.health.down(&locked, waiting - left, self.locked_for());
        }
        batch
    }

    /// Reports why so many commands failed, once for all of them, and returns what their callers get.
    fn report(&mut self, failure: Failure, commands: usize, began: Instant) -> EngineError {
        let error = match failure {
            Failure::Panic => EngineError::Panicked,
            Failure::Store(error) => EngineError::from(error),
        };
        match error {
            // The panic hook has logged it.
            EngineError::Panicked => (),
            EngineError::Corrupt(_) => {
                self.health.undecided(&error);
                self.is_undecided = true;
            }
            EngineError::Busy
            | EngineError::Deadline
            | EngineError::Unavailable(_)
            | EngineError::UnknownCursor
            | EngineError::ForeignCursor
            | EngineError::Stopped => {
                self.health.down(&error, commands, began.elapsed());
            }
        }
        error
    }
}

/// How many commands there are.
fn size_of(batch: &[Submission]) -> usize {
    batch.iter().map(|submission| submission.commands().len()).sum()
}

/// Fails the submissions for which there is an error, and returns the others in their order.
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
