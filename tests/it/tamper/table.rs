//! Each alteration, and what is found.

use tempfile::TempDir;
use wallet::ledger::Command;

use super::{altered, altered_without_index, found, ledger, verify};
use crate::support::store::{at, close, event, open, open_sqlite, transact, user};

/// What is done with the closed file, and what is found where.
const ALTERATIONS: &[(&str, &str)] = &[
    // Each column of an entry.
    ("update entry set entry_id = 1000 where entry_id = 4", "ENTRY_ORDER EntryId 5"),
    ("update entry set entry_id = -1 where entry_id = 4", "CORRUPT Table entry Column entry_id Row -1"),
    ("update entry set user_id = 1 where entry_id = 4", "SEQUENCE EntryId 4 UserId 1"),
    ("update entry set user_id = 77 where entry_id = 4", "OPENING EntryId 4 UserId 77"),
    ("update entry set sequence = 4 where entry_id = 4", "SEQUENCE EntryId 4 UserId 2"),
    ("update entry set kind = 2, event_id = 2 where entry_id = 4", "BALANCE EntryId 4 UserId 2"),
    ("update entry set kind = 5 where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set kind = 99 where entry_id = 4", "CORRUPT Table entry Column kind Row 4"),
    ("update entry set event_id = 5 where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set event_id = 5 where entry_id = 3", "COMMIT_HASH CommitId 2"),
    ("update entry set event_id = 5 where entry_id = 5", "ROLLBACK EntryId 5 UserId 2"),
    ("update entry set amount = 6 where entry_id = 4", "BALANCE EntryId 4 UserId 2"),
    ("update entry set amount = -5 where entry_id = 4", "CORRUPT Table entry Column amount Row 4"),
    ("update entry set balance_after = balance_after + 1 where entry_id = 4", "BALANCE EntryId 4 UserId 2"),
    ("update entry set amount = 6, balance_after = balance_after + 1 where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set previous_entry_id = 2 where entry_id = 4", "PREVIOUS_ENTRY EntryId 4 UserId 2"),
    ("update entry set previous_entry_id = null where entry_id = 4", "PREVIOUS_ENTRY EntryId 4 UserId 2"),
    ("update entry set created_at = created_at + 1 where entry_id = 4", "COMMIT_TIME CommitId 3"),
    ("update entry set created_at = 0 where entry_id = 4", "ENTRY_TIME EntryId 4"),
    ("update entry set round_id = 8 where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set round_id = null where entry_id = 4", "COMMIT_HASH CommitId 3"),
    // Entries removed, added and swapped.
    ("delete from entry where entry_id = 1", "ENTRY_ORDER EntryId 2"),
    ("delete from entry where entry_id = 50", "ENTRY_ORDER EntryId 51"),
    ("delete from entry where entry_id = 108", "COMMIT_ENTRIES CommitId 16"),
    ("delete from entry where entry_id > 98", "COMMIT_EMPTY CommitId 16"),
    ("delete from entry", "COMMIT_EMPTY CommitId 1"),
    (
        "insert into entry select 109, 2, sequence + 1, 3, 7, 0, balance_after, 108, created_at, null, null from entry
         where entry_id = 108",
        "UNCOMMITTED EntryId 109",
    ),
    (
        "update entry set entry_id = -1 where entry_id = 7; update entry set entry_id = 7 where entry_id = 8;
         update entry set entry_id = 8 where entry_id = -1",
        "COMMIT_HASH CommitId 6",
    ),
    (
        "update entry set entry_id = -1 where entry_id = 50; update entry set entry_id = 50 where entry_id = 51;
         update entry set entry_id = 51 where entry_id = -1",
        "SEQUENCE EntryId 50 UserId 2",
    ),
    (
        "update entry set entry_id = -1 where entry_id = 3; update entry set entry_id = 3 where entry_id = 4;
         update entry set entry_id = 4 where entry_id = -1",
        "SEQUENCE EntryId 3 UserId 2",
    ),
    // Commits.
    ("delete from ledger_commit where commit_id = 1", "COMMIT_ORDER CommitId 2"),
    ("delete from ledger_commit where commit_id = 5", "COMMIT_ORDER CommitId 6"),
    ("delete from ledger_commit where commit_id = 16", "UNCOMMITTED EntryId 99"),
    ("delete from ledger_commit", "UNCOMMITTED EntryId 1"),
    ("update ledger_commit set commit_id = 99 where commit_id = 16", "COMMIT_ORDER CommitId 99"),
    ("update ledger_commit set form = 2 where commit_id = 3", "CORRUPT Table ledger_commit Column form Row 3"),
    ("update ledger_commit set last_entry_id = 3 where commit_id = 3", "COMMIT_ENTRIES CommitId 3"),
    ("update ledger_commit set last_entry_id = 5 where commit_id = 3", "COMMIT_TIME CommitId 3"),
    ("update ledger_commit set last_entry_id = 4611686018427387904 where commit_id = 3", "COMMIT_ENTRIES CommitId 3"),
    ("update ledger_commit set hash = zeroblob(32) where commit_id = 3", "COMMIT_HASH CommitId 3"),
    ("update ledger_commit set created_at = created_at + 1 where commit_id = 3", "COMMIT_TIME CommitId 3"),
    (
        "update ledger_commit set commit_id = -1 where commit_id = 3;
         update ledger_commit set commit_id = 3 where commit_id = 4;
         update ledger_commit set commit_id = 4 where commit_id = -1",
        "COMMIT_HASH CommitId 3",
    ),
    // Wallets and users.
    ("update wallet set balance = balance + 1 where user_id = 2", "WALLET_STATE UserId 2"),
    ("update wallet set sequence = sequence + 1 where user_id = 2", "WALLET_STATE UserId 2"),
    ("update wallet set last_entry_id = 107 where user_id = 2", "WALLET_STATE UserId 2"),
    ("update wallet set balance = -1 where user_id = 2", "CORRUPT Table wallet Column balance Row 2"),
    ("update wallet set user_id = 3 where user_id = 2", "USER_MISSING UserId 3"),
    (
        "update wallet set user_id = -1 where user_id = 1; update wallet set user_id = 1 where user_id = 2;
         update wallet set user_id = 2 where user_id = -1",
        "WALLET_STATE UserId 1",
    ),
    ("update wallet set frozen = 1 where user_id = 2", "WALLET_STATE UserId 2"),
    ("delete from wallet where user_id = 1", "USER_MISSING UserId 1"),
    ("delete from user where user_id = 1", "CORRUPT Table user Column wallet_id Row 1"),
    (
        "insert into wallet (user_id, balance, sequence, last_entry_id)
         select 9, balance, sequence, last_entry_id from wallet where user_id = 1",
        "USER_MISSING UserId 9",
    ),
    (
        "insert into wallet (user_id, balance, sequence, last_entry_id)
         select 9, balance, sequence, last_entry_id from wallet where user_id = 1;
         insert into user values (9, zeroblob(16), 10)",
        "WALLET_WITHOUT_ENTRIES UserId 9",
    ),
    ("update user set wallet_id = zeroblob(16) where user_id = 1", "COMMIT_HASH CommitId 1"),
    ("update user set wallet_id = x'00' where user_id = 1", "CORRUPT Table user Column wallet_id Row 1"),
    ("update user set created_at = 0 where user_id = 1", "USER_TIME UserId 1"),
    // Notes and callers.
    ("update entry_note set note = 'by bank  transfer'", "COMMIT_HASH CommitId 5"),
    ("update entry_note set note = char(7)", "CORRUPT Table entry_note Column note Row 6"),
    ("update entry_note set entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("delete from entry_note", "COMMIT_HASH CommitId 5"),
    ("insert into entry_note values (4, 'psst')", "COMMIT_HASH CommitId 3"),
    ("insert into entry_note values (999, 'psst')", "FOREIGN"),
    ("update caller set name = 'engine-3' where name = 'engine-1'", "COMMIT_HASH CommitId 2"),
    (
        "update caller set name = '' where name = 'engine-1'; update caller set name = 'engine-1'
         where name = 'engine-2'; update caller set name = 'engine-2' where name = ''",
        "COMMIT_HASH CommitId 2",
    ),
    ("update entry set caller_id = 1 where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set caller_id = null where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set caller_id = 99 where entry_id = 4", "CORRUPT Table entry Column caller_id Row 4"),
    ("delete from caller where name = 'engine-2'", "CORRUPT Table entry Column caller_id Row 4"),
    // What is derived, and what the program makes.
    ("update history_index set created_at = created_at + 1", "CHANGED"),
    ("update history_index set entry_id = 66", "CHANGED"),
    ("delete from history_index", "CHANGED"),
    ("insert into history_index values (2, 5, 2)", "FOREIGN"),
    ("update setting set value = 'USD'", "CURRENCY"),
    ("update setting set value = 'XXX'", "CHANGED"),
    ("delete from setting", "CHANGED"),
    ("update _sqlx_migrations set checksum = x'00' where version = 1", "CHANGED"),
    ("delete from _sqlx_migrations where version = 1", "CHANGED"),
    ("drop table _sqlx_migrations", "CHANGED"),
    ("create table more (x)", "FOREIGN"),
    ("create trigger more after insert on entry begin update wallet set balance = 9; end", "FOREIGN"),
    ("create index more on entry (user_id)", "FOREIGN"),
    ("alter table wallet add column more integer", "CHANGED"),
    ("drop table history_index", "CHANGED"),
];

/// What makes the index of the events.
const UNIQUE_EVENT: &str = ",\n    unique (event_id, user_id, kind)";

/// What is done while an index is not looked after.
const WITHOUT_INDEX: &[(&str, &str, &str)] = &[
    ("entry", UNIQUE_EVENT, "update entry set event_id = 5 where entry_id = 50"),
    ("entry", UNIQUE_EVENT, "update entry set kind = 5 where entry_id = 4"),
    ("entry", UNIQUE_EVENT, "update entry set user_id = 1 where entry_id = 4"),
    ("entry", UNIQUE_EVENT, "update entry set event_id = 101 where entry_id = 9"),
    ("entry", UNIQUE_EVENT, "delete from entry where entry_id = 108"),
    (
        "entry",
        UNIQUE_EVENT,
        "update entry set entry_id = -1 where entry_id = 50; update entry set entry_id = 50 where entry_id = 51;
         update entry set entry_id = 51 where entry_id = -1",
    ),
    ("user", " unique", "update user set wallet_id = zeroblob(16) where user_id = 1"),
    ("caller", " unique", "update caller set name = 'engine-3' where name = 'engine-1'"),
];

#[tokio::test]
async fn each_alteration_is_found_and_its_place_is_named() {
    let (_dir, database) = ledger().await;
    for (sql, expected) in ALTERATIONS {
        let (report, code) = verify(&altered(&database, sql));
        assert_eq!((found(&report).as_str(), code), (*expected, Some(2)), "{sql}: {report}");
        let error = report["error"].as_str().unwrap_or_default();
        assert!(!error.is_empty() && !error.contains('\n'), "{sql}: {report}");
    }
    println!("{} alterations: each found", ALTERATIONS.len());
}

#[tokio::test]
async fn a_trigger_that_was_dropped_is_found() {
    let (_dir, database) = ledger().await;
    let copy = altered(&database, "");
    rusqlite::Connection::open(&copy).unwrap().execute_batch("drop trigger entry_is_never_updated").unwrap();
    let (report, code) = verify(&copy);
    assert_eq!((found(&report).as_str(), code), ("CHANGED", Some(2)), "{report}");
    assert!(report["error"].as_str().unwrap().contains("the trigger `entry_is_never_updated` was changed"), "{report}");
}

#[tokio::test]
async fn an_index_that_does_not_agree_with_its_table_is_found() {
    let (_dir, database) = ledger().await;
    let nothing = altered_without_index(&database, "entry", UNIQUE_EVENT, "");
    assert_eq!(verify(&nothing).1, Some(0), "the index can be put back");
    for (table, unique, sql) in WITHOUT_INDEX {
        let (report, code) = verify(&altered_without_index(&database, table, unique, sql));
        assert_eq!((found(&report).as_str(), code), ("DAMAGED", Some(2)), "{sql}: {report}");
        let error = report["error"].as_str().unwrap_or_default();
        assert!(error.contains(&format!("sqlite_autoindex_{table}_1")), "{sql}: {report}");
    }
    println!("{} alterations behind the back of an index: each found", WITHOUT_INDEX.len());
}

#[tokio::test]
async fn an_index_of_freezings_that_lacks_one_or_has_one_too_many_is_found() {
    let dir = TempDir::new().unwrap();
    let database = dir.path().join("wallet.db");
    let mut store = open_sqlite(&database).await;
    let commands = [open(1, 1_000), Command::freeze(user(1), event(1)), Command::unfreeze(user(1), event(1))];
    transact(&mut store, &commands, at(10)).unwrap();
    close(store).await;
    let (report, code) = verify(&database);
    assert_eq!(code, Some(0), "{report}");
    let set = |condition: &str| {
        let sql = format!(
            "pragma writable_schema = on;
             update sqlite_schema set sql = substr(sql, 1, instr(sql, 'where') - 1) || 'where {condition}'
             where name = 'entry_freezing';"
        );
        rusqlite::Connection::open(&database).unwrap().execute_batch(&sql).unwrap();
    };
    for (condition, error) in [
        ("kind = 9", "row 2 missing from index entry_freezing"),
        ("kind in (1, 8, 9)", "the index of freezings has 3 rows, not 2"),
    ] {
        set(condition);
        rusqlite::Connection::open(&database).unwrap().execute_batch("reindex entry_freezing").unwrap();
        set("kind in (8, 9)");
        let (report, code) = verify(&database);
        assert_eq!((found(&report).as_str(), code), ("DAMAGED", Some(2)), "{report}");
        assert!(report["error"].as_str().unwrap().ends_with(error), "{report}");
    }
}
