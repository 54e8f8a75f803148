//! Databases that must not be served: one clear line, an exit code, and the file as it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::optional;
use crate::support::process::{Process, database_url, run};
use crate::support::script::{callers, load};

/// The ledger of a service that was stopped in order, in a folder of its own.
async fn ledger() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start(&database);
    let client = process.client().await;
    load(&client, callers(&client, 3).await, 200, || process.signal("TERM")).await;
    assert!(process.terminate().0.success());
    (dir, database)
}

/// Every file in the folder. The files that a process leaves next to a database that it has only read do not count.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.retain(|(path, bytes)| {
        let name = path.to_string_lossy();
        !(name.ends_with("-lock") || name.ends_with("-shm") || name.ends_with("-wal") && bytes.is_empty())
    });
    files.sort();
    files
}

/// The service refuses to start, in one line with `why`, and changes nothing in the folder.
fn assert_refused(database: &Path, flags: &[&str], why: &str) {
    let folder = database.parent().unwrap();
    let before = contents(folder);
    let url = database_url(database);
    let args = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--database-url", &url];
    let (stdout, stderr, code) = run(&[&args, flags].concat());
    assert_eq!((code, stderr.trim().lines().count(), stdout.as_str()), (Some(1), 1, ""), "{why}: {stderr}");
    assert!(stderr.contains(why) && stderr.contains("wallet.db"), "{why}: {stderr}");
    assert!(contents(folder) == before, "{why}: the folder is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_cut_short_is_refused() {
    let (dir, database) = ledger().await;
    let whole = fs::read(&database).unwrap();
    let length = whole.len();
    assert_eq!(length % 1024, 0);
    let mut refused = 0;
    for cut in
        [1, 16, 99, 100, 511, 512, 1_023, 1_024, 1_500, 4_096, length / 2, length - 1_024, length - 512, length - 1]
    {
        fs::write(&database, &whole[..cut]).unwrap();
        assert_refused(&database, &[], "database");
        refused += 1;
    }
    println!("a ledger of {length} bytes cut to {refused} lengths: each refused");
    fs::write(&database, &whole).unwrap();
    assert!(Process::start(&database).terminate().0.success(), "whole, it is served");
    drop(dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_whose_wal_is_not_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start(&database);
    callers(&process.client().await, 3).await;
    process.kill();
    fs::write(&database, "").unwrap();
    assert_refused(&database, &[], "is empty, but its WAL is not");
    fs::remove_file(&database).unwrap();
    assert_refused(&database, &[], "is empty, but its WAL is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_currency_and_a_newer_version_are_refused() {
    let (_dir, database) = ledger().await;
    assert_refused(&database, &["--currency", "JPY"], "is in EUR, not in JPY");
    let newer = rusqlite::Connection::open(&database).unwrap();
    newer.execute_batch("insert into _sqlx_migrations values (99, 'later', '2030-01-01', true, x'00', 1)").unwrap();
    newer.close().unwrap();
    assert_refused(&database, &[], "another version of the wallet (migration 99");
}

#[test]
fn another_programs_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    for bytes in [b"x".to_vec(), b"Not a database, but precious. ".repeat(100), vec![0; 4_096]] {
        fs::write(&database, bytes).unwrap();
        assert_refused(&database, &[], "is not a wallet's database");
    }
    fs::remove_file(&database).unwrap();
    let other = rusqlite::Connection::open(&database).unwrap();
    other.execute_batch("pragma journal_mode = delete; create table song (title text)").unwrap();
    other.close().unwrap();
    assert_refused(&database, &[], "is not a wallet's database");
    fs::remove_file(&database).unwrap();
    fs::create_dir(&database).unwrap();
    let url = database_url(&database);
    let (_, stderr, code) = run(&["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--database-url", &url]);
    assert_eq!((code, stderr.trim().lines().count()), (Some(1), 1), "{stderr}");
}

/// A path that can only be read, even by root: mounted onto itself so, unmounted when dropped.
struct ReadOnly<'a>(&'a Path);

impl<'a> ReadOnly<'a> {
    /// `None`, after saying so, where this is not allowed.
    fn mount(path: &'a Path) -> Option<Self> {
        let test = "a database that can only be read";
        let [mount, _] = optional::programs(test, ["mount", "umount"])?;
        let bound = Command::new(&mount).arg("--bind").args([path, path]).output().unwrap();
        if !bound.status.success() {
            optional::skip(test, &format!("needs to mount: {}", String::from_utf8_lossy(&bound.stderr)));
            return None;
        }
        let mounted = Self(path);
        let remounted = Command::new(mount).args(["-o", "remount,ro,bind"]).arg(path).status().unwrap();
        assert!(remounted.success());
        Some(mounted)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_only_be_read_is_refused() {
    let (dir, database) = ledger().await;
    if let Some(_file) = ReadOnly::mount(&database) {
        assert_refused(&database, &[], "cannot open the database");
    }
    if let Some(_folder) = ReadOnly::mount(dir.path()) {
        assert_refused(&database, &[], "cannot open the database");
    }
    assert!(Process::start(&database).terminate().0.success(), "when it can be written, it is served");
}
