//! The one thread that writes: takes what waits, makes it one transaction, answers each.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{self, Instant};

use super::{Clock, EngineError, EngineOptions, Health};
use crate::ledger::{Command, Outcome};
use crate::store::{StoreError, Writer};

/// How often a store that failed is tried again while nothing waits.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);

type Reply = Result<Outcome, EngineError>;

/// A command that waits, and who waits for it.
pub(super) struct Submission {
    command: Command,
    deadline: Option<Instant>,
    submitted_at: Instant,
    reply: oneshot::Sender<Reply>,
}

impl Submission {
    pub(super) fn new(command: Command, deadline: Option<Instant>) -> (Self, oneshot::Receiver<Reply>) {
        let (reply, answer) = oneshot::channel();
        (Self { command, deadline, submitted_at: Instant::now(), reply }, answer)
    }

    /// A caller that hung up is not waiting for this.
    fn answer(self, reply: Reply) {
        let _ = self.reply.send(reply);
    }
}

pub(super) struct Worker<C> {
    writer: Box<dyn Writer>,
    queue: mpsc::Receiver<Submission>,
    health: watch::Sender<Health>,
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
        queue: mpsc::Receiver<Submission>,
        health: watch::Sender<Health>,
        clock: C,
        options: EngineOptions,
    ) -> Self {
        Self { writer, queue, health, clock, options, runtime: Handle::current() }
    }

    /// Works until every handle is dropped and everything that waited is answered.
    pub(super) fn run(mut self) {
        let mut batch = Vec::with_capacity(self.options.batch_size_max);
        while self.take(&mut batch) {
            self.settle(std::mem::take(&mut batch));
        }
    }

    /// Waits for commands; false when there will never be any more. While the store is failing, tries it now and then.
    fn take(&mut self, batch: &mut Vec<Submission>) -> bool {
        let limit = self.options.batch_size_max;
        while *self.health.borrow() == Health::NotServing {
            let received = async { time::timeout(PROBE_INTERVAL, self.queue.recv_many(batch, limit)).await };
            if let Ok(count) = self.runtime.block_on(received) {
                return count > 0;
            }
            let probe = catch_unwind(AssertUnwindSafe(|| self.writer.probe()));
            if let Ok(Ok(())) = probe {
                self.set_health(Health::Serving);
            }
        }
        self.queue.blocking_recv_many(batch, limit) > 0
    }

    /// Answers every command of a batch, in as few transactions as it takes.
    fn settle(&mut self, mut batch: Vec<Submission>) {
        loop {
            batch = answer_if(batch, |submission| {
                submission.deadline.is_some_and(|deadline| deadline <= Instant::now()).then_some(EngineError::Deadline)
            });
            if batch.is_empty() {
                return;
            }
            match self.transact(&batch) {
                Ok(outcomes) => {
                    self.set_health(Health::Serving);
                    return self.answer(batch, outcomes);
                }
                Err(Failure::Store(StoreError::Locked)) => batch = self.wait_for_lock(batch),
                // What ails one command must not fail those that share its transaction.
                Err(Failure::Panic | Failure::Store(StoreError::Corrupt { .. })) if batch.len() > 1 => {
                    let rest = batch.split_off(batch.len() / 2);
                    self.settle(batch);
                    batch = rest;
                }
                Err(failure) => return self.fail(batch, failure),
            }
        }
    }

    fn transact(&mut self, batch: &[Submission]) -> Result<Vec<Outcome>, Failure> {
        let commands: Vec<Command> = batch.iter().map(|submission| submission.command).collect();
        let now = self.clock.now();
        let outcomes = catch_unwind(AssertUnwindSafe(|| self.writer.transact(&commands, now)))
            .map_err(|panic| {
                tracing::error!(panic = panic_message(panic.as_ref()), "the ledger's worker panicked");
                Failure::Panic
            })?
            .map_err(Failure::Store)?;
        assert_eq!(outcomes.len(), commands.len(), "a store answers each command of a batch");
        Ok(outcomes)
    }

    /// Answers a batch on the runtime: one wake-up from this thread, which is free for the next batch, and the callers'
    /// tasks are woken where they run.
    fn answer(&self, batch: Vec<Submission>, outcomes: Vec<Outcome>) {
        self.runtime.spawn(async move {
            for (submission, outcome) in batch.into_iter().zip(outcomes) {
                submission.answer(Ok(outcome));
            }
        });
    }

    /// Lets go of the commands that have waited long enough for another process's lock.
    fn wait_for_lock(&self, batch: Vec<Submission>) -> Vec<Submission> {
        let waiting = batch.len();
        let locked = Arc::new(StoreError::Locked);
        let batch = answer_if(batch, |submission| {
            let waited = submission.submitted_at.elapsed();
            (waited >= self.options.lock_timeout).then(|| EngineError::Unavailable(Arc::clone(&locked)))
        });
        if batch.len() < waiting {
            self.set_health(Health::NotServing);
        }
        batch
    }

    fn fail(&self, batch: Vec<Submission>, failure: Failure) {
        let error = match failure {
            Failure::Panic => EngineError::Panicked,
            Failure::Store(error) => {
                let error = EngineError::from(error);
                // With a corrupt row the ledger can still commit: only this command cannot be decided.
                if matches!(error, EngineError::Unavailable(_)) {
                    self.set_health(Health::NotServing);
                }
                error
            }
        };
        for submission in batch {
            submission.answer(Err(error.clone()));
        }
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

/// Answers the submissions for which there is an error, and returns the others in their order.
fn answer_if(batch: Vec<Submission>, error: impl Fn(&Submission) -> Option<EngineError>) -> Vec<Submission> {
    let mut left = Vec::with_capacity(batch.len());
    for submission in batch {
        match error(&submission) {
            Some(error) => submission.answer(Err(error)),
            None => left.push(submission),
        }
    }
    left
}

/// What a panic said, as far as it can be read.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
