//! Histories of concurrent callers of both APIs, whose process is killed: some order of one call at a time must explain
//! each of them, as the oracle answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time;
use wallet::api::reason::Reason;
use wallet::ledger::{Action, Command, EventId, UserId, WalletId};

use crate::support::client::{Client, Protocol, Reply};
use crate::support::explain::explain;
use crate::support::ledger::TestLedger;
use crate::support::linear::{self, Operation};
use crate::support::oracle::{Call, ObservedOracle};
use crate::support::process::Process;
use crate::support::seed::{Seeded, rounds};

/// So few wallets for so many callers that most calls meet others.
pub const WALLETS: i64 = 7;
pub const CALLERS: usize = 16;
const KILLS: u64 = 3;
/// The answers of all callers together after which the process is killed.
const ANSWERS: usize = 350;
/// How long a caller pauses whose call was not tried, or may have been done.
pub const PAUSE: Duration = Duration::from_millis(50);

pub type Observed = Operation<Call, Reply>;

/// One of many callers, which makes one call after another, by one protocol or the other.
pub struct Caller {
    pub seeded: Seeded,
    /// What had no outcome, and is to be sent again.
    again: Option<Call>,
    pub history: Vec<Observed>,
    moment: Arc<AtomicU64>,
    /// Whether it freezes and unfreezes wallets as well. If many did, too many orders would have to be searched.
    is_operator: bool,
}

impl Caller {
    pub fn new(seed: u64, moment: &Arc<AtomicU64>, is_operator: bool) -> Self {
        let (seeded, moment) = (Seeded::new(seed), Arc::clone(moment));
        Self { seeded, again: None, history: Vec::new(), moment, is_operator }
    }

    /// Opens every wallet.
    pub async fn open_wallets(&mut self, client: &Client) {
        for user_id in (0..WALLETS).filter_map(UserId::new) {
            let open = Command::open(user_id, WalletId::from_bytes([0; 16]), 1_000).unwrap();
            assert_eq!(self.call(client, Protocol::Rest, Call::Command(open)).await, Reply::done(1_000));
        }
    }

    /// Looks at every wallet.
    pub async fn look(&mut self, client: &Client) {
        for user_id in (0..WALLETS).filter_map(UserId::new) {
            self.call(client, Protocol::Rest, Call::Wallet(user_id)).await.balance();
        }
    }

    /// Makes the call again that had no outcome, if one had none, until it has.
    pub async fn finish(&mut self, client: &Client) {
        while self.again.is_some() {
            let reply = self.step(client).await;
            assert_ne!(reply, Reply::Unanswered);
            if reply.has_no_outcome() {
                time::sleep(PAUSE).await;
            }
        }
    }

    /// Makes the call again that had no outcome, or another one, by either protocol.
    pub async fn step(&mut self, client: &Client) -> Reply {
        let call = self.again.take().unwrap_or_else(|| call(&mut self.seeded, self.is_operator));
        let by_rest = self.seeded.percent(50) || tells_replays_by_rest_alone(&call);
        let protocol = if by_rest { Protocol::Rest } else { Protocol::Grpc };
        self.call(client, protocol, call).await
    }

    async fn call(&mut self, client: &Client, protocol: Protocol, call: Call) -> Reply {
        let called = self.moment.fetch_add(1, Ordering::SeqCst);
        let reply = match &call {
            Call::Command(command) => client.send(protocol, command.clone()).await,
            Call::Wallet(user_id) => client.wallet(protocol, user_id.get()).await,
        };
        assert_ne!(reply.reason(), Some(Reason::Internal), "{call:?}");
        self.again = reply.has_no_outcome().then(|| call.clone());
        let is_unknown = reply.is_unknown();
        // What was not tried in time did not happen.
        let was_tried = is_unknown || !reply.has_no_outcome();
        if was_tried {
            let answered = (!is_unknown).then(|| (self.moment.fetch_add(1, Ordering::SeqCst), reply.clone()));
            self.history.push(Operation { call, called, answered });
        }
        reply
    }

    /// Makes calls until the service is gone.
    async fn play(mut self, client: Client, answers: Arc<AtomicUsize>) -> Self {
        loop {
            match self.step(&client).await {
                Reply::Unanswered => return self,
                reply if reply.has_no_outcome() => time::sleep(PAUSE).await,
                _ => _ = answers.fetch_add(1, Ordering::Relaxed),
            }
        }
    }
}

/// Whether only the REST answer to a call tells that it was a replay.
fn tells_replays_by_rest_alone(call: &Call) -> bool {
    matches!(call, Call::Command(Command { action: Action::Freeze | Action::Unfreeze, .. }))
}

/// Few events, so that replays, conflicts, roll-backs and empty wallets are all met; and large amounts, none of them 0,
/// so that balances tell where a call that got no answer had its place.
fn call(seeded: &mut Seeded, is_operator: bool) -> Call {
    let user_id = UserId::new(seeded.of(0..WALLETS)).unwrap();
    let (event, amount) = (EventId::new(seeded.of(0..200)).unwrap(), seeded.of(1..4) * 100);
    let command = match seeded.of(0..if is_operator { 28 } else { 23 }) {
        0..=4 => return Call::Wallet(user_id),
        5..=11 => Command::charge(user_id, event, amount),
        12..=14 => Command::win(user_id, event, amount),
        15 => Command::deposit(user_id, event, amount),
        16 => Command::withdraw(user_id, event, amount),
        17 | 18 => Ok(Command::rollback(user_id, event)),
        19..=22 => {
            let win = (EventId::new(seeded.of(0..200)).unwrap(), seeded.of(1..3) * 100);
            Command::play(user_id, (event, amount), win)
        }
        23 | 24 => Ok(Command::freeze(user_id, event)),
        25..=27 => Ok(Command::unfreeze(user_id, event)),
        _ => Ok(Command::rollback_win(user_id, event)),
    };
    Call::Command(command.unwrap())
}

/// The history of one database, through so many kills.
async fn history(seed: u64) -> Vec<Observed> {
    let ledger = TestLedger::create();
    let moment = Arc::new(AtomicU64::new(0));
    let mut first = Caller::new(seed, &moment, false);
    let process = Process::start(&ledger);
    let client = process.client().await;
    first.open_wallets(&client).await;
    process.kill();
    let mut callers: Vec<Caller> =
        (0..CALLERS).map(|index| Caller::new(first.seeded.next(), &moment, index == 0)).collect();
    for _ in 0..KILLS {
        let process = Process::start(&ledger);
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
    let process = Process::start(&ledger);
    let client = process.client().await;
    for caller in &mut callers {
        caller.finish(&client).await;
    }
    first.look(&client).await;
    process.kill();
    ledger.audit();
    let mut history = callers.into_iter().chain([first]).flat_map(|caller| caller.history).collect();
    explain(&mut history, &ledger.entries().await, |_| false).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    history
}

#[tokio::test(flavor = "multi_thread")]
async fn every_history_of_a_process_that_is_killed_has_an_order_that_explains_it() {
    let rounds = rounds(3, 30);
    let (mut calls, mut answers, mut replays) = (0, 0, 0);
    for seed in 0..rounds {
        let history = history(seed).await;
        linear::check::<ObservedOracle, _>(&history, Call::user_id).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let replies = || history.iter().filter_map(|operation| operation.answered.as_ref()).map(|(_, reply)| reply);
        calls += history.len();
        answers += replies().count();
        replays += replies().filter(|reply| matches!(reply, Reply::Done { replayed: true, .. })).count();
    }
    println!("{rounds} histories of {KILLS} kills each: {calls} calls, {answers} answers, {replays} replays");
}
