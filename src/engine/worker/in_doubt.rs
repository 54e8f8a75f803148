//! What becomes of a batch whose commit is in doubt.

use std::ops::Range;

use tokio::time::{self, Duration, Instant};

use super::{Clock, EngineError, Failure, Worker, size_of};
use crate::engine::queue::{Reply, Submission};
use crate::engine::transact::{Committed, resolve};
use crate::ledger::Outcome;

/// How long to wait before the store is asked again what became of a commit.
const RESOLVE_INTERVAL: Duration = Duration::from_millis(20);

/// What became of a batch whose commit was in doubt: of those of it who still wait.
pub(super) enum Resolved {
    /// It was made.
    Done(Vec<Submission>, Vec<Reply>),
    /// It was not made, or nobody waits for it any more.
    NotDone(Vec<Submission>),
}

/// A submission of the batch, and the places of its commands in it.
struct Waiting {
    submission: Submission,
    places: Range<usize>,
}

impl Waiting {
    fn of(batch: Vec<Submission>) -> Vec<Self> {
        let mut end = 0;
        let place = |submission: Submission| {
            let start = end;
            end += submission.commands().len();
            Self { submission, places: start..end }
        };
        batch.into_iter().map(place).collect()
    }
}

fn submissions(waiting: Vec<Waiting>) -> Vec<Submission> {
    waiting.into_iter().map(|waiting| waiting.submission).collect()
}

impl<C: Clock> Worker<C> {
    /// Asks the store what became of the batch, until it answers or nobody waits any more. Who can wait no longer is
    /// told that it is not known.
    pub(super) async fn resolve(&mut self, batch: Vec<Submission>, in_doubt: &EngineError, began: Instant) -> Resolved {
        let (mut waiting, mut is_reported) = (Waiting::of(batch), false);
        while !waiting.is_empty() {
            match self.ask() {
                Ok(Some(outcomes)) => return done(waiting, &outcomes),
                Ok(None) => break,
                Err(Failure::Store(_) | Failure::Panic) => (),
            }
            let (given_up, left): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|waiting| self.gives_up_at(&waiting.submission) <= Instant::now());
            let given_up = submissions(given_up);
            if !given_up.is_empty() || !is_reported {
                self.health.down(in_doubt, size_of(&given_up), began.elapsed());
                is_reported = true;
            }
            for submission in given_up {
                submission.fail(in_doubt);
            }
            waiting = left;
            if !waiting.is_empty() {
                time::sleep(RESOLVE_INTERVAL).await;
            }
        }
        Resolved::NotDone(submissions(waiting))
    }

    /// Asks the store once: the outcomes of the batch, or `None` if it was not committed.
    fn ask(&mut self) -> Result<Option<Vec<Outcome>>, Failure> {
        let (writer, cache) = (self.writer.as_mut(), &mut self.cache);
        let attempt = self.health.attempt(|| resolve(writer, cache));
        self.note_attempt(attempt.as_ref());
        let committed = attempt.ok_or(Failure::Panic)?.map_err(Failure::Store)?;
        Ok(committed.map(|Committed { outcomes, entries }| {
            self.feed.hold(entries);
            self.health.up();
            outcomes
        }))
    }

    /// Until when a submission whose commit is in doubt waits.
    pub(super) fn gives_up_at(&self, submission: &Submission) -> Instant {
        submission.deadline.unwrap_or(submission.submitted_at + self.options.lock_timeout)
    }
}

/// The outcomes of the batch are those of its commands, in order.
fn done(waiting: Vec<Waiting>, outcomes: &[Outcome]) -> Resolved {
    let own = |waiting: &Waiting| outcomes[waiting.places.clone()].to_vec();
    let replies = waiting.iter().flat_map(own).map(Ok).collect();
    Resolved::Done(submissions(waiting), replies)
}
