//! Who may read the files that the wallet makes: their owner alone, from the moment that they exist.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::process::{self, Process, database_url, without_settings};
use crate::support::strace;

/// How long a program may take for what it does in a moment.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The program with this umask, with no settings of this environment.
fn wallet_with_umask(umask: &str) -> Command {
    let mut command = without_settings("sh");
    command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_wallet")]);
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

/// Asserts that there are these files in a folder and no others, each with mode 0600.
fn assert_private(folder: &Path, names: &[&str]) {
    let found = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut found: Vec<(String, u32)> =
        found.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), mode(&path))).collect();
    found.sort();
    let mut expected: Vec<(String, u32)> = names.iter().map(|name| ((*name).to_owned(), 0o600)).collect();
    expected.sort();
    assert_eq!(found, expected);
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < TIMEOUT, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_its_owners_alone_whatever_the_umask() {
    for umask in ["000", "022", "277"] {
        let dir = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let (data, backups) = (folder("data"), folder("backups"));
        let database = data.join("wallet.db");
        let process = Process::start_with(wallet_with_umask(umask), &database, &[]);
        process.client().await.create_wallet(1, 100).await;
        assert_private(&data, &["wallet.db", "wallet.db-addr", "wallet.db-lock", "wallet.db-shm", "wallet.db-wal"]);

        let (backup, restored) = (backups.join("monday.db"), backups.join("restored.db"));
        let (from, to) = (database_url(&database), database_url(&restored));
        let file = backup.to_str().unwrap();
        done(wallet_with_umask(umask).args(["backup", file, "--database-url", &from]));
        done(wallet_with_umask(umask).args(["restore", file, "--database-url", &to]));
        let mut export = wallet_with_umask(umask);
        done(export.args(["export", "--format", "csv", "--database-url", &from, "--out"]).arg(backups.join("a.csv")));
        assert_private(&backups, &["a.csv", "monday.db", "restored.db", "restored.db-lock"]);

        let cursors = folder("cursors");
        let cursor = cursors.join("relay.json");
        let mut relay = wallet_with_umask(umask);
        relay.args(["relay", "--server", &format!("http://{}", process.grpc), "--to", "http://127.0.0.1:1/"]);
        relay.args(["--log", "off", "--cursor-file"]).arg(&cursor);
        // The example of the standard of webhooks: nobody receives what it signs.
        let mut relay = relay.env("WALLET_RELAY_SECRET", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").spawn().unwrap();
        wait_for("the relay makes its file", || cursor.exists());
        relay.kill().unwrap();
        relay.wait().unwrap();
        assert_private(&cursors, &["relay.json", "relay.json-lock"]);
        assert!(process.terminate().0.success());
    }
}

/// Has `run` start and end the program with umask 0, and returns the calls that could make a file in `folder`.
fn files_made(folder: &Path, run: impl FnOnce(Command)) -> Option<Vec<String>> {
    let calls = "creat,open,openat,openat2,mknod,mknodat";
    let calls = strace::trace("the mode that files are made with", calls, &wallet_with_umask("000"), run)?;
    let folder = folder.to_str().unwrap();
    let is_made = |call: &String| !call.contains("open") || call.contains("O_CREAT");
    Some(calls.into_iter().filter(|call| call.contains(folder) && is_made(call)).collect())
}

#[test]
fn no_file_is_ever_made_with_a_wider_mode() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let (database, backup) = (folder.join("wallet.db"), folder.join("monday.db"));
    let (url, restored) = (database_url(&database), database_url(&folder.join("restored.db")));
    let serve = |command| assert!(Process::start_with(command, &database, &[]).terminate().0.success());
    let Some(mut made) = files_made(folder, serve) else { return };
    let mut run = |args: &[&str]| {
        let run = |mut command: Command| drop(done(command.args(args)));
        made.extend(files_made(folder, run).expect("as before"));
    };
    run(&["backup", backup.to_str().unwrap(), "--database-url", &url]);
    run(&["restore", backup.to_str().unwrap(), "--database-url", &restored]);
    run(&["export", "--format", "csv", "--out", folder.join("a.csv").to_str().unwrap(), "--database-url", &url]);
    for name in ["wallet.db\"", "wallet.db-wal\"", "wallet.db-shm\"", "wallet.db-lock\"", "monday.db.", "a.csv."] {
        assert!(made.iter().any(|call| call.contains(&format!("/{name}"))), "{name} is among what was made: {made:#?}");
    }
    for call in made {
        assert!(call.contains(", 0600)"), "made for its owner alone: {call}");
    }
}

/// The warnings of a service that is started on a database and stopped.
fn warnings(database: &Path) -> Vec<String> {
    let log = Process::start(database).terminate_and_log();
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line));
    lines.filter(|line| line["level"] == "WARN").map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_database_that_others_may_read_is_warned_of_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    assert_eq!(warnings(&database), [""; 0], "a new one is its owner's alone");
    for wide in [0o644, 0o640, 0o620] {
        fs::set_permissions(&database, Permissions::from_mode(wide)).unwrap();
        let shown = database.display();
        // SQLite gives the WAL and its index the mode of the database.
        let files = format!("{shown} {shown}-wal {shown}-shm");
        let warning = format!("others than the owner may read or write the ledger: run `chmod 600 {files}`");
        assert_eq!(warnings(&database), [warning]);
        assert_eq!(mode(&database), wide);
    }
    fs::set_permissions(&database, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(warnings(&database), [""; 0], "as it said");
}

/// A folder that any user of group 0 can write, as a volume is. Its parents are readable.
fn volume(dir: &Path) -> PathBuf {
    let data = dir.join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(&data, None, Some(0)).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o770)).unwrap();
    data
}

#[test]
fn a_ledger_of_another_user_of_the_group_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let Some(owner) = process::wallet_as("1000670000") else { return };
    let database = volume(dir.path()).join("wallet.db");
    assert!(Process::start_with(owner, &database, &[]).terminate().0.success());
    let mut other = process::wallet_as("1000680000").expect("as before");
    other.args([
        "--http-addr",
        "127.0.0.1:0",
        "--grpc-addr",
        "127.0.0.1:0",
        "--database-url",
        &database_url(&database),
    ]);
    let output = other.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    let named = format!("user 1000680000 cannot write to the file {}: Permission denied", database.display());
    assert!(stderr.contains(&named), "{stderr}");
    let owner = process::wallet_as("1000670000").expect("as before");
    assert!(Process::start_with(owner, &database, &[]).terminate().0.success(), "its owner serves it still");
}
