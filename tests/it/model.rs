//! Long random command sequences, in random batches, against the oracle and the store.

use proptest::prelude::*;
use tokio::task::block_in_place;
use wallet::engine::{self, Cache};
use wallet::ledger::{Balance, Command, EventId, Timestamp, UserId, WalletId};

use crate::support::ledger::{TestLedger, is_on_postgres};
use crate::support::oracle::{Decision, Oracle};
use crate::support::store::close;

/// Few users, few events, few amounts: so that most commands meet another.
fn command() -> impl Strategy<Value = Command> {
    let amount = prop_oneof![8 => 0..5_i64, 1 => Just(Balance::MAX.minor()), 1 => Just(i64::MAX)];
    let prize = prop_oneof![8 => 0..5_i64, 1 => Just(Balance::MAX.minor())];
    (0..3_i64, 0..6_i64, amount, (0..6_i64, prize), 0..16_u8).prop_map(|(user, event, amount, win, action)| {
        let user_id = UserId::new(user).unwrap();
        let [event_id, winning_event_id] = [event, win.0].map(|event| EventId::new(event).unwrap());
        match action {
            0 => Command::open(user_id, WalletId::from_bytes([u8::try_from(user).unwrap(); 16]), amount),
            1..=3 => Command::charge(user_id, event_id, amount),
            4 | 5 => Command::win(user_id, event_id, amount),
            6 => Command::deposit(user_id, event_id, amount),
            7 => Command::withdraw(user_id, event_id, amount),
            8 => Ok(Command::rollback_win(user_id, event_id)),
            9..=11 => Command::play(user_id, (event_id, amount), (winning_event_id, win.1)),
            12 => Ok(Command::freeze(user_id, event_id)),
            13 => Ok(Command::unfreeze(user_id, event_id)),
            _ => Ok(Command::rollback(user_id, event_id)),
        }
        .unwrap()
    })
}

fn batches() -> impl Strategy<Value = Vec<Vec<Command>>> {
    prop::collection::vec(prop::collection::vec(command(), 1..20), 1..12)
}

/// Sends the batches to a store, and then audits its ledger.
async fn run(batches: &[Vec<Command>]) -> Vec<Decision> {
    let ledger = TestLedger::create();
    let mut store = ledger.open().await;
    let (mut cache, mut answers) = (Cache::default(), Vec::new());
    for (batch, now) in batches.iter().zip(0..) {
        // A clock that jumps back and forth.
        let now = Timestamp::from_microseconds(now * 37 % 11);
        let writer = store.writers[0].as_mut();
        let committed = block_in_place(|| engine::transact(writer, &mut cache, batch, now)).unwrap();
        answers.extend(committed.outcomes.iter().map(Decision::from));
    }
    close(store).await;
    ledger.audit();
    answers
}

/// A new database of PostgreSQL takes longer than a new file.
fn cases() -> u32 {
    if is_on_postgres() { 12 } else { 96 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_is_the_oracles_and_batches_do_not_matter(batches in batches()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut oracle = Oracle::default();
        let commands: Vec<Command> = batches.concat();
        let expected: Vec<Decision> = commands.iter().map(|command| oracle.decide(command)).collect();
        prop_assert_eq!(&runtime.block_on(run(&batches)), &expected);
        let alone: Vec<Vec<Command>> = commands.iter().map(|command| vec![command.clone()]).collect();
        prop_assert_eq!(&runtime.block_on(run(&alone)), &expected, "one batch is one by one");
    }
}
