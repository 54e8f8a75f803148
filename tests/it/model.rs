//! Long random command sequences, in random batches, against a naive oracle and the real store.

use std::collections::HashMap;

use proptest::prelude::*;
use tempfile::TempDir;
use wallet::ledger::{Action, Balance, Command, EventId, Kind, Outcome, Refusal, Timestamp, UserId, WalletId};
use wallet::store::sqlite;

/// The ledger as a newcomer would write it: maps, and one command at a time.
#[derive(Default)]
struct Oracle {
    balances: HashMap<UserId, i64>,
    /// By what each command is known: the amount, the balance it left, and whether there was something to do.
    done: HashMap<(UserId, Kind, EventId), (i64, i64, bool)>,
}

/// What a caller is told, without what the oracle cannot know.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Applied { balance: i64, applied: bool },
    Replayed { balance: i64, applied: bool, current: i64 },
    Refused(Refusal),
}

impl Oracle {
    fn decide(&mut self, command: &Command) -> Told {
        let Command { user_id, event_id, action } = *command;
        let kind = action.kind();
        let charge = self.done.get(&(user_id, Kind::Charge, event_id)).copied();
        let (amount, delta, applied) = match action {
            Action::Open { opening, .. } => (opening.minor(), i128::from(opening.minor()), true),
            Action::Win(amount) | Action::Deposit(amount) => (amount.minor(), i128::from(amount.minor()), true),
            Action::Charge(amount) | Action::Withdraw(amount) => (amount.minor(), -i128::from(amount.minor()), true),
            Action::Rollback => charge.map_or((0, 0, false), |(amount, ..)| (amount, i128::from(amount), true)),
        };
        let balance = match (self.balances.get(&user_id), kind) {
            (None, Kind::Open) => 0,
            (None, _) => return Told::Refused(Refusal::UnknownUser),
            (Some(balance), _) => *balance,
        };
        if kind == Kind::Charge && self.done.contains_key(&(user_id, Kind::Rollback, event_id)) {
            return Told::Refused(Refusal::RolledBack);
        }
        if let Some((recorded, balance_after, _)) = self.done.get(&(user_id, kind, event_id)).copied() {
            return if recorded == amount {
                Told::Replayed { balance: balance_after, applied, current: balance }
            } else {
                let recorded = wallet::ledger::Amount::from_minor(recorded).unwrap();
                Told::Refused(Refusal::EventConflict { recorded })
            };
        }
        let after = i128::from(balance) + delta;
        if after < 0 {
            return Told::Refused(Refusal::BalanceTooLow { balance: Balance::from_minor(balance).unwrap() });
        }
        if after > i128::from(Balance::MAX.minor()) {
            return Told::Refused(Refusal::BalanceLimit);
        }
        let after = i64::try_from(after).unwrap();
        self.balances.insert(user_id, after);
        self.done.insert((user_id, kind, event_id), (amount, after, applied));
        Told::Applied { balance: after, applied }
    }
}

fn told(outcome: &Outcome) -> Told {
    match *outcome {
        Outcome::Applied(receipt) => {
            Told::Applied { balance: receipt.entry.balance_after.minor(), applied: receipt.applied }
        }
        Outcome::Replayed { receipt, current_balance } => Told::Replayed {
            balance: receipt.entry.balance_after.minor(),
            applied: receipt.applied,
            current: current_balance.minor(),
        },
        Outcome::Refused(refusal) => Told::Refused(refusal),
    }
}

/// Few users, few events, few amounts: so that most commands meet another.
fn command() -> impl Strategy<Value = Command> {
    let amount = prop_oneof![8 => 0..5_i64, 1 => Just(Balance::MAX.minor()), 1 => Just(i64::MAX)];
    (0..3_i64, 0..6_i64, amount, 0..9_u8).prop_map(|(user, event, amount, action)| {
        let (user_id, event_id) = (UserId::new(user).unwrap(), EventId::new(event).unwrap());
        match action {
            0 => Command::open(user_id, WalletId::from_bytes([u8::try_from(user).unwrap(); 16]), amount),
            1..=3 => Command::charge(user_id, event_id, amount),
            4 => Command::win(user_id, event_id, amount),
            5 => Command::deposit(user_id, event_id, amount),
            6 => Command::withdraw(user_id, event_id, amount),
            _ => Ok(Command::rollback(user_id, event_id)),
        }
        .unwrap()
    })
}

fn batches() -> impl Strategy<Value = Vec<Vec<Command>>> {
    prop::collection::vec(prop::collection::vec(command(), 1..20), 1..12)
}

/// Runs the batches through the real store, and the ledger's audit over what it left.
async fn run(batches: &[Vec<Command>]) -> Vec<Told> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("wallet.db");
    let mut store = sqlite::open(&path, "EUR".parse().unwrap()).await.unwrap();
    let mut answers = Vec::new();
    for (batch, now) in batches.iter().zip(0..) {
        // A clock that jumps back and forth.
        let now = Timestamp::from_microseconds(now * 37 % 11);
        answers.extend(store.writer.transact(batch, now).unwrap().iter().map(told));
    }
    store.reader.close().await;
    drop(store);
    sqlite::audit(&path, None).unwrap().unwrap();
    answers
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_is_the_oracles_and_batches_do_not_matter(batches in batches()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut oracle = Oracle::default();
        let commands: Vec<Command> = batches.concat();
        let expected: Vec<Told> = commands.iter().map(|command| oracle.decide(command)).collect();
        prop_assert_eq!(&runtime.block_on(run(&batches)), &expected);
        let alone: Vec<Vec<Command>> = commands.iter().map(|command| vec![*command]).collect();
        prop_assert_eq!(&runtime.block_on(run(&alone)), &expected, "one batch is one by one");
    }
}
