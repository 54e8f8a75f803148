//! The one thread that writes: takes what waits, makes it one transaction, answers each.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
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
use super::transact::{Committed, resolve, transact};
use super::{Clock, EngineError, EngineOptions};
use crate::ledger::{Command, Outcome, Timestamp};
use crate::store::{StoreError, Writer};

/// How often a store that failed, or is locked, is tried again.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// How long to wait before it is asked again what became of a commit.
const RESOLVE_INTERVAL: Duration = Duration::from_millis(20);

/// How long the store is left alone before it is checked.
const QUIET_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Worker<C> {
    writer: Box<dyn Writer>,
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
    is_in_doubt: bool,
    health: HealthReporter,
    clock: C,
    clock_steps: StepDetector,
    /// When the store is to be checked, if it is left alone until then.
    quiet: Pin<Box<Sleep>>,
    options: EngineOptions,
    runtime: Handle,
    overload: Overload,
    feed: Publisher,
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
        (health, overload, feed): (HealthReporter, Overload, Publisher),
        clock: C,
        options: EngineOptions,
        spin: AdaptiveSpin,
    ) -> Self {
        let (cache, runtime) = (Cache::default(), Handle::current());
        Self {
            writer,
            cache,
            queue,
            carried: None,
            spin,
            was_single: false,
            attempted_at: Instant::now(),
            locked_since: None,
            is_in_doubt: false,
            health,
            clock,
            clock_steps: StepDetector::default(),
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
            self.process_batch(batch);
            self.feed.publish();
            // Now that all are answered: a probe takes as long as a commit. It must also be made when every command
            // that comes has expired.
            let is_due = self.is_failing() && self.attempted_at.elapsed() >= PROBE_INTERVAL;
            if std::mem::take(&mut self.is_in_doubt) || is_due {
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
    fn process_batch(&mut self, mut batch: Vec<Submission>) {
        // Once it was sent to be written, it may still be, as long as nothing else is.
        let mut was_in_doubt: Option<EngineError> = None;
        loop {
            batch = fail_if(batch, |submission| {
                submission.deadline.filter(|deadline| *deadline <= Instant::now())?;
                if let Some(in_doubt) = &was_in_doubt {
                    return Some(in_doubt.clone());
                }
                self.overload.record_expired(submission.commands().len());
                Some(EngineError::Deadline)
            });
            if batch.is_empty() {
                return;
            }
            let commands: Vec<Command> = batch.iter().flat_map(Submission::commands).cloned().collect();
            let began = Instant::now();
            match self.transact(&commands) {
                Err(Failure::Store(StoreError::Locked)) => batch = self.wait_for_lock(batch),
                Err(Failure::Store(error @ StoreError::InDoubt(_))) => {
                    let in_doubt = EngineError::from(error);
                    match self.resolve(batch, &in_doubt, began) {
                        Resolved::Done(batch, replies) => return self.answer(batch, replies),
                        Resolved::NotDone(left) => (batch, was_in_doubt) = (left, Some(in_doubt)),
                    }
                }
                result => {
                    let replies = self.replies(&commands, result, began);
                    return self.answer(batch, replies);
                }
            }
        }
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

    /// Finds out whether the store can commit.
    fn probe(&mut self) {
        let began = Instant::now();
        let attempt = self.health.attempt(|| self.writer.probe());
        self.note_attempt(attempt.as_ref());
        match attempt {
            Some(Ok(())) => self.health.up(),
            Some(Err(StoreError::Locked)) | None => (),
            Some(Err(error)) => self.health.down(&error.into(), 0, began.elapsed()),
        }
    }

    /// Checks the store, if it was left alone for a while.
    fn check(&mut self) {
        let began = Instant::now();
        if began.duration_since(self.attempted_at) >= QUIET_INTERVAL {
            self.now();
            let attempt = self.health.attempt(|| self.writer.check());
            self.note_attempt(attempt.as_ref());
            if let Some(Err(error)) = attempt
                && !matches!(error, StoreError::Locked)
            {
                self.health.down(&error.into(), 0, began.elapsed());
            }
            self.maintain();
        }
        self.quiet.as_mut().reset(self.attempted_at + QUIET_INTERVAL);
    }

    /// Lets the store do what is due between batches.
    fn maintain(&mut self) {
        let began = Instant::now();
        if let Some(Err(error)) = self.health.attempt(|| self.writer.maintain()) {
            self.health.down(&error.into(), 0, began.elapsed());
        }
    }

    /// The time of day. Takes note if it was set.
    fn now(&mut self) -> Timestamp {
        let now = self.clock.now();
        if let Some(step_us) = self.clock_steps.observe(now, Instant::now()) {
            self.health.clock_stepped(step_us, now);
        }
        now
    }

    fn transact(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, Failure> {
        let now = self.now();
        let (writer, cache) = (self.writer.as_mut(), &mut self.cache);
        let attempt = self.health.attempt(|| transact(writer, cache, commands, now));
        self.note_attempt(attempt.as_ref());
        let Committed { outcomes, entries } = attempt.ok_or(Failure::Panic)?.map_err(Failure::Store)?;
        self.feed.hold(entries);
        Ok(outcomes)
    }

    /// Remembers when an attempt ended, and since when the store has been locked. Reports a lock that is held too long,
    /// whether or not a command waits: those that did may have had shorter deadlines.
    fn note_attempt<T>(&mut self, attempt: Option<&Result<T, StoreError>>) {
        self.attempted_at = Instant::now();
        self.feed.note_attempt(attempt);
        if !matches!(attempt, Some(Err(StoreError::Locked))) {
            self.locked_since = None;
            return;
        }
        self.locked_since.get_or_insert_with(Instant::now);
        let locked_for = self.locked_for();
        if locked_for >= self.options.lock_timeout {
            self.health.down(&StoreError::Locked.into(), 0, locked_for);
        }
    }

    /// How long the store has been locked.
    fn locked_for(&self) -> Duration {
        self.locked_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Retries until another process has held the lock for `lock_timeout`.
    fn transact_retrying_lock(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, Failure> {
        loop {
            match self.transact(commands) {
                Err(Failure::Store(StoreError::Locked)) if self.locked_for() < self.options.lock_timeout => (),
                result => return result,
            }
        }
    }

    /// Finds out what became of a batch whose commit is in doubt. Who can wait no longer is told that it is not known.
    fn resolve(&mut self, batch: Vec<Submission>, in_doubt: &EngineError, began: Instant) -> Resolved {
        let (mut waiting, mut reported) = (Vec::with_capacity(batch.len()), false);
        let mut end = 0;
        for submission in batch {
            let start = end;
            end += submission.commands().len();
            waiting.push((submission, start..end));
        }
        while !waiting.is_empty() {
            let (writer, cache) = (self.writer.as_mut(), &mut self.cache);
            let attempt = self.health.attempt(|| resolve(writer, cache));
            self.note_attempt(attempt.as_ref());
            match attempt {
                Some(Ok(Some(Committed { outcomes, entries }))) => {
                    self.feed.hold(entries);
                    self.health.up();
                    let reply =
                        |range: &Range<usize>| outcomes[range.clone()].iter().cloned().map(Ok).collect::<Vec<_>>();
                    let replies = waiting.iter().flat_map(|(_, range)| reply(range)).collect();
                    return Resolved::Done(waiting.into_iter().map(|(submission, _)| submission).collect(), replies);
                }
                Some(Ok(None)) => break,
                Some(Err(_)) | None => (),
            }
            let (expired, left): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(submission, _)| {
                let given_up = submission.submitted_at + self.options.lock_timeout;
                submission.deadline.unwrap_or(given_up) <= Instant::now()
            });
            waiting = left;
            let failed: usize = expired.iter().map(|(submission, _)| submission.commands().len()).sum();
            if failed > 0 || !reported {
                self.health.down(in_doubt, failed, began.elapsed());
                reported = true;
            }
            for (submission, _) in expired {
                submission.fail(in_doubt);
            }
            if !waiting.is_empty() {
                thread::sleep(RESOLVE_INTERVAL);
            }
        }
        Resolved::NotDone(waiting.into_iter().map(|(submission, _)| submission).collect())
    }

    /// Fails the commands that have waited long enough for another process's lock. Returns the others.
    fn wait_for_lock(&mut self, batch: Vec<Submission>) -> Vec<Submission> {
        let waiting: usize = batch.iter().map(|submission| submission.commands().len()).sum();
        let locked = EngineError::Unavailable(Arc::new(StoreError::Locked));
        let batch = fail_if(batch, |submission| {
            let waited = submission.submitted_at.elapsed().min(self.locked_for());
            (waited >= self.options.lock_timeout).then(|| locked.clone())
        });
        let left: usize = batch.iter().map(|submission| submission.commands().len()).sum();
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
                self.is_in_doubt = true;
            }
            EngineError::Busy
            | EngineError::Deadline
            | EngineError::Unavailable(_)
            | EngineError::UnknownCursor
            | EngineError::Stopped => {
                self.health.down(&error, commands, began.elapsed());
            }
        }
        error
    }
}

/// What became of a batch whose commit was in doubt: of those of it who still wait.
enum Resolved {
    Done(Vec<Submission>, Vec<Reply>),
    NotDone(Vec<Submission>),
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
