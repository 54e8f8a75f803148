//! What every store must do. SQLite is the first to be held to it.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use wallet::ledger::{
    Balance, Checkpoint, Command, Commit, Currency, EntryId, EventId, Outcome, Refusal, Timestamp, UserId, WalletId,
};
use wallet::store::{Store, StoreError, sqlite};

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

fn user(number: i64) -> UserId {
    UserId::new(number).unwrap()
}

fn event(number: i64) -> EventId {
    EventId::new(number).unwrap()
}

fn at(microseconds: i64) -> Timestamp {
    Timestamp::from_microseconds(microseconds)
}

fn open(number: i64, minor: i64) -> Command {
    Command::open(user(number), WalletId::from_bytes([u8::try_from(number).unwrap(); 16]), minor).unwrap()
}

fn charge(number: i64, event_number: i64, minor: i64) -> Command {
    Command::charge(user(number), event(event_number), minor).unwrap()
}

fn path(dir: &TempDir) -> std::path::PathBuf {
    dir.path().join("wallet.db")
}

async fn store(path: &Path) -> Store {
    sqlite::open(path, eur()).await.unwrap()
}

async fn close(store: Store) {
    store.reader.close().await;
}

async fn refused(path: &Path, currency: &str) -> String {
    match sqlite::open(path, currency.parse().unwrap()).await {
        Err(StoreError::Incompatible(why)) => why,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it opened"),
    }
}

/// Two wallets, the second of which was charged 1, 2, 3, … cents at the times 10, 20, 30, ….
async fn with_history(path: &Path, charges: i64) -> Store {
    let mut store = store(path).await;
    store.writer.transact(&[open(1, 0), open(2, 1_000_000)], at(1)).unwrap();
    for number in 1..=charges {
        store.writer.transact(&[charge(2, number, number)], at(number * 10)).unwrap();
    }
    store
}

#[tokio::test]
async fn what_was_told_is_there_after_opening_again() {
    let dir = TempDir::new().unwrap();
    let mut first = store(&path(&dir)).await;
    let told = first.writer.transact(&[open(1, 100), charge(1, 7, 30), charge(1, 8, 80)], at(5)).unwrap();
    let Outcome::Applied(receipt) = told[1] else { panic!("{told:?}") };
    assert!(matches!(told[2], Outcome::Refused(_)), "a refusal does not fail its batch");
    let head = first.reader.head().await.unwrap();
    assert_eq!((head.commit_id, head.last_entry_id.get()), (1, 2));
    close(first).await;

    let mut second = store(&path(&dir)).await;
    assert_eq!(second.reader.head().await.unwrap(), head);
    let told = second.writer.transact(&[charge(1, 7, 30)], at(6)).unwrap();
    assert_eq!(told, [Outcome::Replayed { receipt, current_balance: receipt.entry.balance_after }]);
    assert_eq!(second.reader.head().await.unwrap(), head, "a batch of replays is no commit");
    close(second).await;
}

#[tokio::test]
async fn an_empty_ledger_stands_at_genesis() {
    let dir = TempDir::new().unwrap();
    let store = store(&path(&dir)).await;
    assert_eq!(store.reader.head().await.unwrap(), Commit::GENESIS);
    assert_eq!(store.reader.wallet(user(1), None).await.unwrap(), None);
    assert_eq!(store.reader.entries(user(1), None, 10).await.unwrap(), None);
    close(store).await;
}

#[tokio::test]
async fn history_is_read_back_from_anywhere() {
    let dir = TempDir::new().unwrap();
    let store = with_history(&path(&dir), 9).await;
    let ids = async |before: Option<i64>, limit| {
        let entries = store.reader.entries(user(2), before.and_then(EntryId::new), limit).await.unwrap().unwrap();
        entries.iter().map(|entry| entry.entry_id.get()).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 3).await, [11, 10, 9]);
    assert_eq!(ids(Some(9), 3).await, [8, 7, 6]);
    assert_eq!(ids(Some(3), 3).await, [2], "the opening is the last");
    assert_eq!(ids(Some(2), 3).await, [0_i64; 0]);
    assert_eq!(ids(Some(1), 3).await, [0_i64; 0], "an entry of another wallet");
    assert_eq!(ids(Some(0), 3).await, [0_i64; 0]);
    assert_eq!(ids(Some(i64::MAX), 2).await, [11, 10], "an entry that is not there yet");
    close(store).await;
}

#[tokio::test]
async fn a_wallet_is_seen_as_it_was() {
    let dir = TempDir::new().unwrap();
    let store = with_history(&path(&dir), 9).await;
    let balance = async |then: i64| {
        let wallet = store.reader.wallet(user(2), Some(at(then))).await.unwrap();
        wallet.map(|wallet| (1_000_000 - wallet.balance.minor(), wallet.sequence))
    };
    assert_eq!(balance(0).await, None, "it was not made yet");
    assert_eq!(balance(1).await, Some((0, 1)));
    assert_eq!(balance(9).await, Some((0, 1)));
    assert_eq!(balance(35).await, Some((6, 4)));
    assert_eq!(balance(i64::MAX).await, Some((45, 10)));
    close(store).await;
}

#[tokio::test]
async fn times_never_go_back() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&path(&dir)).await;
    store.writer.transact(&[open(1, 100)], at(1_000)).unwrap();
    store.writer.transact(&[charge(1, 1, 1)], at(5)).unwrap();
    let entries = store.reader.entries(user(1), None, 10).await.unwrap().unwrap();
    assert_eq!(entries[0].created_at, at(1_000));
    close(store).await;
}

/// How often the write-ahead log was begun again; SQLite counts it in the log's header.
fn log_round(path: &Path) -> u32 {
    let header = fs::read(path.with_extension("db-wal")).unwrap();
    u32::from_be_bytes(header[12..16].try_into().unwrap())
}

#[tokio::test]
async fn the_log_is_begun_again_while_commits_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(&dir);
    let mut store = store(&path).await;
    store.writer.transact(&[open(1, 1_000_000)], at(1)).unwrap();
    let (first, mut commits) = (log_round(&path), 0);
    // Each round moves what is in the log into the database.
    while log_round(&path) < first + 2 {
        for _ in 0..500 {
            commits += 1;
            store.writer.transact(&[charge(1, commits, 1)], at(commits)).unwrap();
        }
        assert!(commits < 100_000, "the log grows and grows");
    }
    let (log, database) = (path.with_extension("db-wal").metadata().unwrap().len(), path.metadata().unwrap().len());
    println!("after {commits} commits the log has {} KiB and the database {} KiB", log / 1024, database / 1024);
    assert!(log < 24 * 1024 * 1024, "{log} bytes");
    assert_eq!(store.reader.wallet(user(1), None).await.unwrap().unwrap().balance.minor(), 1_000_000 - commits);
    close(store).await;
    assert!(!path.with_extension("db-wal").exists(), "at the end everything is in the database");
    assert_eq!(sqlite::audit(&path, None).unwrap().unwrap().head.commit_id, commits + 1);
}

#[tokio::test]
async fn another_process_holding_the_lock_is_told_apart_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&path(&dir)).await;
    store.writer.transact(&[open(1, 100)], at(1)).unwrap();
    let other = rusqlite::Connection::open(path(&dir)).unwrap();
    other.execute_batch("begin immediate").unwrap();
    assert!(matches!(store.writer.transact(&[charge(1, 1, 1)], at(2)), Err(StoreError::Locked)));
    assert!(matches!(store.writer.probe(), Err(StoreError::Locked)));
    assert_eq!(store.reader.wallet(user(1), None).await.unwrap().unwrap().balance.minor(), 100, "reads go on");
    other.execute_batch("rollback").unwrap();
    store.writer.probe().unwrap();
    assert!(matches!(store.writer.transact(&[charge(1, 1, 1)], at(2)).unwrap()[0], Outcome::Applied(_)));
    close(store).await;
}

#[tokio::test]
async fn a_row_that_cannot_be_is_named_and_the_writer_works_on() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&path(&dir)).await;
    store.writer.transact(&[open(1, 100), open(2, 100)], at(1)).unwrap();
    let other = rusqlite::Connection::open(path(&dir)).unwrap();
    other
        .execute_batch("pragma ignore_check_constraints = on; update wallet set balance = -5 where user_id = 1")
        .unwrap();
    let error = store.writer.transact(&[charge(1, 1, 1)], at(2)).unwrap_err();
    assert_eq!(error.to_string(), "the database is corrupt: wallet.balance of row 1 is -5");
    assert!(matches!(store.writer.transact(&[charge(2, 1, 1)], at(2)).unwrap()[0], Outcome::Applied(_)));
    close(store).await;
}

#[tokio::test]
async fn what_another_program_writes_is_seen_at_once() {
    let dir = TempDir::new().unwrap();
    let mut store = with_history(&path(&dir), 2).await;
    let other = rusqlite::Connection::open(path(&dir)).unwrap();
    other.execute_batch("update wallet set balance = 7 where user_id = 2").unwrap();
    let told = store.writer.transact(&[charge(2, 3, 8)], at(30)).unwrap();
    let low = Refusal::BalanceTooLow { balance: Balance::from_minor(7).unwrap() };
    assert_eq!(told, [Outcome::Refused(low)]);
    // An entry with an event id above all that the writer has seen.
    other
        .execute_batch(
            "insert into entry select 5, user_id, 4, kind, 99, 1, 6, 4, created_at from entry where entry_id = 4;
             update wallet set balance = 6, sequence = 4, last_entry_id = 5 where user_id = 2",
        )
        .unwrap();
    let told = store.writer.transact(&[charge(2, 99, 1)], at(30)).unwrap();
    assert!(matches!(told[0], Outcome::Replayed { .. }), "{told:?}");
    close(store).await;
}

#[tokio::test]
async fn history_cannot_be_rewritten() {
    let dir = TempDir::new().unwrap();
    close(with_history(&path(&dir), 1).await).await;
    let other = rusqlite::Connection::open(path(&dir)).unwrap();
    for (sql, why) in [
        ("update entry set amount = 0", "an entry is never updated"),
        ("delete from entry", "an entry is never deleted"),
        ("update ledger_commit set hash = hash", "a commit is never updated"),
        ("delete from ledger_commit", "a commit is never deleted"),
        ("update wallet set balance = -1", "CHECK"),
    ] {
        let error = other.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains(why), "{sql}: {error}");
    }
}

#[tokio::test]
async fn one_store_serves_a_file() {
    let dir = TempDir::new().unwrap();
    let first = store(&path(&dir)).await;
    assert!(refused(&path(&dir), "EUR").await.contains("served by another process"));
    close(first).await;
    close(store(&path(&dir)).await).await;
}

#[tokio::test]
async fn another_currency_or_another_programs_file_is_refused() {
    let dir = TempDir::new().unwrap();
    close(store(&path(&dir)).await).await;
    assert!(refused(&path(&dir), "JPY").await.contains("is in EUR, not in JPY"));
    close(store(&path(&dir)).await).await;

    let foreign = dir.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("create table precious (x)").unwrap();
    let before = std::fs::read(&foreign).unwrap();
    assert!(refused(&foreign, "EUR").await.contains("is not a wallet's database"));
    assert_eq!(std::fs::read(&foreign).unwrap(), before);
}

#[tokio::test]
async fn a_newer_versions_database_is_refused() {
    let dir = TempDir::new().unwrap();
    close(store(&path(&dir)).await).await;
    let other = rusqlite::Connection::open(path(&dir)).unwrap();
    other
        .execute_batch(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (9999, 'from the future', 1, x'00', 0)",
        )
        .unwrap();
    drop(other);
    assert!(refused(&path(&dir), "EUR").await.contains("another version of the wallet"));
}

#[tokio::test]
async fn an_altered_ledger_is_found_out() {
    let dir = TempDir::new().unwrap();
    close(with_history(&path(&dir), 3).await).await;
    let report = sqlite::audit(&path(&dir), None).unwrap().unwrap();
    assert_eq!((report.wallets, report.head.commit_id, report.head.last_entry_id.get()), (2, 4, 5));
    for (sql, named) in [
        ("update wallet set balance = 7 where user_id = 2", "the wallet of user 2 stands at 7 minor units"),
        ("update wallet set sequence = 9 where user_id = 2", "the wallet of user 2 stands at"),
        ("update wallet set last_entry_id = 1 where user_id = 2", "the wallet of user 2 stands at"),
        ("insert into wallet values (9, 100000, 1, 1)", "user 9 has no wallet, or the wallet no user"),
        ("insert into user values (9, zeroblob(16), 1)", "user 9 has no wallet, or the wallet no user"),
        ("delete from wallet where user_id = 1", "user 1 has no wallet, or the wallet no user"),
        (
            "delete from wallet where user_id = 1; delete from user where user_id = 1",
            "the wallet of user 1 has entries",
        ),
        ("update user set created_at = 0 where user_id = 1", "the time of user 1"),
        ("update entry set created_at = 15 where entry_id = 3", "commit 2: its time"),
        ("update entry set amount = 9 where entry_id = 4", "entry 4 of user 2"),
        ("update entry set event_id = 77 where entry_id = 4", "commit 3: hash"),
        ("update ledger_commit set created_at = 99 where commit_id = 3", "commit 3: its time"),
        ("update ledger_commit set hash = zeroblob(32) where commit_id = 4", "commit 4: hash"),
        ("delete from entry where entry_id = 5", "commit 4 has no entries"),
        ("delete from ledger_commit where commit_id = 4", "entry 5 belongs to no commit"),
        ("update setting set value = 'XXX'", "the currency"),
        ("delete from setting", "the currency"),
        ("create trigger more after insert on entry begin update wallet set balance = 9; end", "`more` is not as"),
        ("create table more (x)", "`more` is not as"),
    ] {
        let copy = dir.path().join("copy.db");
        std::fs::copy(path(&dir), &copy).unwrap();
        tamper(&copy, sql);
        let finding = sqlite::audit(&copy, None).unwrap().unwrap_err().to_string();
        assert!(finding.contains(named), "{sql}: {finding}");
    }
    let copy = dir.path().join("copy.db");
    std::fs::copy(path(&dir), &copy).unwrap();
    rusqlite::Connection::open(&copy).unwrap().execute_batch("drop trigger entry_is_never_updated").unwrap();
    let finding = sqlite::audit(&copy, None).unwrap().unwrap_err().to_string();
    assert!(finding.contains("`entry_is_never_updated` is not as"), "{finding}");
}

/// Alters a ledger behind the back of its triggers, which are there again afterwards.
fn tamper(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut select = connection.prepare("select name, sql from sqlite_schema where type = 'trigger'").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let triggers: Vec<(String, String)> = rows.collect::<Result<_, _>>().unwrap();
    for (name, _) in &triggers {
        connection.execute_batch(&format!("drop trigger {name}")).unwrap();
    }
    connection.execute_batch(sql).unwrap();
    for (_, again) in &triggers {
        connection.execute_batch(again).unwrap();
    }
}

#[tokio::test]
async fn a_ledger_that_was_cut_back_does_not_meet_its_checkpoint() {
    let dir = TempDir::new().unwrap();
    let store = with_history(&path(&dir), 3).await;
    let head = store.reader.head().await.unwrap();
    close(store).await;
    let checkpoint = Some(Checkpoint { commit_id: head.commit_id, hash: head.hash });
    sqlite::audit(&path(&dir), checkpoint).unwrap().unwrap();
    let cut = "delete from ledger_commit where commit_id = 4; delete from entry where entry_id = 5;
        update wallet set balance = balance + 3, sequence = 3, last_entry_id = 4 where user_id = 2";
    tamper(&path(&dir), cut);
    sqlite::audit(&path(&dir), None).unwrap().expect("it is whole in itself");
    let finding = sqlite::audit(&path(&dir), checkpoint).unwrap().unwrap_err();
    assert!(finding.to_string().starts_with("commit 4: hash is not "), "{finding}");
}
