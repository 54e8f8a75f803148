//! Histories of concurrent callers of both APIs, whose process is killed: some order of one call at a time must explain
//! each of them, as the oracle answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::task::JoinSet;
use wallet::api::reason::Reason;
use wallet::ledger::{Command, EventId, UserId, WalletId};
use wallet::store::sqlite;

use crate::support::client::{Client, Protocol, Reply};
use crate::support::linear::{self, Operation};
use crate::support::oracle::{Call, ObservedOracle};
use crate::support::process::Process;
use crate::support::seed::{Seeded, rounds};

/// So few wallets for so many callers that most calls meet others.
const WALLETS: i64 = 4;
const CALLERS: usize = 16;
const KILLS: u64 = 3;
/// The answers of all callers together after which the process is killed.
const ANSWERS: usize = 350;

type Observed = Operation<Call, Reply>;

/// One of many callers, which makes one call after another, by one protocol or the other.
struct Caller {
    seeded: Seeded,
    /// What got no answer, and is to be sent again.
    again: Option<Call>,
    history: Vec<Observed>,
    moment: Arc<AtomicU64>,
}

impl Caller {
    /// Makes a call; whether its outcome is known.
    async fn call(&mut self, client: &Client, protocol: Protocol, call: Call) -> bool {
        let called = self.moment.fetch_add(1, Ordering::SeqCst);
        let reply = match &call {
            Call::Command(command) => client.send(protocol, command.clone()).await,
            Call::Wallet(user_id) => client.wallet(protocol, user_id.get()).await,
        };
        assert_ne!(reply.reason(), Some(Reason::Internal), "{call:?}");
        let is_known = !reply.is_unknown();
        let answered = is_known.then(|| (self.moment.fetch_add(1, Ordering::SeqCst), reply));
        self.again = (!is_known).then(|| call.clone());
        self.history.push(Operation { call, called, answered });
        is_known
    }

    /// Makes calls until one gets no answer.
    async fn play(mut self, client: Client, answers: Arc<AtomicUsize>) -> Self {
        loop {
            let protocol = if self.seeded.percent(50) { Protocol::Rest } else { Protocol::Grpc };
            let call = self.again.take().unwrap_or_else(|| call(&mut self.seeded));
            if !self.call(&client, protocol, call).await {
                return self;
            }
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Few events and large amounts, so that replays, conflicts, roll-backs and empty wallets are all met.
fn call(seeded: &mut Seeded) -> Call {
    let user_id = UserId::new(seeded.of(0..WALLETS)).unwrap();
    let (event, amount) = (EventId::new(seeded.of(0..200)).unwrap(), seeded.of(0..3) * 100);
    let command = match seeded.of(0..20) {
        0..=4 => return Call::Wallet(user_id),
        5..=11 => Command::charge(user_id, event, amount),
        12..=14 => Command::win(user_id, event, amount),
        15 => Command::deposit(user_id, event, amount),
        16 => Command::withdraw(user_id, event, amount),
        17 | 18 => Ok(Command::rollback(user_id, event)),
        _ => Ok(Command::rollback_win(user_id, event)),
    };
    Call::Command(command.unwrap())
}

/// The history of one database, through so many kills.
async fn history(seed: u64) -> Vec<Observed> {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let moment = Arc::new(AtomicU64::new(0));
    let caller = |seed| Caller { seeded: Seeded::new(seed), again: None, history: Vec::new(), moment: moment.clone() };
    let mut first = caller(seed);
    let process = Process::start(&database);
    let client = process.client().await;
    for user_id in (0..WALLETS).filter_map(UserId::new) {
        let open = Command::open(user_id, WalletId::from_bytes([0; 16]), 1_000).unwrap();
        assert!(first.call(&client, Protocol::Rest, Call::Command(open)).await);
    }
    process.kill();
    let mut callers: Vec<Caller> = (0..CALLERS).map(|_| caller(first.seeded.next())).collect();
    for _ in 0..KILLS {
        let process = Process::start(&database);
        let (client, answers) = (process.client().await, Arc::new(AtomicUsize::new(0)));
        let mut playing: JoinSet<Caller> =
            callers.drain(..).map(|caller| caller.play(client.clone(), Arc::clone(&answers))).collect();
        while answers.load(Ordering::Relaxed) < ANSWERS {
            tokio::task::yield_now().await;
        }
        process.kill();
        while let Some(caller) = playing.join_next().await {
            callers.push(caller.unwrap());
        }
    }
    let process = Process::start(&database);
    let client = process.client().await;
    for caller in &mut callers {
        let call = caller.again.take().unwrap();
        assert!(caller.call(&client, Protocol::Grpc, call).await);
    }
    for user_id in (0..WALLETS).filter_map(UserId::new) {
        assert!(first.call(&client, Protocol::Rest, Call::Wallet(user_id)).await);
    }
    process.kill();
    sqlite::audit(&database, None).unwrap().unwrap();
    callers.into_iter().chain([first]).flat_map(|caller| caller.history).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_history_of_a_process_that_is_killed_has_an_order_that_explains_it() {
    let rounds = rounds(3, 30);
    let (mut calls, mut answers, mut replays) = (0, 0, 0);
    for seed in 0..rounds {
        let history = history(seed).await;
        linear::check::<ObservedOracle, _>(&history, Call::user_id).unwrap_or_else(|why| panic!("{why}"));
        let replies = || history.iter().filter_map(|operation| operation.answered.as_ref()).map(|(_, reply)| reply);
        calls += history.len();
        answers += replies().count();
        replays += replies().filter(|reply| matches!(reply, Reply::Done { replayed: true, .. })).count();
    }
    println!("{rounds} histories of {KILLS} kills each: {calls} calls, {answers} answers, {replays} replays");
}
