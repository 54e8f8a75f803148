//! The SQLite file of a ledger, opened beside the program that serves it.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::process::{LedgerUrl, Program};
use super::tokens::{ENGINE, OPERATOR};
use super::wallets::{COUNT, Wallets};

/// More than the write-ahead log ever holds between two checkpoints.
const LOG_BYTES: i64 = 22_000_000;

/// Grows the write-ahead log of a ledger that is open elsewhere to the size at which it is reused.
///
/// A commit that makes a file longer takes several times as long as one that overwrites. Every load that is compared
/// with another therefore starts with a log that no longer grows.
///
/// A transaction that is rolled back does it: SQLite writes what does not fit into its cache to the log, and leaves the
/// log as long as it became. So this knows no table and changes no row.
pub fn grow_log(path: &Path) {
    let connection = Connection::open(path).expect("it opens");
    connection.pragma_update(None, "cache_size", 10).expect("a setting");
    connection
        .execute_batch(&format!(
            "begin immediate;
             create table growth (bytes blob);
             insert into growth values (zeroblob({LOG_BYTES}));
             rollback;"
        ))
        .expect("it writes");
    let log = File::open(path.with_extension("db-wal")).expect("it has a log");
    log.sync_all().expect("it syncs");
    let length = log.metadata().expect("it has a length").len();
    assert!(length >= LOG_BYTES.unsigned_abs(), "the log grew to {length} bytes only");
}

/// Has this build of the program verify a ledger, and compares its tables with what was answered. Returns how long the
/// program took.
///
/// # Panics
/// If a single cent is not where it should be.
pub fn verify(path: &Path, wallets: &Wallets) -> Duration {
    let took = Program::Present.verify(&LedgerUrl::Sqlite(path.to_owned()));
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("it opens");
    check_rows(&connection, wallets);
    took
}

/// Checks that the entries of a ledger name the callers whose tokens were sent: the operator opened every wallet, and
/// the engine made every charge.
pub fn check_callers(path: &Path, wallets: &Wallets) {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("it opens");
    let opened = COUNT + 1;
    for (caller, expected) in [(OPERATOR, opened), (ENGINE, wallets.entries() - opened)] {
        let select = "select count(*) from entry join caller using (caller_id) where name = ?1";
        let entries: i64 = connection.query_row(select, [caller], |row| row.get(0)).expect("a number");
        assert_eq!(entries, expected, "the entries of {caller}");
    }
}

/// Compares the tables `entry` and `wallet` with the charges that were answered.
pub fn check_rows(connection: &Connection, wallets: &Wallets) {
    let entries: i64 = connection.query_row("select count(*) from entry", [], |row| row.get(0)).expect("a number");
    assert_eq!(entries, wallets.entries(), "every charge that was answered is there, and nothing else");
    let mut select = connection.prepare("select user_id, balance from wallet").expect("it has wallets");
    let mut rows = select.query([]).expect("it can be read");
    while let Some(row) = rows.next().expect("it can be read") {
        let (user, balance): (i64, i64) = row.get(0).and_then(|user| Ok((user, row.get(1)?))).expect("two numbers");
        assert_eq!(balance, wallets.balance(user), "the balance of user {user}");
    }
}
