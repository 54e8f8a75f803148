//! What a worker tries on its store, and what it notes of each attempt.

use tokio::time::{Duration, Instant};

use super::{Clock, Failure, QUIET_INTERVAL, Worker};
use crate::engine::transact::{Committed, transact};
use crate::ledger::{Command, Outcome, Timestamp};
use crate::store::{StoreError, WriterCount};

impl<C: Clock> Worker<C> {
    /// Finds out whether the store can commit.
    pub(super) fn probe(&mut self) {
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
    pub(super) fn check(&mut self) {
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
    pub(super) fn maintain(&mut self) {
        let began = Instant::now();
        if let Some(Err(error)) = self.health.attempt(|| self.writer.maintain()) {
            self.health.down(&error.into(), 0, began.elapsed());
        }
    }

    /// The time of day. Takes note if it was set.
    fn now(&mut self) -> Timestamp {
        let now = self.clock.now();
        let observed = self.clock_steps.as_mut().and_then(|steps| steps.observe(now, Instant::now()));
        if let Some(step_us) = observed {
            self.health.clock_stepped(step_us, now);
        }
        now
    }

    pub(super) fn transact(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, Failure> {
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
    pub(super) fn note_attempt<T>(&mut self, attempt: Option<&Result<T, StoreError>>) {
        self.attempted_at = Instant::now();
        self.feed.note_attempt(attempt);
        if matches!(attempt, None | Some(Err(_))) {
            self.counts.add(WriterCount::Errors);
        }
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
    pub(super) fn locked_for(&self) -> Duration {
        self.locked_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Retries until another process has held the lock for `lock_timeout`.
    pub(super) fn transact_retrying_lock(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, Failure> {
        loop {
            match self.transact(commands) {
                Err(Failure::Store(StoreError::Locked)) if self.locked_for() < self.options.lock_timeout => (),
                result => return result,
            }
        }
    }
}
