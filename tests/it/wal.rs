//! The write-ahead log stays short whatever reads, and becomes short again when a reader that stayed has ended.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::app::App;
use crate::support::client::{Client, Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::process::{Process, wallet};
use crate::support::seed::rounds;

const KIB: u64 = 1024;

/// The limit that these tests set, and more than what is written until the next try.
const LIMIT_MIB: u32 = 1;
const LIMIT: u64 = 1_024 * KIB;

fn wal_size(database: &Path) -> u64 {
    database.with_extension("db-wal").metadata().unwrap().len()
}

/// Charges one after another until the WAL is longer than this, and returns how many charges that took.
async fn charge_until(client: &Client, database: &Path, size: u64) -> i64 {
    let mut charges = 0;
    while wal_size(database) < size {
        let reply = client.send(Protocol::Grpc, PlainCommand::deposit(1, charges, 1)).await;
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        charges += 1;
    }
    charges
}

async fn becomes_short(database: &Path) {
    let begun = Instant::now();
    while wal_size(database) > LIMIT {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} KiB", wal_size(database) / KIB);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A read transaction of another program, which lasts until it is dropped.
fn reader(database: &Path) -> rusqlite::Connection {
    let reader = rusqlite::Connection::open(database).unwrap();
    reader.execute_batch("begin; select count(*) from wallet").unwrap();
    reader
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stays_is_reported_and_the_wal_is_short_again_when_it_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start_with(wallet(), &database, &["--wal-size-max-mib", "1"]);
    let client = process.client().await;
    client.create_wallet(1, 0).await;
    let reader = reader(&database);
    let charges = charge_until(&client, &database, 3 * LIMIT).await;
    drop(reader);
    // No command comes any more.
    becomes_short(&database).await;
    assert_eq!(client.balance(1).await, charges);
    let log = process.terminate_and_log();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("the WAL grows: another process reads from it and does not end"), 1, "{log}");
    assert_eq!(lines("the WAL could be begun again"), 1, "{log}");
    println!("one reader stayed for {charges} commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_overlap_do_not_keep_the_wal_from_being_begun_again() {
    let app = App::spawn_with(|settings| settings.wal_size_max_mib = LIMIT_MIB).await;
    let client = app.client().await;
    client.create_wallet(1, 0).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (client, is_over) = (client.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut reads = 0;
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(client.http.get("/api/v1/users/1/entries?limit=50").await.status, 200);
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    let (mut longest, mut written, mut last) = (0, 0, wal_size(app.ledger().file()));
    let charges = i64::try_from(rounds(1_000, 60_000)).unwrap();
    for charge in 0..charges {
        let reply = client.send(Protocol::Grpc, PlainCommand::deposit(1, charge, 1)).await;
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        let size = wal_size(app.ledger().file());
        written += size.saturating_sub(last);
        longest = longest.max(size);
        last = size;
    }
    is_over.store(true, Ordering::Relaxed);
    let mut reads = 0;
    for reader in readers {
        reads += reader.await.unwrap();
    }
    println!(
        "{reads} reads beside {charges} commits: {} KiB written, the WAL had {} KiB at the most",
        written / KIB,
        longest / KIB
    );
    assert!(written > 3 * LIMIT, "the limit was reached");
    assert!(longest < written / 2, "{longest} of {written} bytes");
    becomes_short(app.ledger().file()).await;
}
