//! Continuous backup as `docs/operations.md` shows it: Litestream replicates a ledger in use, which is then lost.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wallet::store::sqlite;

use crate::support::client::{Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::optional;
use crate::support::process::{Process, database_url, run};

const CHARGES: i64 = 300;
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
