//! What is SQLite's own: its write-ahead log, locks, triggers, migrations and files, and rows that others change.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wallet::ledger::{AuditReport, Balance, Checkpoint, Command, Currency, EntryId, Finding, Outcome, Refusal};
use wallet::store::{Store, StoreError, StoreOptions, sqlite};

use super::contract::{StoreUnderTest, with_history};
use crate::support::store::{at, charge, close, eur, head_of, open, probe, tamper, transact, user};

/// A database in a folder of its own.
struct SqliteFile {
    dir: TempDir,
}

impl SqliteFile {
    fn path(&self) -> PathBuf {
        self.dir.path().join("wallet.db")
    }

    /// Another program's connection to the database.
    fn connect(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

impl StoreUnderTest for SqliteFile {
    async fn create() -> Option<Self> {
        Some(Self { dir: TempDir::new().unwrap() })
    }

    async fn open_in(&self, currency: Currency) -> Result<Store, StoreError> {
        sqlite::open(&self.path(), StoreOptions::new(currency)).await
    }

    fn audit(&self, checkpoint: Option<Checkpoint>) -> Result<AuditReport, Finding> {
        sqlite::audit(&self.path(), checkpoint).unwrap()
    }
}

store_contract!(SqliteFile);

/// Why the database is not opened.
async fn refused(path: &Path) -> String {
    match sqlite::open(path, StoreOptions::new(eur())).await {
        Err(StoreError::Incompatible(why)) => why,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it opened"),
    }
}

/// How often the write-ahead log was begun again; SQLite counts it in the log's header.
fn log_round(path: &Path) -> u32 {
    let header = fs::read(path.with_extension("db-wal")).unwrap();
    u32::from_be_bytes(header[12..16].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_begun_again_while_commits_go_on() {
    let file = SqliteFile::create().await.unwrap();
    let path = file.path();
    let mut store = file.open().await;
    let users = 1..=100;
    transact(&mut store, &users.clone().map(|number| open(number, 1_000_000)).collect::<Vec<_>>(), at(1)).unwrap();
    let (first, mut commits) = (log_round(&path), 0);
    // Each round moves what is in the log into the database.
    while log_round(&path) < first + 2 {
        commits += 1;
        // Events that lie far apart: a commit writes many pages.
        let event = |number: i64| (commits * 100 + number) * 0x9E37_79B9 % (1 << 40);
        let charges: Vec<Command> = users.clone().map(|number| charge(number, event(number), 1)).collect();
        transact(&mut store, &charges, at(commits)).unwrap();
        assert!(commits < 10_000, "the log grows and grows");
    }
    let (log, database) = (path.with_extension("db-wal").metadata().unwrap().len(), path.metadata().unwrap().len());
    println!("after {commits} commits the log has {} KiB and the database {} KiB", log / 1024, database / 1024);
    assert!(log < 24 * 1024 * 1024, "{log} bytes");
    assert_eq!(store.reader.wallet(user(1), None).await.unwrap().unwrap().balance.minor(), 1_000_000 - commits);
    close(store).await;
    assert!(!path.with_extension("db-wal").exists(), "at the end everything is in the database");
    assert_eq!(sqlite::audit(&path, None).unwrap().unwrap().head.commit_id, commits + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_holding_the_lock_is_told_apart_and_changes_nothing() {
    let file = SqliteFile::create().await.unwrap();
    let mut store = file.open().await;
    transact(&mut store, &[open(1, 100)], at(1)).unwrap();
    let other = file.connect();
    other.execute_batch("begin immediate").unwrap();
    assert!(matches!(transact(&mut store, &[charge(1, 1, 1)], at(2)), Err(StoreError::Locked)));
    assert!(matches!(probe(&mut store), Err(StoreError::Locked)));
    assert_eq!(store.reader.wallet(user(1), None).await.unwrap().unwrap().balance.minor(), 100, "reads go on");
    other.execute_batch("rollback").unwrap();
    probe(&mut store).unwrap();
    assert!(matches!(transact(&mut store, &[charge(1, 1, 1)], at(2)).unwrap()[0], Outcome::Applied(_)));
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_is_named_and_the_writer_works_on() {
    let file = SqliteFile::create().await.unwrap();
    let mut store = file.open().await;
    transact(&mut store, &[open(1, 100), open(2, 100)], at(1)).unwrap();
    let other = file.connect();
    other
        .execute_batch("pragma ignore_check_constraints = on; update wallet set balance = -5 where user_id = 1")
        .unwrap();
    let error = transact(&mut store, &[charge(1, 1, 1)], at(2)).unwrap_err();
    assert_eq!(error.to_string(), "the database is corrupt: wallet.balance of row 1 is -5");
    assert!(matches!(transact(&mut store, &[charge(2, 1, 1)], at(2)).unwrap()[0], Outcome::Applied(_)));
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_writes_is_seen_at_once() {
    let file = SqliteFile::create().await.unwrap();
    let mut store = with_history(&file, 2).await;
    let other = file.connect();
    other.execute_batch("update wallet set balance = 7 where user_id = 2").unwrap();
    let outcomes = transact(&mut store, &[charge(2, 3, 8)], at(30)).unwrap();
    let low = Refusal::BalanceTooLow { balance: Balance::from_minor(7).unwrap() };
    assert_eq!(outcomes, [Outcome::Refused(low)]);
    // An entry with an event id above all that the writer has written.
    other
        .execute_batch(
            "insert into entry select 5, user_id, 4, kind, 99, 1, 6, 4, created_at, null, null
             from entry where entry_id = 4;
             update wallet set balance = 6, sequence = 4, last_entry_id = 5 where user_id = 2",
        )
        .unwrap();
    let outcomes = transact(&mut store, &[charge(2, 99, 1)], at(30)).unwrap();
    assert!(matches!(outcomes[0], Outcome::Replayed { .. }), "{outcomes:?}");
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_cannot_be_rewritten() {
    let file = SqliteFile::create().await.unwrap();
    close(with_history(&file, 1).await).await;
    let other = file.connect();
    for (sql, why) in [
        ("update entry set amount = 0", "an entry is never updated"),
        ("delete from entry", "an entry is never deleted"),
        ("insert into caller values (1, 'x'); update caller set name = 'y'", "a caller is never updated"),
        ("delete from caller", "a caller is never deleted"),
        ("insert into entry_note values (1, 'x'); update entry_note set note = 'y'", "a note is never updated"),
        ("delete from entry_note", "a note is never deleted"),
        ("update ledger_commit set hash = hash", "a commit is never updated"),
        ("delete from ledger_commit", "a commit is never deleted"),
        ("update wallet set balance = -1", "CHECK"),
    ] {
        let error = other.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains(why), "{sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_a_history_is_not_a_shorter_history() {
    let file = SqliteFile::create().await.unwrap();
    let store = with_history(&file, 3).await;
    let before = EntryId::new(5);
    assert_eq!(store.reader.entries(user(2), before, 10).await.unwrap().unwrap().len(), 3);
    file.connect().execute_batch("drop trigger entry_is_never_deleted; delete from entry where entry_id = 3").unwrap();
    let error = store.reader.entries(user(2), before, 10).await.unwrap_err().to_string();
    assert!(error.contains('3') && error.contains("missing"), "{error}");
    assert_eq!(store.reader.entries(user(2), before, 1).await.unwrap().unwrap().len(), 1, "the page before the gap");
    close(store).await;
}

/// A wallet of user 2 with enough entries for two rows of the index of histories.
async fn with_index(file: &SqliteFile) -> Store {
    with_history(file, 150).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_whose_index_has_a_gap_is_an_error_and_no_long_walk() {
    let file = SqliteFile::create().await.unwrap();
    let store = with_index(&file).await;
    let balance = async |then| store.reader.wallet(user(2), Some(at(then))).await;
    assert_eq!(balance(100).await.unwrap().unwrap().sequence, 11);
    file.connect().execute_batch("delete from history_index where entry_id = 65").unwrap();
    assert!(matches!(balance(100).await, Err(StoreError::Corrupt { table: "history_index", .. })));
    assert_eq!(balance(1_490).await.unwrap().unwrap().sequence, 150, "what needs no such row is read");
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_the_version_before_is_verified_as_it_is_and_brought_up_to_date() {
    let file = SqliteFile::create().await.unwrap();
    close(with_index(&file).await).await;
    let before = file.connect();
    before
        .execute_batch(
            "drop index entry_freezing; alter table wallet drop column frozen; drop table history_index;
             delete from _sqlx_migrations where version > 1",
        )
        .unwrap();
    drop(before);
    sqlite::audit(&file.path(), None).unwrap().expect("it is whole as that version made it");
    let store = file.open().await;
    assert_eq!(store.reader.wallet(user(2), Some(at(100))).await.unwrap().unwrap().sequence, 11);
    close(store).await;
    sqlite::audit(&file.path(), None).unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_store_serves_a_file() {
    let file = SqliteFile::create().await.unwrap();
    let first = file.open().await;
    assert!(refused(&file.path()).await.contains("served by another process"));
    close(first).await;
    close(file.open().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_programs_file_is_refused() {
    let file = SqliteFile::create().await.unwrap();
    let foreign = file.dir.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("create table precious (x)").unwrap();
    let before = fs::read(&foreign).unwrap();
    assert!(refused(&foreign).await.contains("is not a wallet's database"));
    assert_eq!(fs::read(&foreign).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_versions_database_is_refused() {
    let file = SqliteFile::create().await.unwrap();
    close(file.open().await).await;
    let other = file.connect();
    other
        .execute_batch(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (9999, 'from the future', 1, x'00', 0)",
        )
        .unwrap();
    drop(other);
    assert!(refused(&file.path()).await.contains("another version of the wallet"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_cut_back_does_not_meet_its_checkpoint() {
    let file = SqliteFile::create().await.unwrap();
    let store = with_history(&file, 3).await;
    let head = head_of(&store).await;
    close(store).await;
    let checkpoint = Some(Checkpoint { commit_id: head.commit_id, hash: head.hash });
    sqlite::audit(&file.path(), checkpoint).unwrap().unwrap();
    let cut = "delete from ledger_commit where commit_id = 4; delete from entry where entry_id = 5;
        update wallet set balance = balance + 3, sequence = 3, last_entry_id = 4 where user_id = 2";
    tamper(&file.path(), cut);
    sqlite::audit(&file.path(), None).unwrap().expect("it is whole in itself");
    let finding = sqlite::audit(&file.path(), checkpoint).unwrap().unwrap_err();
    assert_eq!(finding.to_string(), "the ledger ends at commit 3; the checkpoint is of commit 4");
}
