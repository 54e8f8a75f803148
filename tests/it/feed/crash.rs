//! Readers by every door, who hang up at random, of a service under load that is killed: each sees every entry once.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use wallet::ledger::Kind;

use crate::support::client::Protocol;
use crate::support::command::PlainCommand;
use crate::support::fact::Fact;
use crate::support::follower::{Door, Follower, Served};
use crate::support::ledger::TestLedger;
use crate::support::process::Process;
use crate::support::script::{callers, load, resend};
use crate::support::seed::{rounds, seeds};

const CALLERS: i64 = 15;
/// The event of each caller's last charge.
pub const LAST: i64 = i64::MAX;
/// Much longer than it takes: a reader that waits in vain must not hang the tests.
const LIMIT: Duration = Duration::from_secs(300);

/// Readers by each door: of everything, of one user, and of two kinds.
fn followers(seed: u64) -> Vec<Follower> {
    let filters: [(Option<i64>, &[Kind]); 4] =
        [(None, &[]), (None, &[]), (Some(4), &[]), (None, &[Kind::Charge, Kind::WinRollback])];
    let doors = [Door::Grpc, Door::Events, Door::Pages];
    let each = doors.into_iter().flat_map(|door| filters.map(|(user_id, kinds)| (door, user_id, kinds)));
    (0..).zip(each).map(|(place, (door, user, kinds))| Follower::new(door, user, kinds, seed * 100 + place)).collect()
}

/// Whether so many last charges have come: each is behind everything else of its wallet's shard.
pub fn has_ended(seen: &[Fact], marks: usize) -> bool {
    let is_last = |fact: &&Fact| fact.event_id == LAST;
    seen.last().as_ref().is_some_and(is_last) && seen.iter().filter(is_last).count() >= marks
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_comes_once_and_in_order_whatever_is_cut_off() {
    for seed in seeds(rounds(1, 10)) {
        let (kills, cuts, entries) = run(seed).await;
        println!("seed {seed}: {kills} kills, {cuts} readers cut off, {entries} entries, each seen once and in order");
    }
}

async fn run(seed: u64) -> (u64, usize, usize) {
    let ledger = TestLedger::create();
    let (tell, served) = watch::channel::<Served>(None);
    let mut following = JoinSet::new();
    for follower in followers(seed) {
        let marks = if follower.user_id.is_some() { 1 } else { usize::try_from(CALLERS).unwrap() };
        let is_done = move |seen: &[Fact]| has_ended(seen, marks);
        following.spawn(follower.follow(served.clone(), is_done));
    }
    let mut process = Process::start(&ledger);
    tell.send_replace(Some((process.http, process.grpc)));
    let mut callers = callers(&process.client().await, CALLERS).await;
    let kills = rounds(4, 12);
    for kill in 0..kills {
        let answers = 500 + usize::try_from((seed + kill) * 397 % 3_000).unwrap();
        callers = load(&process.client().await, callers, answers, || process.signal("KILL")).await;
        tell.send_replace(None);
        drop(process);
        process = Process::start(&ledger);
        tell.send_replace(Some((process.http, process.grpc)));
        callers = resend(&process.client().await, callers).await;
    }
    let client = process.client().await;
    for user in 0..CALLERS {
        client.send(Protocol::Grpc, PlainCommand::charge(user, LAST, 0)).await.balance();
    }
    let mut followed = tokio::time::timeout(LIMIT, following.join_all()).await.expect("every reader comes to the end");
    assert!(process.terminate().0.success());
    let ledger: Vec<Fact> = ledger.entries().await.iter().map(Fact::from).collect();
    for follower in &mut followed {
        follower.seen.sort_by_key(Fact::shard);
        let expected: Vec<&Fact> = ledger.iter().filter(|fact| follower.wants(fact)).collect();
        let seen: Vec<&Fact> = follower.seen.iter().collect();
        let differs = seen.iter().zip(&expected).position(|(seen, expected)| seen != expected);
        let Follower { door, user_id, kinds, .. } = follower;
        assert!(
            differs.is_none() && seen.len() == expected.len(),
            "seed {seed}: {door:?} of {user_id:?} and {kinds:?} saw {} of {}, and first differs at {differs:?}",
            seen.len(),
            expected.len(),
        );
    }
    (kills, followed.iter().map(|follower| follower.cuts).sum(), ledger.len())
}
