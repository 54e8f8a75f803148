//! `wallet migrate`: a ledger that is copied to another database, back, and into another number of shards.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use sqlx::PgConnection;
use tempfile::TempDir;
use tokio::task::{block_in_place, spawn_blocking, yield_now};
use wallet::ledger::{Annotations, Caller, Command, Note, RoundId};
use wallet::store::{Location, StoreOptions};

use crate::support::client::{Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::ledger::TestLedger;
use crate::support::postgres::Database;
use crate::support::process::{Process, database_url as url, run, wallet};
use crate::support::store::{at, charge, close, eur, event, open, open_sqlite, tamper, transact, user};

/// A ledger in a file, with everything that an entry can have, of so many more charges.
async fn ledger(dir: &TempDir, charges: i64) -> PathBuf {
    let path = dir.path().join("wallet.db");
    let mut store = open_sqlite(&path).await;
    let annotations =
        Annotations { round_id: RoundId::new(7), note: Note::new("né"), caller: Caller::new("engine-1") };
    let openings: Vec<Command> = (1..=9).map(|number| open(number, 1_000_000)).collect();
    transact(&mut store, &openings, at(1)).unwrap();
    let more = [
        Command::win(user(2), event(1), 5).unwrap().with_annotations(annotations),
        Command::rollback_win(user(2), event(1)),
        Command::freeze(user(3), event(2)),
        Command::rollback(user(4), event(3)),
    ];
    for (time, command) in (2..).zip(more) {
        transact(&mut store, &[command], at(time)).unwrap();
    }
    let charges: Vec<Command> = (0..charges).map(|number| charge(4 + number % 6, 100 + number, 1)).collect();
    for (time, batch) in (10..).zip(charges.chunks(500)) {
        transact(&mut store, batch, at(time)).unwrap();
    }
    close(store).await;
    path
}

/// The report of `wallet migrate --json`, and the exit code.
fn migrate(from: &str, to: &str, more: &[&str]) -> (Value, Option<i32>) {
    let args = [&["migrate", "--json", "--from", from, "--to", to], more].concat();
    let (json, stderr, code) = block_in_place(|| run(&args));
    (serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json:?} {stderr:?}")), code)
}

/// Copies a ledger, which must succeed.
fn migrated(from: &str, to: &str, more: &[&str]) -> Value {
    let (report, code) = migrate(from, to, more);
    assert_eq!((code, &report["success"]), (Some(0), &true.into()), "{report}");
    report
}

/// Why it was refused.
fn refused(from: &str, to: &str, more: &[&str], expected: i32) -> String {
    let (report, code) = migrate(from, to, more);
    assert_eq!(code, Some(expected), "{report}");
    report["error"].as_str().unwrap().to_owned()
}

/// Every entry, as a file that `wallet export` writes.
fn export(url: &str) -> String {
    let (csv, stderr, code) = block_in_place(|| run(&["export", "--format", "csv", "--database-url", url]));
    assert_eq!(code, Some(0), "{stderr}");
    csv
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_goes_to_postgresql_and_back_is_the_same_to_the_byte() {
    let Some(database) = Database::create("there and back") else { return };
    let dir = TempDir::new().unwrap();
    let (there, back) = (ledger(&dir, 3_000).await, dir.path().join("back.db"));
    let first = migrated(&url(&there), &database.url(), &[]);
    assert_eq!((&first["Entries"], &first["Written"], &first["Wallets"]), (&3_013.into(), &3_013.into(), &9.into()));
    let second = migrated(&database.url(), &url(&back), &[]);
    for report in [&first, &second] {
        assert_eq!(report["Checkpoint"], first["SourceCheckpoint"]);
    }
    let exported = export(&url(&there));
    assert_eq!(exported.lines().count(), 3_014);
    assert!(exported == export(&database.url()) && exported == export(&url(&back)), "the same bytes");
    let again = migrated(&database.url(), &url(&back), &[]);
    assert_eq!(again["Written"], 0, "nothing is left to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_divided_and_joined_again_has_the_same_wallets() {
    let (Some(three), Some(one)) = (Database::create("divided"), Database::create("joined")) else { return };
    let dir = TempDir::new().unwrap();
    let path = ledger(&dir, 3_000).await;
    let divided = migrated(&url(&path), &three.url(), &["--shards", "3"]);
    assert_eq!((&divided["Shards"], &divided["Entries"]), (&3.into(), &3_013.into()));
    let anchor = three.value::<String>("select value from setting where name = 'anchor'");
    assert_eq!(divided["SourceCheckpoint"].as_str().unwrap().split_once(':').unwrap().1, anchor);
    let joined = migrated(&three.url(), &one.url(), &["--shards", "1"]);
    assert_eq!((&joined["Shards"], &joined["Entries"], &joined["Wallets"]), (&1.into(), &3_013.into(), &9.into()));
    let wallets =
        "select string_agg(concat_ws(' ', user_id, wallet_id, balance, sequence, frozen, created_at), ',' order by
         user_id) from wallet join account using (shard_id, user_id)";
    assert_eq!(three.value::<String>(wallets), one.value::<String>(wallets));
    // All but the ids of the entries is the same, in the same order.
    let without_ids =
        |csv: &str| -> Vec<String> { csv.lines().map(|line| line.split_once(',').unwrap().1.to_owned()).collect() };
    let mut lines = [export(&url(&path)), export(&one.url()), export(&three.url())].map(|csv| without_ids(&csv));
    for lines in &mut lines {
        lines.sort();
    }
    assert!(lines[0] == lines[1] && lines[0] == lines[2]);
    let why = refused(&one.url(), &url(&dir.path().join("no.db")), &[], 1);
    assert!(why.contains("its chain has an anchor"), "{why}");
}

/// Starts to copy, kills the program once something was written, and starts again.
async fn interrupt(from: &str, database: &Database, more: &[&str]) {
    let to = database.url();
    let args = [&["migrate", "--from", from, "--to", &to], more].concat();
    let mut command = wallet();
    let mut child = command.args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut connection: PgConnection = database.connect().await;
    let count = || sqlx::query_scalar::<_, i64>("select count(*) from ledger_commit");
    // There is no such table at first. On a fast machine the copy may be whole before it is seen.
    while !matches!(count().fetch_one(&mut connection).await, Ok(1..)) && child.try_wait().unwrap().is_none() {
        yield_now().await;
    }
    child.kill().unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code().is_none_or(|code| code == 0), "it was killed, or had copied all: {said}");
    let left: i64 = database.value("select count(*) from setting where name = 'copy'");
    if left == 1 {
        is_not_served(&to);
    }
    let report = migrated(from, &database.url(), more);
    assert_eq!(database.value::<i64>("select count(*) from setting where name = 'copy'"), 0, "it is whole");
    let (written, entries) = (report["Written"].as_i64().unwrap(), report["Entries"].as_i64().unwrap());
    println!("{written} of {entries} entries were left to write");
    assert!(written < entries, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_killed_goes_on_where_it_stopped() {
    let Some(database) = Database::create("a killed copy") else { return };
    let dir = TempDir::new().unwrap();
    let path = ledger(&dir, 20_000).await;
    interrupt(&url(&path), &database, &[]).await;
    assert!(export(&url(&path)) == export(&database.url()), "the same bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_into_shards_that_was_killed_goes_on_where_it_stopped() {
    let Some(database) = Database::create("a killed division") else { return };
    let dir = TempDir::new().unwrap();
    let path = ledger(&dir, 20_000).await;
    interrupt(&url(&path), &database, &["--shards", "3"]).await;
}

/// A start is refused, because the copy is not whole.
fn is_not_served(database: &str) {
    let (out, stderr, code) = run(&["serve", "--database-url", database]);
    assert_eq!((out.as_str(), code), ("", Some(1)), "{stderr}");
    assert!(stderr.contains("is a copy that is not whole: run the same `wallet migrate` again"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_copy_is_not_served_until_it_is_whole() {
    let Some(database) = Database::create("half a copy") else { return };
    let dir = TempDir::new().unwrap();
    let (source, file) = (url(&ledger(&dir, 10).await), dir.path().join("copy.db"));
    let mark = "insert into setting (name, value) values ('copy', 'not whole')";
    let mark_database = || database.execute(mark);
    let mark_file = || tamper(&file, mark);
    let copies: [(String, &dyn Fn()); 2] = [(database.url(), &mark_database), (url(&file), &mark_file)];
    for (copy, mark) in copies {
        migrated(&source, &copy, &[]);
        mark();
        block_in_place(|| {
            is_not_served(&copy);
            // All that it holds is right, but it does not hold all.
            for command in [["verify"].as_slice(), &["export", "--format", "csv"], &["reconcile", "-"]] {
                let (out, stderr, code) = run(&[command, &["--database-url", &copy]].concat());
                assert_eq!((out.as_str(), code), ("", Some(1)), "{command:?}: {stderr}");
                assert!(stderr.contains("is a copy that is not whole"), "{command:?}: {stderr}");
            }
        });
        let third = dir.path().join("third.db");
        let why = refused(&copy, &url(&third), &[], 1);
        assert!(why.contains("is a copy that is not whole") && !third.exists(), "{why}");
        assert_eq!(migrated(&source, &copy, &[])["Written"], 0);
        Process::serve(wallet(), &copy, &[]).terminate();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_marked_before_anything_is_written_to_it() {
    let Some(database) = Database::create("a copy that has just begun") else { return };
    let dir = TempDir::new().unwrap();
    for target in [database.url(), url(&dir.path().join("copy.db"))] {
        let options = StoreOptions { is_copy: true, ..StoreOptions::new(eur()) };
        close(target.parse::<Location>().unwrap().open(options).await.unwrap()).await;
        block_in_place(|| is_not_served(&target));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_beginning_of_the_copy_is_left_as_it_is() {
    let Some(database) = Database::create("refused targets") else { return };
    let dir = TempDir::new().unwrap();
    let path = ledger(&dir, 10).await;
    let other = dir.path().join("other.db");
    let mut store = open_sqlite(&other).await;
    transact(&mut store, &[open(1, 5)], at(1)).unwrap();
    close(store).await;
    migrated(&url(&path), &database.url(), &[]);
    let before = export(&database.url());
    let why = refused(&url(&other), &database.url(), &[], 1);
    assert!(why.contains("no beginning of this copy"), "{why}");
    let why = refused(&url(&path), &database.url(), &["--shards", "2"], 1);
    assert!(why.contains("has 1 shard, not 2 shards"), "{why}");
    let why = refused(&url(&path), &url(&other), &["--shards", "2"], 1);
    assert!(why.contains("an SQLite file has 1 shard"), "{why}");
    assert_eq!(export(&database.url()), before);
    // A source that went on is copied on; one that is behind its copy is another.
    let mut store = open_sqlite(&path).await;
    transact(&mut store, &[charge(1, 999, 1)], at(999)).unwrap();
    close(store).await;
    assert_eq!(migrated(&url(&path), &database.url(), &[])["Written"], 1);
    let (_, stderr, code) = block_in_place(|| run(&["migrate", "--from", &url(&path), "--to", &url(&path)]));
    assert_eq!(code, Some(64), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_into_a_ledger_that_is_served_ends_when_somebody_commits_to_it() {
    let Some(database) = Database::create("a served target") else { return };
    let dir = TempDir::new().unwrap();
    let (from, to) = (url(&ledger(&dir, 5_000).await), database.url());
    let target = TestLedger::Postgres(database);
    let service = block_in_place(|| Process::start(format!("{to}?application_name=service").as_str()));
    let client = service.client().await;
    let held = block_in_place(|| target.hold_write_lock());
    let copying = spawn_blocking(move || run(&["migrate", "--json", "--from", &from, "--to", &to]));
    let TestLedger::Postgres(database) = &target else { unreachable!("it is on PostgreSQL") };
    let mut connection = database.connect().await;
    let mut waits = async |name: &str| {
        let waiting = "select exists (select from pg_stat_activity where datname = current_database()
                       and application_name = $1 and wait_event_type = 'Lock')";
        while !sqlx::query_scalar::<_, bool>(waiting).bind(name).fetch_one(&mut connection).await.unwrap() {
            yield_now().await;
        }
    };
    // The copy waits to write for the first time, and the service for its turn after that.
    waits("wallet").await;
    let opening = tokio::spawn(async move { client.send(Protocol::Grpc, PlainCommand::open(1_000, 5)).await });
    waits("service").await;
    drop(held);
    assert_eq!(opening.await.unwrap(), Reply::done(5));
    let (json, stderr, code) = copying.await.unwrap();
    assert!(code == Some(1) && json.contains("is served, and somebody has committed to it"), "{json} {stderr}");
    assert_eq!(database.value::<i64>("select balance from wallet where user_id = 1000"), 5);
    block_in_place(|| is_not_served(&database.url()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_is_not_copied_into_itself_by_another_name() {
    let Some(database) = Database::create("itself") else { return };
    let dir = TempDir::new().unwrap();
    migrated(&url(&ledger(&dir, 10).await), &database.url(), &[]);
    let before = export(&database.url());
    let other_name = database.url().replace("@127.0.0.1:", "@localhost:");
    assert_ne!(other_name, database.url());
    for args in [[].as_slice(), &["--shards", "1"]] {
        let why = refused(&database.url(), &other_name, args, 1);
        assert!(why.contains("a `wallet migrate` uses the database") && why.contains("localhost"), "{why}");
    }
    assert_eq!(export(&database.url()), before);
    assert_eq!(database.value::<i64>("select count(*) from setting where name = 'copy'"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_served_or_wrong_is_not_copied() {
    let dir = TempDir::new().unwrap();
    let (path, to) = (ledger(&dir, 10).await, dir.path().join("copy.db"));
    let served = block_in_place(|| Process::start(&path));
    let why = refused(&url(&path), &url(&to), &[], 1);
    assert!(why.contains("served by another process"), "{why}");
    drop(served);
    tamper(&path, "update wallet set balance = balance + 1 where user_id = 2");
    let why = refused(&url(&path), &url(&to), &[], 2);
    assert!(why.contains("nothing was copied") && !to.exists(), "{why}");
    let why = refused(&url(&dir.path().join("none.db")), &url(&to), &[], 1);
    assert!(why.contains("none.db") && !to.exists(), "{why}");
}
