//! Whether every answer to a caller was right.

use wallet::ledger::{Action, Amount, Command, Effect, Entry, EntryKey, Kind, Outcome, Receipt};

use super::Record;
use super::world::World;
use crate::support::linear::{self, Operation};
use crate::support::oracle::{Answer, Call, Decision, Oracle};

/// Compares the answers with the ledger that is left, and both with the oracle.
pub fn of(record: &Record, world: &World) -> Result<(), String> {
    if let Some(violation) = record.violations.first() {
        return Err(violation.clone());
    }
    world.audit().map_err(|finding| finding.to_string())?;
    let entries = world.entries();
    for (command, receipt) in &record.receipts {
        if !entries.contains(&receipt.entry) {
            return Err(format!("the receipt of {command:?} is for what is not in the ledger: {receipt:?}"));
        }
    }
    let mut history: Vec<_> = record.operations.iter().flatten().cloned().collect();
    for entry in &entries {
        explain(&mut history, entry, &entries, world.late.contains(&entry.entry_id))?;
    }
    // A command without an answer and without an entry was not done.
    history.retain(|operation| operation.answered.is_some());
    linear::check::<Oracle, _>(&history, Call::user_id)
}

/// Finds the command that wrote `entry`: if no answer says so, it is the first unanswered one that fits.
///
/// The search would find it as well, but only after every order of the unanswered commands.
///
/// An entry that was written late may be found by the very command that wrote it, when that is decided again: its
/// answer is then that of a replay, although it was sent once. It counts as two commands, of which the first was
/// applied.
fn explain(
    history: &mut Vec<Operation<Call, Answer>>,
    entry: &Entry,
    entries: &[Entry],
    is_late: bool,
) -> Result<(), String> {
    let asks = |operation: &&mut Operation<Call, Answer>| match &operation.call {
        Call::Command(command) => asks_for(command, entry, entries),
        Call::Wallet(_) => false,
    };
    let is_answered = |operation: &Operation<_, _>| {
        matches!(operation.answered, Some((_, Answer::Decision(Decision::Applied { .. }))))
    };
    if history.iter_mut().filter(asks).any(|operation| is_answered(operation)) {
        return Ok(());
    }
    let may_have = |operation: &&mut Operation<Call, Answer>| match &operation.answered {
        None => true,
        Some((_, Answer::Decision(Decision::Replayed { .. }))) => is_late,
        Some(_) => false,
    };
    let unknown = history.iter_mut().filter(asks).filter(may_have).min_by_key(|operation| operation.called);
    let unknown =
        unknown.ok_or_else(|| format!("no command asked for {entry:?}, or its answer says that it was not done"))?;
    if let Some((answered, Answer::Decision(Decision::Replayed { place, applied, .. }))) = unknown.answered {
        let applied = Some((answered, Answer::Decision(Decision::Applied { place, applied })));
        let first = Operation { answered: applied, ..unknown.clone() };
        history.push(first);
        return Ok(());
    }
    let Call::Command(command) = &unknown.call else { unreachable!("it is a command") };
    let receipt = if let Some((charge, win)) = halves(command, entries) {
        let (charge_entry_id, balance) = (charge.entry_id, later(charge, win).balance_after);
        Receipt { entry: win.clone(), effect: Effect::Played { charge_entry_id, balance } }
    } else {
        let is_undone = |kind| entries.iter().any(|other| other.key() == EntryKey { kind, ..entry.key() });
        // Whatever else the command did, only that it barred an event shows.
        let barred = entry.kind.undoes().is_some_and(|kind| !is_undone(kind));
        Receipt { entry: entry.clone(), effect: if barred { Effect::Barred } else { Effect::Moved } }
    };
    let decision = Decision::from(&Outcome::Applied(receipt));
    unknown.answered = Some((u64::MAX, Answer::Decision(decision)));
    Ok(())
}

/// Whether a command may have written an entry.
fn asks_for(command: &Command, entry: &Entry, entries: &[Entry]) -> bool {
    let amount = match command.action {
        Action::Open { opening: amount, .. }
        | Action::Charge(amount)
        | Action::Win(amount)
        | Action::Deposit(amount)
        | Action::Withdraw(amount) => amount,
        Action::Rollback | Action::WinRollback => entry.amount,
        Action::Freeze | Action::Unfreeze => Amount::ZERO,
        Action::Play { .. } => {
            let Some((charge, win)) = halves(command, entries) else { return false };
            // Both at once, or the half that was not known yet.
            let at_once = charge.entry_id.next() == win.entry_id;
            return at_once && (entry == charge || entry == win) || entry == later(charge, win);
        }
    };
    let Command { user_id, event_id, action, .. } = command;
    entry.key() == EntryKey { user_id: *user_id, event_id: *event_id, kind: action.kind() } && entry.amount == amount
}

/// The entries of a play's charge and win, if both are there.
fn halves<'e>(command: &Command, entries: &'e [Entry]) -> Option<(&'e Entry, &'e Entry)> {
    let Command { user_id, event_id, action: Action::Play { stake, winning_event_id, prize }, .. } = *command else {
        return None;
    };
    let find = |kind, event_id, amount| {
        let key = EntryKey { user_id, kind, event_id };
        entries.iter().find(|entry| entry.key() == key && entry.amount == amount)
    };
    Some((find(Kind::Charge, event_id, stake)?, find(Kind::Win, winning_event_id, prize)?))
}

fn later<'e>(one: &'e Entry, other: &'e Entry) -> &'e Entry {
    if one.entry_id > other.entry_id { one } else { other }
}
