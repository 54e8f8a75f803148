//! Commands that are queued together, and the answer to each.

use crate::api::reason::Problem;
use crate::engine::EngineError;
use crate::ledger::Outcome;

/// The answer to each of several commands, in their order.
///
/// `refused` has, for each, why it was refused at once, malformed or negative; `None` if it was queued. `outcomes` are
/// those of the commands that were queued.
///
/// # Panics
/// If there are not as many outcomes as commands that were queued.
pub fn answers(
    refused: Vec<Option<Problem>>,
    outcomes: impl IntoIterator<Item = Result<Outcome, EngineError>>,
) -> impl Iterator<Item = Result<Outcome, Problem>> {
    let mut outcomes = outcomes.into_iter();
    refused.into_iter().map(move |refused| match refused {
        Some(problem) => Err(problem),
        None => outcomes.next().expect("each command that was queued has its outcome").map_err(Problem::from),
    })
}
