//! Exports of a ledger that is served: they equal it up to their checkpoint, and do not pin its WAL.

use std::io::{BufRead as _, BufReader, Read as _};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;

use crate::support::client::{Client, Protocol};
use crate::support::command::PlainCommand;
use crate::support::ledger_file::{charges, on};
use crate::support::process::{Process, database_url, wallet};
use crate::support::script::{callers, load};

const LIMIT: u64 = 1024 * 1024;
/// More than twice as many bytes of the WAL as it may have.
const DEPOSITS: i64 = 800;

/// The last entry of the commit that a checkpoint names, if it has the checkpoint's hash.
fn last_entry(connection: &Connection, checkpoint: &str) -> i64 {
    let (commit_id, hash) = checkpoint.split_once(':').unwrap();
    let select = "select last_entry_id from ledger_commit where commit_id = ?1 and lower(hex(hash)) = ?2";
    connection.query_row(select, (commit_id, hash), |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_equals_the_ledger_up_to_its_checkpoint_while_it_is_written_at_full_speed() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start(&database);
    let client = process.client().await;
    let callers = callers(&client, 9).await;
    let mut exports = Vec::new();
    let export = || {
        for _ in 0..5 {
            let (csv, stderr, code) = on(&database, &["export", "--format", "csv"]);
            assert_eq!(code, Some(0), "{stderr}");
            let checkpoint = stderr.trim().rsplit_once("checkpoint: ").unwrap().1.to_owned();
            exports.push((csv, checkpoint));
        }
        process.signal("KILL");
    };
    load(&client, callers, 500, export).await;
    let ledger = Connection::open(&database).unwrap();
    let mut ends = Vec::new();
    for (csv, checkpoint) in &exports {
        let end = last_entry(&ledger, checkpoint);
        let mut select = ledger
            .prepare("select entry_id, user_id, sequence, event_id, amount from entry where entry_id <= ?1 order by 1")
            .unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?]);
        let stored: Vec<[i64; 5]> = select.query_map([end], row).unwrap().collect::<Result<_, _>>().unwrap();
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let number = |text: &str| text.replace('.', "").parse::<i64>().unwrap();
        let told: Vec<[i64; 5]> =
            reader.records().map(|row| row.unwrap()).map(|row| [0, 1, 2, 4, 5].map(|at| number(&row[at]))).collect();
        assert!(told == stored, "{} rows, and {} entries up to {checkpoint}", told.len(), stored.len());
        ends.push(end);
    }
    assert!(ends[0] >= 500 && ends.is_sorted() && ends[0] < ends[4], "the ledger grew between exports: {ends:?}");
}

async fn deposit(client: &Client, numbers: Range<i64>) {
    for number in numbers {
        assert!(!client.send(Protocol::Grpc, PlainCommand::deposit(1, number, 1)).await.is_unknown());
    }
}

fn wal_size(database: &Path) -> u64 {
    database.with_extension("db-wal").metadata().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_whose_reader_pauses_does_not_keep_the_wal_from_being_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let database = charges(&dir, 60_000).await;
    let process = Process::start_with(wallet(), &database, &["--wal-size-max-mib", "1"]);
    let client = process.client().await;
    let url = database_url(&database);
    let mut command: Command = wallet();
    command.args(["export", "--format", "csv", "--database-url", &url]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut reader = BufReader::with_capacity(16, child.stdout.take().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    // It now waits for its reader, with most of the ledger unread.
    deposit(&client, 0..DEPOSITS).await;
    // It may have to be truncated once more.
    let mut next = DEPOSITS;
    while wal_size(&database) > 2 * LIMIT {
        assert!(next < 2 * DEPOSITS, "{} bytes", wal_size(&database));
        deposit(&client, next..next + 1).await;
        next += 1;
    }
    // As many deposits make the WAL longer than that when something does pin it.
    let pin = Connection::open(&database).unwrap();
    pin.execute_batch("begin; select count(*) from wallet").unwrap();
    deposit(&client, next..next + DEPOSITS).await;
    assert!(wal_size(&database) > 2 * LIMIT, "{} bytes", wal_size(&database));
    drop(pin);

    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.starts_with("exported 60001 entries\n"), "what came after it began is not in it: {stderr}");
    assert_eq!(rest.lines().count(), 60_001);
    process.kill();
}
