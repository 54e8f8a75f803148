//! What a ledger says of the commands that got no answer.
//!
//! A search for an order would find it as well, but only after it has tried every place of each of these commands.

use wallet::ledger::{Action, Amount, Command, Effect, Entry, EntryKey, Kind, Outcome, Receipt};

use super::client::Reply;
use super::linear::Operation;
use super::oracle::{Answer, Call, Decision};

/// An answer that may acknowledge a command, as a test observes it.
pub trait Acknowledgement: Clone + From<Answer> {
    /// Whether it says that the command was done, and was not before.
    fn is_applied(&self) -> bool;

    /// What was answered when the command was done of which this is the replay; `None` if it is no replay.
    fn original(&self) -> Option<Self>;
}

impl Acknowledgement for Answer {
    fn is_applied(&self) -> bool {
        matches!(self, Self::Decision(Decision::Applied { .. }))
    }

    fn original(&self) -> Option<Self> {
        let Self::Decision(Decision::Replayed { place, applied, .. }) = *self else { return None };
        Some(Self::Decision(Decision::Applied { place, applied }))
    }
}

impl Acknowledgement for Reply {
    fn is_applied(&self) -> bool {
        matches!(self, Self::Done { replayed: false, .. })
    }

    fn original(&self) -> Option<Self> {
        let Self::Done { balance, replayed: true, applied } = *self else { return None };
        Some(Self::Done { balance, replayed: false, applied })
    }
}

/// Leaves out the commands without an answer that wrote nothing, and tells what the others would have been answered,
/// where that is certain.
///
/// `is_late`: whether an entry was written after its command had been given up. The very command that wrote it may find
/// it, when it is decided again: its answer is then that of a replay, although it was sent once.
///
/// # Errors
/// If nobody asked for an entry, or was told that it was not written, or if a command was done and has no entry.
pub fn explain<A: Acknowledgement>(
    history: &mut Vec<Operation<Call, A>>,
    entries: &[Entry],
    is_late: impl Fn(&Entry) -> bool,
) -> Result<(), String> {
    for entry in entries {
        explain_entry(history, entry, entries, is_late(entry))?;
    }
    let has_entry = |call: &Call| entries.iter().any(|entry| asks_for(call, entry, entries));
    let is_done = |answer: &A| answer.is_applied() || answer.original().is_some();
    for Operation { call, answered, .. } in history.iter() {
        let is_command = matches!(call, Call::Command(_));
        if is_command && answered.as_ref().is_some_and(|(_, answer)| is_done(answer)) && !has_entry(call) {
            return Err(format!("{call:?} was answered as done and has no entry"));
        }
    }
    history.retain(|operation| operation.answered.is_some() || has_entry(&operation.call));
    Ok(())
}

/// Finds the command that wrote an entry.
fn explain_entry<A: Acknowledgement>(
    history: &mut Vec<Operation<Call, A>>,
    entry: &Entry,
    entries: &[Entry],
    is_late: bool,
) -> Result<(), String> {
    let asks = |operation: &&mut Operation<Call, A>| asks_for(&operation.call, entry, entries);
    let is_applied = |operation: &Operation<_, A>| operation.answered.as_ref().is_some_and(|(_, a)| a.is_applied());
    if history.iter_mut().filter(asks).any(|operation| is_applied(operation)) {
        return Ok(());
    }
    let may_have = |operation: &&mut Operation<Call, A>| match &operation.answered {
        None => true,
        Some((_, answer)) => is_late && answer.original().is_some(),
    };
    let mut found: Vec<_> = history.iter_mut().filter(asks).filter(may_have).collect();
    found.sort_by_key(|operation| operation.called);
    let Some((earliest, others)) = found.split_first_mut() else {
        return Err(format!("no command asked for {entry:?}, or its answer says that it was not done"));
    };
    // Of equal commands the earliest may have done it wherever another may.
    let is_certain = others.iter().all(|other| other.call == earliest.call);
    let mut twins = Vec::new();
    for operation in if is_certain { &mut found[..1] } else { &mut found[..] } {
        match &operation.answered {
            // It counts as two commands, of which the first was applied.
            Some((answered, answer)) => {
                let answered = answer.original().filter(|_| is_certain).map(|original| (*answered, original));
                twins.push(Operation { answered, ..(*operation).clone() });
            }
            None if is_certain => operation.answered = Some((u64::MAX, told(&operation.call, entry, entries).into())),
            None => (),
        }
    }
    history.extend(twins);
    Ok(())
}

/// What the command is answered that wrote an entry.
fn told(call: &Call, entry: &Entry, entries: &[Entry]) -> Answer {
    let Call::Command(command) = call else { unreachable!("it is a command") };
    let receipt = if let Some((charge, win)) = halves(command, entries) {
        let (charge_entry_id, balance) = (charge.entry_id, later(charge, win).balance_after);
        Receipt { entry: win.clone(), effect: Effect::Played { charge_entry_id, balance } }
    } else {
        let is_undone = |kind| entries.iter().any(|other| other.key() == EntryKey { kind, ..entry.key() });
        // Whatever else the command did, only that it barred an event shows.
        let barred = entry.kind.undoes().is_some_and(|kind| !is_undone(kind));
        Receipt { entry: entry.clone(), effect: if barred { Effect::Barred } else { Effect::Moved } }
    };
    Answer::Decision(Decision::from(&Outcome::Applied(receipt)))
}

/// Whether a call may have written an entry.
fn asks_for(call: &Call, entry: &Entry, entries: &[Entry]) -> bool {
    let Call::Command(command) = call else { return false };
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

mod tests {
    //! What it must find, and what it must leave open.

    use tempfile::TempDir;

    use super::*;
    use crate::support::store::{at, charge, close, entries, event, open, open_sqlite, transact, user};

    /// The entries of a wallet of which these commands were done.
    async fn written(commands: &[Command]) -> Vec<Entry> {
        let dir = TempDir::new().unwrap();
        let mut store = open_sqlite(&dir.path().join("wallet.db")).await;
        transact(&mut store, &[open(1, 1_000)], at(1)).unwrap();
        for (time, command) in (2..).zip(commands) {
            transact(&mut store, std::slice::from_ref(command), at(time)).unwrap();
        }
        let written = entries(&store).await;
        close(store).await;
        written.into_iter().skip(1).collect()
    }

    fn operation(command: &Command, answered: Option<Reply>) -> Operation<Call, Reply> {
        let answered = answered.map(|reply| (2, reply));
        Operation { call: Call::Command(command.clone()), called: 1, answered }
    }

    fn play() -> Command {
        Command::play(user(1), (event(1), 100), (event(1), 30)).unwrap()
    }

    #[tokio::test]
    async fn a_command_without_an_answer_has_the_one_of_its_entry_or_is_left_out() {
        let entries = written(&[charge(1, 1, 100)]).await;
        let mut history = vec![operation(&charge(1, 1, 100), None), operation(&charge(1, 2, 100), None)];
        explain(&mut history, &entries, |_| false).unwrap();
        assert_eq!(history.len(), 1);
        assert_eq!(history[0].answered, Some((u64::MAX, Reply::done(900))));
    }

    #[tokio::test]
    async fn what_either_of_two_commands_may_have_written_is_left_open() {
        let entries = written(&[play()]).await;
        let mut history = vec![operation(&charge(1, 1, 100), None), operation(&play(), None)];
        explain(&mut history, &entries, |_| false).unwrap();
        // Only the play can have written the win.
        assert_eq!((&history[0].answered, &history[1].answered), (&None, &Some((u64::MAX, Reply::done(930)))));
    }

    #[tokio::test]
    async fn an_acknowledged_command_without_an_entry_is_found() {
        let entries = written(&[]).await;
        for reply in [Reply::done(1_000), Reply::replayed(1_000)] {
            let freeze = Command::freeze(user(1), event(1));
            let found = explain(&mut vec![operation(&freeze, Some(reply))], &entries, |_| false).unwrap_err();
            assert!(found.contains("was answered as done and has no entry"), "{found}");
        }
    }

    #[tokio::test]
    async fn an_entry_that_nobody_asked_for_is_found() {
        let entries = written(&[charge(1, 1, 100)]).await;
        let refused =
            Reply::Refused { reason: wallet::api::reason::Reason::Frozen, message: String::new(), detail_minor: None };
        for history in [vec![], vec![operation(&charge(1, 1, 100), Some(refused))]] {
            let found = explain(&mut history.clone(), &entries, |_| false).unwrap_err();
            assert!(found.contains("no command asked for"), "{found}");
        }
    }
}
