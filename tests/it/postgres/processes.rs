//! Two services on one ledger, of which now one is killed and now the other, and callers who use both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;

use crate::feed::crash::{LAST, has_ended};
use crate::linearizability::{CALLERS, Caller, Observed, PAUSE, WALLETS};
use crate::support::client::{Client, Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::explain::explain;
use crate::support::fact::Fact;
use crate::support::follower::{Door, Follower, Served};
use crate::support::ledger::TestLedger;
use crate::support::linear;
use crate::support::oracle::{Call, ObservedOracle};
use crate::support::postgres::Database;
use crate::support::process::Process;
use crate::support::seed::rounds;

/// How often a service is killed: each as often as the other.
const KILLS: usize = 6;
/// The answers of all callers together after which one is killed.
const ANSWERS: usize = 150;

/// The clients of both services; `None` of one that is killed.
type Clients = [Option<Client>; 2];

/// Makes call after call, at either service, until all have made so many.
async fn roam(mut caller: Caller, mut clients: watch::Receiver<Clients>, answers: Arc<AtomicUsize>) -> Caller {
    while answers.load(Ordering::Relaxed) < KILLS * ANSWERS {
        let at = usize::from(caller.seeded.percent(50));
        let found = clients.borrow_and_update().clone();
        let Some(client) = found[at].as_ref().or(found[1 - at].as_ref()) else { panic!("both are killed") };
        if caller.step(client).await.has_no_outcome() {
            // A pause, until it is told that the service is gone: to ask it again and again would explain nothing.
            let _ = time::timeout(PAUSE, clients.changed()).await;
        } else {
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
    caller
}

/// How the feeds are read. Each tells of the other process's entries as well.
const DOORS: [Door; 3] = [Door::Grpc, Door::Events, Door::Pages];

/// Readers of a service's feed, wherever it serves.
fn follow(following: &mut JoinSet<Follower>, served: &watch::Receiver<Served>, seed: u64) {
    for (place, door) in (0..).zip(DOORS) {
        let follower = Follower::new(door, None, &[], seed + place);
        let marks = usize::try_from(WALLETS).unwrap();
        following.spawn(follower.follow(served.clone(), move |seen: &[Fact]| has_ended(seen, marks)));
    }
}

/// What was observed of one ledger, and what it and its feeds hold.
async fn history(seed: u64, database: Database) -> Vec<Observed> {
    let ledger = TestLedger::Postgres(database);
    let moment = Arc::new(AtomicU64::new(0));
    let mut first = Caller::new(seed, &moment, false);
    let mut services = [Process::start(&ledger), Process::start(&ledger)];
    let tell = [watch::channel::<Served>(None).0, watch::channel::<Served>(None).0];
    let mut following = JoinSet::new();
    for (seed, (tell, service)) in (0..).step_by(100).zip(tell.iter().zip(&services)) {
        tell.send_replace(Some((service.http, service.grpc)));
        follow(&mut following, &tell.subscribe(), seed);
    }
    first.open_wallets(&services[0].client().await).await;
    let (clients, known) = watch::channel([Some(services[0].client().await), Some(services[1].client().await)]);
    let answers = Arc::new(AtomicUsize::new(0));
    let roaming: JoinSet<Caller> = (0..CALLERS)
        .map(|index| Caller::new(first.seeded.next(), &moment, index == 0))
        .map(|caller| roam(caller, known.clone(), Arc::clone(&answers)))
        .collect();
    for kill in 1..=KILLS {
        while answers.load(Ordering::Relaxed) < kill * ANSWERS {
            tokio::task::yield_now().await;
        }
        let killed = kill % 2;
        services[killed].signal("KILL");
        clients.send_modify(|clients| clients[killed] = None);
        tell[killed].send_replace(None);
        services[killed] = tokio::task::block_in_place(|| Process::start(&ledger));
        let client = services[killed].client().await;
        clients.send_modify(|clients| clients[killed] = Some(client));
        tell[killed].send_replace(Some((services[killed].http, services[killed].grpc)));
    }
    let mut callers = roaming.join_all().await;
    for (index, caller) in callers.iter_mut().enumerate() {
        caller.finish(&services[index % 2].client().await).await;
    }
    first.look(&services[1].client().await).await;
    let client = services[0].client().await;
    for user in 0..WALLETS {
        client.send(Protocol::Grpc, PlainCommand::deposit(user, LAST, 1)).await.balance();
    }
    let followed = following.join_all().await;
    assert!(services.into_iter().all(|service| service.terminate().0.success()));
    let mut entries = ledger.entries().await;
    let facts: Vec<Fact> = entries.iter().map(Fact::from).collect();
    for mut follower in followed {
        follower.seen.sort_by_key(Fact::shard);
        assert!(follower.seen == facts, "seed {seed}: {:?} saw {} entries", follower.door, follower.seen.len());
    }
    ledger.audit();
    let mut history = callers.into_iter().chain([first]).flat_map(|caller| caller.history).collect();
    // The last deposits are no caller's.
    entries.retain(|entry| entry.event_id.get() != LAST);
    explain(&mut history, &entries, |_| false).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    history
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_on_one_ledger_are_one_ledger_whoever_is_killed() {
    let rounds = rounds(2, 20);
    for seed in 0..rounds {
        let Some(database) = Database::create("two services on one ledger") else { return };
        let history = history(seed, database).await;
        linear::check::<ObservedOracle, _>(&history, Call::user_id).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let replies = || history.iter().filter_map(|operation| operation.answered.as_ref()).map(|(_, reply)| reply);
        let replays = replies().filter(|reply| matches!(reply, Reply::Done { replayed: true, .. })).count();
        let (calls, answers) = (history.len(), replies().count());
        println!("seed {seed}: {KILLS} kills, {calls} calls, {answers} answers, {replays} replays");
    }
}
