//! Whether what the callers saw is true.

use wallet::ledger::{Action, Command, Entry, EntryKey, Kind, Outcome, Receipt};

use super::Record;
use super::world::World;
use crate::support::linear::{self, Operation};
use crate::support::oracle::{Answer, Call, Decision, Oracle};

/// Holds what was seen against the ledger that is left, and both against the oracle.
pub fn of(record: &Record, world: &World) -> Result<(), String> {
    if let Some(violation) = record.violations.first() {
        return Err(violation.clone());
    }
    world.audit().map_err(|finding| finding.to_string())?;
    for (command, receipt) in &record.receipts {
        let index = usize::try_from(receipt.entry.entry_id.get() - 1).map_err(|error| error.to_string())?;
        if world.entries().get(index) != Some(&receipt.entry) {
            return Err(format!("the receipt of {command:?} is for what is not in the ledger: {receipt:?}"));
        }
    }
    let mut history: Vec<_> = record.operations.iter().flatten().cloned().collect();
    for entry in world.entries() {
        explain(&mut history, entry, world.entries())?;
    }
    // What got no answer and left no entry did not happen.
    history.retain(|operation| operation.answered.is_some());
    linear::check::<Oracle, _>(&history, Call::user_id)
}

/// Holds somebody's command to have written `entry`: if nobody was told so, the first that was never answered.
///
/// The search would find it out as well, but by trying every order of what nobody knows.
fn explain(history: &mut [Operation<Call, Answer>], entry: &Entry, entries: &[Entry]) -> Result<(), String> {
    let asks = |operation: &&mut Operation<Call, Answer>| {
        let Call::Command(Command { user_id, event_id, action }) = operation.call else { return false };
        let amount = match action {
            Action::Open { opening: amount, .. }
            | Action::Charge(amount)
            | Action::Win(amount)
            | Action::Deposit(amount)
            | Action::Withdraw(amount) => amount,
            Action::Rollback => entry.amount,
        };
        entry.key() == EntryKey { user_id, event_id, kind: action.kind() } && entry.amount == amount
    };
    let is_told = |operation: &Operation<_, _>| {
        matches!(operation.answered, Some((_, Answer::Decision(Decision::Applied { .. }))))
    };
    if history.iter_mut().filter(asks).any(|operation| is_told(operation)) {
        return Ok(());
    }
    let unknown = history.iter_mut().filter(asks).filter(|operation| operation.answered.is_none());
    let unknown = unknown.min_by_key(|operation| operation.called);
    let unknown = unknown.ok_or_else(|| format!("nobody asked for {entry:?}, or was told that it was not done"))?;
    let charge = EntryKey { kind: Kind::Charge, ..entry.key() };
    let applied = entry.kind != Kind::Rollback || entries.iter().any(|other| other.key() == charge);
    let decision = Decision::from(&Outcome::Applied(Receipt { entry: *entry, applied, wallet_id: None }));
    unknown.answered = Some((u64::MAX, Answer::Decision(decision)));
    Ok(())
}
