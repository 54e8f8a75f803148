//! A real ledger, altered on disk in every way that somebody may think of: `wallet verify` finds each, and says where.

mod bytes;
mod running;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use wallet::ledger::{Annotations, Caller, Command, Note, RoundId};

use crate::support::process::{database_url, run};
use crate::support::store::{at, charge, close, event, open, open_sqlite, transact, user};

/// The report of `wallet verify --json`, and the exit code.
fn verify(database: &Path) -> (Value, Option<i32>) {
    let (json, stderr, code) = run(&["verify", "--json", "--database-url", &database_url(database)]);
    (serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json:?} {stderr:?}")), code)
}

/// What was found and where, in one line; the fields that name nothing are left out.
fn found(report: &Value) -> String {
    let place = ["CommitId", "EntryId", "UserId", "Table", "Column", "Row"].into_iter().filter_map(|name| {
        let value = report.get(name).filter(|value| !value.is_null())?;
        Some(format!(" {name} {}", value.to_string().trim_matches('"')))
    });
    format!("{}{}", report["Finding"].as_str().unwrap_or("nothing"), place.collect::<String>())
}

/// A ledger in a folder of its own, which nobody serves, with everything that an entry can have. The table says what
/// its entries are:
///
/// | commit | entries |
/// |---|---|
/// | 1 | 1: open of user 1, 10.00; 2: open of user 2, 10 000.00 |
/// | 2 | 3: charge of user 2, event 1, 0.10, round 7, by engine-1 |
/// | 3 | 4: win of user 2, event 1, 0.05, round 7, by engine-2 |
/// | 4 | 5: rollback of user 2, event 1 |
/// | 5 | 6: deposit of user 1, event 1, 5.00, by cashier, with a note |
/// | 6 | 7: charge of user 1, event 9, 0.03; 8: charge of user 2, event 10, 0.04 |
/// | 7 to 16 | 9 to 108: charges of user 2, events 100 to 199, 0.01; entry 67 is the wallet's 64th |
async fn ledger() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.db");
    let mut store = open_sqlite(&path).await;
    let by = |caller, round, note: Option<&str>| Annotations {
        round_id: RoundId::new(round),
        note: note.and_then(Note::new),
        caller: Caller::new(caller),
    };
    let win = Command::win(user(2), event(1), 5).unwrap().with_annotations(by("engine-2", 7, None));
    let deposit = Command::deposit(user(1), event(1), 500).unwrap();
    let mut commits = vec![
        vec![open(1, 1_000), open(2, 1_000_000)],
        vec![charge(2, 1, 10).with_annotations(by("engine-1", 7, None))],
        vec![win],
        vec![Command::rollback(user(2), event(1))],
        vec![deposit.with_annotations(by("cashier", 8, Some("by bank transfer")))],
        vec![charge(1, 9, 3), charge(2, 10, 4)],
    ];
    commits.extend((0..10).map(|commit| (0..10).map(|number| charge(2, 100 + commit * 10 + number, 1)).collect()));
    for (number, commit) in (1..).zip(&commits) {
        transact(&mut store, commit, at(number * 10)).unwrap();
    }
    close(store).await;
    (dir, path)
}

/// A copy of a ledger, altered by SQL behind the back of its triggers and checks.
fn altered(database: &Path, sql: &str) -> PathBuf {
    let copy = database.with_file_name("copy.db");
    fs::copy(database, &copy).unwrap();
    crate::support::store::tamper(&copy, sql);
    copy
}

/// A copy of a ledger, altered by SQL while the index that `unique` made in a table is not looked after.
fn altered_without_index(database: &Path, table: &str, unique: &str, sql: &str) -> PathBuf {
    let copy = altered(database, "");
    let index = format!("sqlite_autoindex_{table}_1");
    let detach = format!(
        "pragma writable_schema = on;
         create table kept as select type, name, tbl_name, rootpage, sql, rowid as place from sqlite_schema
         where name in ('{index}', '{table}');
         delete from sqlite_schema where name = '{index}';
         update sqlite_schema set sql = replace(sql, '{unique}', '') where name = '{table}';"
    );
    let attach = format!(
        "pragma writable_schema = on;
         update sqlite_schema set sql = (select sql from kept where name = '{table}') where name = '{table}';
         insert into sqlite_schema (rowid, type, name, tbl_name, rootpage, sql)
         select place, type, name, tbl_name, rootpage, sql from kept where name = '{index}';
         pragma writable_schema = reset;
         drop table kept;"
    );
    // SQLite reads the schema again when the database is opened again.
    Connection::open(&copy).unwrap().execute_batch(&detach).unwrap();
    crate::support::store::tamper(&copy, sql);
    Connection::open(&copy).unwrap().execute_batch(&attach).unwrap();
    copy
}

#[tokio::test]
async fn the_ledger_that_is_altered_here_is_right_before() {
    let (_dir, database) = ledger().await;
    let (report, code) = verify(&altered(&database, ""));
    assert_eq!((code, &report["success"]), (Some(0), &true.into()), "{report}");
    assert_eq!((&report["Wallets"], &report["Entries"], &report["Commits"]), (&2.into(), &108.into(), &16.into()));
}
