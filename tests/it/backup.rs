//! Backups of a ledger in use, restored; what is never overwritten, and what a failure leaves behind.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use wallet::ledger::Command;
use wallet::store::sqlite;

use crate::support::app::App;
use crate::support::process::{self, Process, database_url, run, wallet};
use crate::support::store::{at, charge, close, open, open_sqlite, transact};

fn backup(database: &Path, file: &Path) -> (String, String, Option<i32>) {
    run(&["backup", file.to_str().unwrap(), "--database-url", &database_url(database)])
}

fn restore(file: &Path, database: &Path) -> (String, String, Option<i32>) {
    run(&["restore", file.to_str().unwrap(), "--database-url", &database_url(database)])
}

/// A ledger of one user and `charges` more entries, which nobody serves.
async fn ledger(dir: &TempDir, charges: i64) -> PathBuf {
    let path = dir.path().join("wallet.db");
    let mut store = open_sqlite(&path).await;
    transact(&mut store, &[open(1, charges)], at(1)).unwrap();
    let charges: Vec<Command> = (0..charges).map(|event| charge(1, event, 1)).collect();
    for batch in charges.chunks(1_000) {
        transact(&mut store, batch, at(2)).unwrap();
    }
    close(store).await;
    path
}

/// The names of everything in a folder.
fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_backed_up_while_it_is_charged_and_serves_again_elsewhere() {
    let app = Arc::new(App::spawn().await);
    app.create_user(7, "1000000.00").await;
    let charge = async |app: &App, event: i64| {
        let reply = app.post("/api/v1/charge", &format!(r#"{{"UserId":7,"EventId":{event},"Amount":0.01}}"#)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply
    };
    let mut first_answers = Vec::new();
    for event in 0..500 {
        first_answers.push(charge(&app, event).await.text().to_owned());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let charging = tokio::spawn({
        let (app, stop) = (Arc::clone(&app), Arc::clone(&stop));
        async move {
            let mut event = 1_000;
            while !stop.load(Ordering::Relaxed) {
                charge(&app, event).await;
                event += 1;
            }
            event - 1_000
        }
    });
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("monday.backup");
    let (database, to) = (app.ledger().file().to_owned(), file.clone());
    let (stdout, stderr, code) = tokio::task::spawn_blocking(move || backup(&database, &to)).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let during = charging.await.unwrap();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("ok: 1 wallets") && stderr.contains("copied 100 %"), "{stdout}{stderr}");
    assert!(during > 0, "charges went on");
    assert_eq!(names(&elsewhere), ["monday.backup"], "a backup is one file");

    let database = elsewhere.path().join("restored.db");
    let (stdout, stderr, code) = restore(&file, &database);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("restored from") && stdout.contains("\ncheckpoint: "), "{stdout}");
    let restored = App::spawn_with(|settings| settings.database.url = database_url(&database).parse().unwrap()).await;
    for (event, first) in (0..).zip(&first_answers) {
        let again = charge(&restored, event).await;
        assert_eq!((again.text(), again.header("idempotent-replayed")), (first.as_str(), "true"), "event {event}");
    }
    assert_eq!(charge(&restored, 999).await.header("idempotent-replayed"), "", "new charges are taken");
    drop(restored.stop().await);
    sqlite::audit(&database, None).unwrap().unwrap();
}

#[tokio::test]
async fn nothing_is_ever_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let database = ledger(&dir, 10).await;
    let (file, precious) = (dir.path().join("backup"), dir.path().join("precious"));
    assert_eq!(backup(&database, &file).2, Some(0));
    fs::write(&precious, "precious").unwrap();
    let (_, stderr, code) = backup(&database, &precious);
    assert_eq!((code, fs::read_to_string(&precious).unwrap().as_str()), (Some(1), "precious"), "{stderr}");
    assert!(stderr.contains("precious is there already"), "{stderr}");

    let before = fs::read(&database).unwrap();
    let (_, stderr, code) = restore(&file, &database);
    assert_eq!((code, fs::read(&database).unwrap() == before), (Some(1), true), "{stderr}");
    assert!(stderr.contains("wallet.db is there already"), "{stderr}");
    // SQLite would take what is in an old log for a part of the new database.
    let new = dir.path().join("new.db");
    fs::write(dir.path().join("new.db-wal"), "of another database").unwrap();
    let (_, stderr, code) = restore(&file, &new);
    assert_eq!((code, new.exists()), (Some(1), false), "{stderr}");
    assert!(stderr.contains("new.db-wal is there already"), "{stderr}");
}

#[tokio::test]
async fn nothing_is_restored_under_a_service() {
    let dir = tempfile::tempdir().unwrap();
    let database = ledger(&dir, 10).await;
    let file = dir.path().join("backup");
    assert_eq!(backup(&database, &file).2, Some(0));
    let process = Process::start(&database);
    let (_, stderr, code) = restore(&file, &database);
    assert_eq!(code, Some(1), "{stderr}");
    drop(process);
    // Even where the service has no file yet, or has lost it.
    let other = dir.path().join("other.db");
    let lock = File::create(dir.path().join("other.db-lock")).unwrap();
    lock.lock().unwrap();
    let (_, stderr, code) = restore(&file, &other);
    assert_eq!((code, other.exists()), (Some(1), false), "{stderr}");
    assert!(stderr.contains("served by another process"), "{stderr}");
}

#[tokio::test]
async fn what_is_not_a_correct_ledger_is_neither_backed_up_nor_restored() {
    let dir = tempfile::tempdir().unwrap();
    let database = ledger(&dir, 10).await;
    let file = dir.path().join("backup");
    assert_eq!(backup(&database, &file).2, Some(0));
    for altered in [&file, &database] {
        rusqlite::Connection::open(altered).unwrap().execute_batch("update wallet set balance = 9").unwrap();
    }
    let notes = dir.path().join("notes.txt");
    fs::write(&notes, "Not a database. ".repeat(100)).unwrap();
    let foreign = dir.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("create table precious (x)").unwrap();
    let before = names(&dir);
    let new = dir.path().join("new");
    for (what, (_, stderr, code), exit_code, named) in [
        ("an altered ledger", backup(&database, &new), 2, "user 1: stored balance"),
        ("an altered backup", restore(&file, &new), 2, "user 1: stored balance"),
        ("no database", restore(&notes, &new), 1, "notes.txt"),
        ("another program's", restore(&foreign, &new), 1, "is not a wallet's database"),
        ("nothing", restore(&dir.path().join("missing"), &new), 1, "missing"),
        ("a folder", restore(dir.path(), &new), 1, "is a folder, not a database file"),
        ("to where nothing can be", backup(&database, &dir.path().join("no/such/folder")), 1, "no/such/folder"),
    ] {
        assert_eq!(code, Some(exit_code), "{what}: {stderr}");
        assert!(stderr.lines().last().unwrap_or_default().contains(named), "{what}: {stderr}");
    }
    let after: Vec<_> = names(&dir).into_iter().filter(|name| !name.starts_with("wallet.db-")).collect();
    let before: Vec<_> =
        before.into_iter().filter(|name| !name.starts_with("wallet.db-")).chain(["new-lock".to_owned()]).collect();
    let mut before = before;
    before.sort();
    assert_eq!(after, before, "nothing is left behind");
}

#[tokio::test]
async fn an_interrupted_backup_leaves_nothing_that_looks_like_one() {
    let dir = tempfile::tempdir().unwrap();
    let database = ledger(&dir, 20_000).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("backup");
    let mut interrupted = 0;
    for round in 0..10 {
        let mut command = wallet();
        command.arg("backup").arg(&file).args(["--database-url", &database_url(&database)]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while names(&elsewhere).is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(round * 3));
        child.kill().unwrap();
        child.wait().unwrap();
        // It may have been faster; then it is whole.
        if file.exists() {
            sqlite::audit(&file, None).unwrap().unwrap();
            fs::remove_file(&file).unwrap();
        } else {
            interrupted += 1;
        }
        for name in names(&elsewhere) {
            assert!(name.contains(".partial"), "{name}");
            fs::remove_file(elsewhere.path().join(name)).unwrap();
        }
    }
    assert!(interrupted > 0, "each was too fast to be interrupted");
    println!("{interrupted} of 10 backups interrupted");
}

/// What a command says of the database of a user who may write nothing, and its exit code.
fn as_a_reader(args: &[&str], database: &Path) -> Option<(String, Option<i32>)> {
    let mut program = process::wallet_as("1000670000")?;
    let output = program.args(args).args(["--database-url", &database_url(database)]).output().unwrap();
    Some((String::from_utf8([output.stdout, output.stderr].concat()).unwrap(), output.status.code()))
}

/// Copies a file, and lets everybody read the copy.
fn copy_for_all(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
    fs::set_permissions(to, Permissions::from_mode(0o644)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_can_only_be_read_is_verified_and_backed_up() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    let (snapshot, copies) = (dir.path().join("100% #1"), dir.path().join("copies"));
    fs::create_dir(&snapshot).unwrap();
    fs::create_dir(&copies).unwrap();
    fs::set_permissions(&copies, Permissions::from_mode(0o777)).unwrap();
    let live = ledger(&dir, 100).await;
    let database = snapshot.join("wallet.db");
    copy_for_all(&live, &database);
    fs::set_permissions(&snapshot, Permissions::from_mode(0o555)).unwrap();
    let backup = copies.join("backup.db");
    for args in [&["verify"][..], &["backup", backup.to_str().unwrap()]] {
        let Some((output, code)) = as_a_reader(args, &database) else { return };
        assert_eq!(code, Some(0), "{output}");
        assert!(output.contains("every balance and hash is right"), "{output}");
    }

    // A snapshot of a database in use: what was committed last is in its WAL.
    fs::set_permissions(&snapshot, Permissions::from_mode(0o755)).unwrap();
    let process = Process::start(&live);
    process.client().await.create_wallet(1_000_000, 1).await;
    copy_for_all(&live.with_extension("db-wal"), &snapshot.join("wallet.db-wal"));
    fs::set_permissions(&snapshot, Permissions::from_mode(0o555)).unwrap();
    let (output, code) = as_a_reader(&["verify"], &database).expect("as before");
    assert_eq!((code, output.lines().count()), (Some(1), 1), "{output}");
    assert!(output.contains("where nothing can be written, because it has a WAL: copy it and"), "{output}");
    process.kill();
}
