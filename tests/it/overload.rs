//! Far more than it can do, and thousands who do nothing: the excess is refused, memory is bounded, money is right.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::task::JoinSet;
use wallet::api::reason::Reason;

use crate::support::client::{Client, Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::ledger::TestLedger;
use crate::support::optional;
use crate::support::process::{Process, wallet, without_settings};

const USERS: usize = 64;
/// Commands that may wait, and so the most that can be asked at once with nothing refused.
const QUEUE: usize = 32;

/// What came of a time under load.
struct Tally {
    /// Wins of one cent that were accepted, by user.
    accepted: Vec<AtomicI64>,
    busy: AtomicU64,
}

impl Tally {
    fn new() -> Self {
        Self { accepted: (0..USERS).map(|_| AtomicI64::new(0)).collect(), busy: AtomicU64::new(0) }
    }

    fn accepted(&self) -> i64 {
        self.accepted.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// Whether a win was accepted: it may be refused as `BUSY`, and as nothing else.
async fn win(client: &Client, protocol: Protocol, user_id: i64, event_id: i64) -> bool {
    let reply = client.send(protocol, PlainCommand::win(user_id, event_id, 1)).await;
    match reply {
        Reply::Done { replayed: false, .. } => true,
        Reply::Refused { reason: Reason::Busy, .. } => false,
        other => panic!("user {user_id}, event {event_id} by {protocol:?}: {other:?}"),
    }
}

/// Lets so many callers win without a pause, by both protocols; how many wins a second were accepted, and the 99th
/// percentile of the time that each took.
async fn load(
    process: &Process,
    callers: usize,
    first_event: i64,
    time: Duration,
    tally: &Arc<Tally>,
) -> (f64, Duration) {
    let clients = join_all((0..4).map(|_| process.client())).await;
    let (before, begun) = (tally.accepted(), Instant::now());
    let mut playing = JoinSet::new();
    for number in 0..callers {
        let client = clients[number / 2 % clients.len()].clone();
        let protocol = if number % 2 == 0 { Protocol::Rest } else { Protocol::Grpc };
        let tally = Arc::clone(tally);
        playing.spawn(async move {
            let (user, mut waits) = (number % USERS, Vec::new());
            let first = first_event + i64::try_from(number).unwrap() * 1_000_000;
            for event in first.. {
                let sent = Instant::now();
                if sent.duration_since(begun) > time {
                    break;
                }
                if win(&client, protocol, i64::try_from(user).unwrap(), event).await {
                    waits.push(sent.elapsed());
                    tally.accepted[user].fetch_add(1, Ordering::Relaxed);
                } else {
                    tally.busy.fetch_add(1, Ordering::Relaxed);
                }
            }
            waits
        });
    }
    let mut waits = playing.join_all().await.concat();
    waits.sort_unstable();
    let seconds = begun.elapsed().as_secs_f64();
    let accepted = u32::try_from(tally.accepted() - before).unwrap();
    (f64::from(accepted) / seconds, waits[waits.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_times_too_much_is_refused_and_what_is_accepted_is_right() {
    let ledger = TestLedger::create();
    // A small queue, and small commits: so that this machine can ask for far more than the service can do.
    let flags = ["--queue-capacity", &QUEUE.to_string(), "--batch-size-max", "4"];
    let process = Process::start_with(wallet(), &ledger, &flags);
    let client = process.client().await;
    for user in 0..USERS {
        client.create_wallet(i64::try_from(user).unwrap(), 0).await;
    }
    let (tally, time) = (Arc::new(Tally::new()), Duration::from_secs(2));
    let (top, top_p99) = load(&process, QUEUE, 0, time, &tally).await;
    assert_eq!(tally.busy.load(Ordering::Relaxed), 0, "what the queue holds is not refused");
    let memory_before = process.memory_mib();
    let (over, over_p99) = load(&process, 10 * QUEUE, 1_000_000_000_000, time, &tally).await;
    let (memory, busy) = (process.memory_mib(), tally.busy.load(Ordering::Relaxed));
    println!(
        "at capacity {top:.0}/s, p99 {top_p99:?}; ten times as many callers: {over:.0}/s, \
         p99 {over_p99:?}, {busy} BUSY; memory {memory_before} to {memory} MiB"
    );
    assert!(busy > 0, "the excess is refused");
    assert!(memory < memory_before + 200, "memory is bounded: {memory_before} to {memory} MiB");
    for user in 0..USERS {
        let balance = client.balance(i64::try_from(user).unwrap()).await;
        assert_eq!(balance, tally.accepted[user].load(Ordering::Relaxed), "user {user}");
    }
    drop(client);
    let log = process.terminate_and_log();
    let lines = log.lines().filter(|line| line.contains("the ledger cannot keep up"));
    let counts = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["busy"].as_u64().unwrap());
    let counts: Vec<u64> = counts.collect();
    println!("the log has them in {} lines", counts.len());
    assert_eq!(counts.iter().sum::<u64>(), busy, "every refusal is in the log: {log}");
    assert!(counts.len() <= 3, "now and then, not for each: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_do_not_keep_others_out() {
    const IDLE: usize = 10_000;
    let test = "ten thousand idle connections";
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    if limit < 10_500 {
        return optional::skip(test, &format!("needs more open files than {limit}"));
    }
    let ledger = TestLedger::create();
    // As most systems start a service: with a limit that it must raise.
    let mut program = without_settings("sh");
    program.args(["-c", r#"ulimit -S -n 1024; exec "$0" "$@""#, env!("CARGO_BIN_EXE_wallet")]);
    let process = Process::start_with(program, &ledger, &[]);
    let memory_before = process.memory_mib();
    let addrs = [process.http, process.grpc];
    let idle: Vec<TcpStream> = tokio::task::block_in_place(|| {
        (0..IDLE).map(|number| TcpStream::connect(addrs[number % 2]).unwrap()).collect()
    });
    let begun = Instant::now();
    process.client().await.create_wallet(1, 0).await;
    for event in 0..100 {
        let client = process.client().await;
        for (number, protocol) in (0..).zip([Protocol::Rest, Protocol::Grpc]) {
            assert!(win(&client, protocol, 1, 2 * event + number).await);
        }
    }
    let (took, memory) = (begun.elapsed() / 200, process.memory_mib());
    println!(
        "{} idle connections: 200 calls on new ones, {took:?} each; memory {memory_before} to {memory} MiB",
        idle.len()
    );
    assert!(memory < memory_before + 400, "{memory} MiB");
}
