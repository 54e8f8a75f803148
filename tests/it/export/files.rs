//! The file that an export makes: whole, or not there.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::disk::Disk;
use crate::support::ledger_file::{charges, every_kind, ledger, on};
use crate::support::process::{database_url, run, wallet};

fn export_to(database: &Path, file: &Path) -> (String, String, Option<i32>) {
    on(database, &["export", "--format", "csv", "--out", file.to_str().unwrap()])
}

/// The files of a folder that an export has begun.
fn unfinished(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("partial")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_replaced_by_a_whole_one_that_only_its_owner_reads() {
    let dir = tempfile::tempdir().unwrap();
    let database = ledger(&dir, &every_kind()).await;
    let (expected, ..) = on(&database, &["export", "--format", "csv"]);
    let (file, link) = (dir.path().join("out.csv"), dir.path().join("link.csv"));
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    symlink(&file, &link).unwrap();
    for path in [&file, &link] {
        let (stdout, stderr, code) = export_to(&database, path);
        assert_eq!((stdout.as_str(), code), ("", Some(0)), "{stderr}");
        assert!(stderr.starts_with(&format!("exported 9 entries to {}\ncheckpoint: 9:", path.display())), "{stderr}");
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(link.is_symlink());
    assert_eq!(unfinished(dir.path()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_named_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let database = ledger(&dir, &every_kind()).await;
    let before = fs::read(&database).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    for (file, named) in [
        (dir.path().join("missing/out.csv"), "No such file or directory"),
        (dir.path().join("file/out.csv"), "Not a directory"),
        (dir.path().to_owned(), "is no regular file"),
        ("/dev/null".into(), "is no regular file"),
        (database.clone(), "belongs to the ledger"),
        (database.with_extension("db-wal"), "belongs to the ledger"),
        (database.with_extension("db-lock"), "belongs to the ledger"),
    ] {
        let (stdout, stderr, code) = export_to(&database, &file);
        assert_eq!((stdout.as_str(), stderr.lines().count(), code), ("", 1, Some(1)), "{stderr}");
        assert!(stderr.contains(named) && stderr.contains(file.to_str().unwrap()), "{named}: {stderr}");
    }
    assert_eq!(fs::read(&database).unwrap(), before);
    assert_eq!(unfinished(dir.path()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_becomes_full_leaves_the_file_that_was_there() {
    let Some(disk) = Disk::mount("an export to a full disk", 1) else { return };
    let dir = tempfile::tempdir().unwrap();
    let database = charges(&dir, 30_000).await;
    let file = disk.path().join("out.csv");
    fs::write(&file, "old").unwrap();
    let (_, stderr, code) = export_to(&database, &file);
    assert_eq!((stderr.lines().count(), code), (1, Some(1)), "{stderr}");
    assert!(stderr.contains("cannot write") && stderr.contains("No space left on device"), "{stderr}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    assert_eq!(unfinished(disk.path()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_killed_leaves_the_file_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let database = charges(&dir, 30_000).await;
    let mut cut = 0;
    for _ in 0..5 {
        let folder = TempDir::new_in(dir.path()).unwrap();
        let file = folder.path().join("out.csv");
        fs::write(&file, "old").unwrap();
        let mut child = start(&database, &["--out", file.to_str().unwrap()]);
        while unfinished(folder.path()).is_empty() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 30_002);
        } else {
            assert_eq!(fs::read_to_string(&file).unwrap(), "old");
            cut += 1;
        }
    }
    assert!(cut > 0, "every export was over before it could be killed");
}

fn start(database: &Path, args: &[&str]) -> Child {
    let mut program = wallet();
    program.args(["export", "--format", "csv", "--database-url", &database_url(database)]).args(args);
    program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_hangs_up_is_no_failure_and_gets_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let database = charges(&dir, 30_000).await;
    let mut child = start(&database, &[]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
    assert!(line.starts_with("EntryId,"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_wrong_is_not_exported() {
    let missing = "entry.entry_id of row 4 is missing";
    for (change, named, filter) in [
        ("drop trigger entry_is_never_deleted; delete from entry where entry_id = 4", missing, None),
        // A filter does not hide what is missing, nor that it was the last.
        ("drop trigger entry_is_never_deleted; delete from entry where entry_id = 4", missing, Some("open")),
        (
            "pragma foreign_keys = off; drop trigger entry_is_never_deleted; delete from entry
             where entry_id = (select max(entry_id) from entry)",
            "is missing",
            None,
        ),
        (
            "drop trigger ledger_commit_is_never_updated;
             update ledger_commit set last_entry_id = last_entry_id + 281474976710656
             where commit_id = (select max(commit_id) from ledger_commit)",
            "is more than the database has room for",
            None,
        ),
        (
            "drop trigger entry_is_never_updated; update entry set kind = 77 where entry_id = 4",
            "entry.kind of row 4 is 77",
            None,
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let database = ledger(&dir, &every_kind()).await;
        rusqlite::Connection::open(&database).unwrap().execute_batch(change).unwrap();
        let file = dir.path().join("out.csv");
        let (url, out) = (database_url(&database), file.display().to_string());
        let mut args = vec!["export", "--format", "csv", "--out", &out, "--database-url", &url];
        args.extend(filter.iter().flat_map(|kind| ["--kind", kind]));
        let (_, stderr, code) = run(&args);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(named), "{stderr}");
        assert!(!file.exists());
        assert_eq!(unfinished(dir.path()), [""; 0]);
    }
}

#[test]
fn what_is_no_ledger_is_not_exported() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text.db");
    fs::write(&text, "Not a database. ".repeat(100)).unwrap();
    let other = dir.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("create table x (y)").unwrap();
    for (path, named) in [
        (dir.path().join("missing.db"), "cannot read the database"),
        (text, "cannot read the database"),
        (other, "is not a wallet's database"),
        (dir.path().to_owned(), "is a folder"),
    ] {
        let (stdout, stderr, code) = on(&path, &["export", "--format", "csv"]);
        assert_eq!((stdout.as_str(), stderr.lines().count(), code), ("", 1, Some(1)), "{stderr}");
        assert!(stderr.contains(named), "{stderr}");
    }
}
