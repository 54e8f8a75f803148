//! Continuous backup as `docs/operations.md` shows it: Litestream replicates a ledger in use, which is then lost.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tempfile::TempDir;
use wallet::store::sqlite;

use crate::support::client::{Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::optional;
use crate::support::process::{Process, database_url, run};

const CHARGES: i64 = 300;
/// Callers at the same time, where the load is measured.
const CALLERS: i64 = 16;
/// Far longer than Litestream takes to send what is new, which it does each second.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Ended when dropped.
struct Replicating(Child);

impl Drop for Replicating {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Replicating {
    /// Sends it a signal, by its name.
    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status().expect("kill runs");
        assert!(status.success(), "{name}");
    }
}

fn replicate(litestream: &Path, database: &Path, replica: &str) -> Replicating {
    let mut command = Command::new(litestream);
    command.arg("replicate").arg(database).arg(replica).stdout(Stdio::null()).stderr(Stdio::null());
    Replicating(command.spawn().expect("Litestream starts"))
}

/// Sends a charge for each event; the balance that each left, and whether it was a replay.
async fn charge(process: &Process, events: std::ops::Range<i64>) -> Vec<(i64, bool)> {
    let client = process.client().await;
    client.send(Protocol::Grpc, PlainCommand::open(1, 100_000)).await.balance();
    let mut replies = Vec::new();
    for event in events {
        match client.send(Protocol::Grpc, PlainCommand::charge(1, event, 1)).await {
            Reply::Done { balance, replayed, .. } => replies.push((balance, replayed)),
            other => panic!("event {event}: {other:?}"),
        }
    }
    replies
}

/// Restores from the replica until all of `database` is in it.
fn restore(litestream: &Path, replica: &str, database: &Path, dir: &TempDir) -> std::path::PathBuf {
    let head = sqlite::audit(database, None).unwrap().unwrap().head;
    let began = Instant::now();
    for attempt in 0.. {
        let restored = dir.path().join(format!("restored-{attempt}.db"));
        let mut command = Command::new(litestream);
        let output = command.arg("restore").arg("-o").arg(&restored).arg(replica).output().unwrap();
        if output.status.success() && sqlite::audit(&restored, None).unwrap().unwrap().head == head {
            return restored;
        }
        assert!(began.elapsed() < TIMEOUT, "not all was replicated: {output:?}");
        std::thread::sleep(Duration::from_millis(250));
    }
    unreachable!("the loop ends at its time-out")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_litestream_replicated_survives_the_loss_of_the_database() {
    let Some([litestream]) = optional::programs("Litestream", ["litestream"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let replica = format!("file://{}", dir.path().join("replica").display());
    let process = Process::start(&database);
    let replicating = replicate(&litestream, &database, &replica);
    let first = charge(&process, 0..CHARGES).await;
    process.kill();
    // The service starts again while Litestream runs, on a database that has Litestream's tables by now.
    let process = Process::start(&database);
    let second = charge(&process, 0..2 * CHARGES).await;
    assert!(
        second.iter().zip(&first).all(|(again, first)| *again == (first.0, true)),
        "all that was acknowledged is there"
    );
    process.kill();

    let restored = restore(&litestream, &replica, &database, &dir);
    drop(replicating);
    let (report, stderr, code) = run(&["verify", "--database-url", &database_url(&restored)]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(report.contains(&format!("{} entries", 1 + 2 * CHARGES)), "{report}");
    let moved = dir.path().join("moved.db");
    let (_, stderr, code) = run(&["restore", restored.to_str().unwrap(), "--database-url", &database_url(&moved)]);
    assert_eq!(code, Some(0), "{stderr}");
    let process = Process::start(&moved);
    let third = charge(&process, 0..2 * CHARGES).await;
    assert!(third.iter().zip(&second).all(|(again, first)| *again == (first.0, true)), "and in the replica");
}

/// Lets a few callers charge for a while, each one charge after the other; how long each charge took, sorted.
async fn charge_for(process: &Process, time: Duration, first_event: i64) -> Vec<Duration> {
    let (client, began) = (process.client().await, Instant::now());
    let caller = |number: i64| {
        let client = client.clone();
        async move {
            let mut waits = Vec::new();
            for event in first_event.. {
                let sent = Instant::now();
                if sent.duration_since(began) > time {
                    break;
                }
                let charge = PlainCommand::charge(1, 1_000_000 * number + event, 1);
                let reply = client.send(Protocol::Grpc, charge).await;
                assert!(matches!(reply, Reply::Done { replayed: false, .. }), "{reply:?}");
                waits.push(sent.elapsed());
            }
            waits
        }
    };
    let mut waits = join_all((0..CALLERS).map(caller)).await.concat();
    waits.sort_unstable();
    waits
}

fn describe(waits: &[Duration]) -> String {
    let (median, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    format!("{} charges, median {median:.1?}, p99 {p99:.1?}, longest {:.1?}", waits.len(), waits[waits.len() - 1])
}

/// Litestream forces a checkpoint (`truncate`) when the WAL has grown large: it holds the write lock meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_another_process_forces_delays_callers_and_fails_none() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start(&database);
    process.client().await.create_wallet(1, 100_000_000).await;
    let time = Duration::from_secs(1);
    let undisturbed = charge_for(&process, time, 0).await;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let path = database.clone();
    let forcing = std::thread::spawn(move || {
        let other = rusqlite::Connection::open(path).unwrap();
        other.busy_timeout(Duration::from_secs(1)).unwrap();
        let (mut forced, mut longest) = (0, Duration::ZERO);
        while !stopped.load(Ordering::Relaxed) {
            let began = Instant::now();
            let busy: i64 = other.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0)).unwrap();
            forced += 1 - busy;
            longest = longest.max(began.elapsed());
            std::thread::sleep(Duration::from_millis(100));
        }
        (forced, longest)
    });
    let disturbed = charge_for(&process, time, 500_000).await;
    stop.store(true, Ordering::Relaxed);
    let (forced, longest) = forcing.join().unwrap();
    println!("undisturbed: {}", describe(&undisturbed));
    println!("{forced} checkpoints forced, the longest {longest:.1?}: {}", describe(&disturbed));
    assert!(forced > 0, "none was made");
    assert!(process.terminate().0.success());
    let report = sqlite::audit(&database, None).unwrap().unwrap();
    let charges = i64::try_from(undisturbed.len() + disturbed.len()).unwrap();
    assert_eq!(report.head.last_entry_id.get(), 1 + charges);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_litestream_that_was_stopped_pins_the_wal_and_the_service_goes_on() {
    let Some([litestream]) = optional::programs("Litestream", ["litestream"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let replica = format!("file://{}", dir.path().join("replica").display());
    let process = Process::start(&database);
    let replicating = replicate(&litestream, &database, &replica);
    charge(&process, 0..1).await;
    let _ = restore(&litestream, &replica, &database, &dir);
    replicating.signal("STOP");
    let wal = || std::fs::metadata(dir.path().join("wallet.db-wal")).unwrap().len() / 1024;
    let before = wal();
    let waits = charge_for(&process, Duration::from_secs(2), 1).await;
    let pinned = wal();
    println!("Litestream stopped: the WAL grew from {before} to {pinned} KiB; {}", describe(&waits));
    assert!(pinned > before, "what Litestream has not copied is not overwritten");
    replicating.signal("CONT");
    let restored = restore(&litestream, &replica, &database, &dir);
    let report = sqlite::audit(&restored, None).unwrap().unwrap();
    assert_eq!(report.head.last_entry_id.get(), 2 + i64::try_from(waits.len()).unwrap(), "nothing is lost");
}
