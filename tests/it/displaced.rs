//! The files of a ledger that are removed, renamed or replaced while it is served: nothing is acknowledged that a
//! restart would not find.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use tempfile::TempDir;
use wallet::store::sqlite;

use crate::support::client::{Client, Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::health::Health;
use crate::support::process::{Process, database_url, run, wallet};
use crate::support::script::{callers, load, resend, resend_all};
use crate::support::seed::rounds;

const PROTOCOLS: [Protocol; 3] = [Protocol::Rest, Protocol::Grpc, Protocol::Stream];

/// What an operator's mistake, or a script that cleans up, may take away, by what follows the database's name.
const FILES: [&str; 4] = ["", "-wal", "-shm", "-lock"];

/// A service whose database is in a folder that can be renamed.
struct Served {
    dir: TempDir,
    process: Process,
    client: Client,
    health: Health,
}

impl Served {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        let process = Process::start(&dir.path().join("data/wallet.db"));
        let (client, health) = (process.client().await, Health::of(&process).await);
        Self { dir, process, client, health }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn database(&self) -> PathBuf {
        self.file("")
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.folder().join(format!("wallet.db{suffix}"))
    }

    /// Sends a deposit in every way; none may be acknowledged.
    async fn acknowledges_nothing(&self, user: i64, number: i64) {
        for protocol in PROTOCOLS {
            for number in number..number + 5 {
                let reply = self.client.send(protocol, PlainCommand::deposit(user, number, 1)).await;
                assert_eq!(reply, Reply::Unavailable, "{protocol:?}");
            }
        }
    }

    /// Kills the service, and serves what it left.
    async fn restart_after_a_kill(self) -> (TempDir, Process, Client) {
        let database = self.database();
        self.process.kill();
        let process = Process::start(&database);
        let client = process.client().await;
        (self.dir, process, client)
    }
}

/// The lines of a log that say what is wrong with the ledger's files.
fn complaints<'log>(log: &'log str, path: &Path) -> Vec<&'log str> {
    let path = path.to_str().unwrap();
    log.lines().filter(|line| line.contains("health is down") && line.contains(path)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_renamed_under_load_stop_the_service_until_they_are_back() {
    let mut served = Served::start().await;
    let mut callers = callers(&served.client, 9).await;
    let mut displaced = 0;
    for _ in 0..rounds(1, 8) {
        let aside = served.dir.path().join("aside");
        let mut paths: Vec<PathBuf> = FILES.iter().map(|suffix| served.file(suffix)).collect();
        paths.push(served.folder());
        for path in paths {
            let rename = || fs::rename(&path, &aside).unwrap();
            callers = load(&served.client, callers, 200, rename).await;
            served.health.becomes(false).await;
            served.acknowledges_nothing(0, 1_000_000).await;
            assert_eq!(served.health.now().await, (false, false), "{}", path.display());
            fs::rename(&aside, &path).unwrap();
            served.health.becomes(true).await;
            callers = resend(&served.client, callers).await;
            displaced += 1;
        }
    }
    let database = served.database();
    let (_dir, process, client) = served.restart_after_a_kill().await;
    let acknowledged = resend_all(&client, &callers).await;
    process.kill();
    sqlite::audit(&database, None).unwrap().unwrap();
    println!("{displaced} files and folders renamed and put back: {acknowledged} commands acknowledged, none lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_that_is_removed_takes_nothing_with_it() {
    for suffix in ["-wal", "-shm"] {
        let mut served = Served::start().await;
        let file = served.file(suffix);
        let callers = callers(&served.client, 9).await;
        let callers = load(&served.client, callers, 300, || fs::remove_file(&file).unwrap()).await;
        served.health.becomes(false).await;
        served.acknowledges_nothing(0, 1_000_000).await;
        let database = served.database();
        let (_dir, process, client) = served.restart_after_a_kill().await;
        let acknowledged: i64 = callers.iter().map(|caller| caller.acknowledged).sum();
        let callers = resend(&client, callers).await;
        assert!(resend_all(&client, &callers).await >= acknowledged);
        process.kill();
        sqlite::audit(&database, None).unwrap().unwrap();
        println!("{suffix} removed and the service killed: {acknowledged} commands acknowledged, none lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_that_is_removed_while_it_is_quiet_takes_nothing_with_it() {
    for suffix in ["-wal", "-shm"] {
        for signal in ["KILL", "TERM"] {
            let mut served = Served::start().await;
            served.client.create_wallet(1, 1_000).await;
            let deposit = PlainCommand::deposit(1, 1, 5);
            assert_eq!(served.client.send(Protocol::Rest, deposit).await, Reply::done(1_005));
            // Another process that reads keeps the WAL from being copied, until it ends.
            let database = served.database();
            let reader = rusqlite::Connection::open(&database).unwrap();
            reader.execute_batch("begin; select count(*) from wallet").unwrap();
            let late = PlainCommand::deposit(1, 2, 5);
            assert_eq!(served.client.send(Protocol::Rest, late).await, Reply::done(1_010));
            fs::remove_file(served.file(suffix)).unwrap();
            served.health.becomes(false).await;
            reader.execute_batch("rollback").unwrap();
            let mut process = served.process;
            if signal == "KILL" {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            process.signal(signal);
            process.wait();
            drop(reader);
            let process = Process::start(&database);
            let client = process.client().await;
            assert_eq!(client.balance(1).await, 1_010, "{suffix}, {signal}");
            assert_eq!(client.send(Protocol::Grpc, late).await, Reply::replayed(1_010));
            process.kill();
            sqlite::audit(&database, None).unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_removed_is_noticed_although_no_command_comes() {
    let mut served = Served::start().await;
    served.client.create_wallet(1, 1_000).await;
    let database = served.database();
    fs::remove_file(&database).unwrap();
    served.health.becomes(false).await;
    served.acknowledges_nothing(1, 1).await;
    assert_eq!(served.client.balance(1).await, 1_000, "reads go on");
    let log = served.process.terminate_and_log();
    let complaints = complaints(&log, &database);
    assert_eq!(complaints.len(), 1, "{log}");
    assert!(complaints[0].contains("was removed or renamed while it is served"), "{log}");
    assert!(!database.exists(), "nothing was made in its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_into_the_emptied_path_is_not_touched() {
    let mut served = Served::start().await;
    served.client.create_wallet(1, 1_000).await;
    let (database, backup) = (served.database(), served.dir.path().join("backup.db"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let url = database_url(&database);
    let (_, stderr, code) = run(&["backup", &text(&backup), "--database-url", &url]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(served.client.send(Protocol::Grpc, PlainCommand::deposit(1, 1, 5)).await, Reply::done(1_005));
    for suffix in FILES {
        fs::remove_file(served.file(suffix)).unwrap();
    }
    let (_, stderr, code) = run(&["restore", &text(&backup), "--database-url", &url]);
    assert_eq!(code, Some(0), "{stderr}");
    let restored = fs::read(&database).unwrap();
    served.health.becomes(false).await;
    served.acknowledges_nothing(1, 2).await;
    let mut process = served.process;
    process.signal("TERM");
    assert!(process.wait().success());
    assert!(fs::read(&database).unwrap() == restored, "the restored ledger is as it was");
    let process = Process::start(&database);
    assert_eq!(process.client().await.balance(1).await, 1_000, "the restored ledger is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_overwritten_in_place_is_not_written_to() {
    let mut served = Served::start().await;
    served.client.create_wallet(1, 1_000).await;
    let database = served.database();
    fs::write(&database, "restored by cp").unwrap();
    served.health.becomes(false).await;
    served.acknowledges_nothing(1, 1).await;
    let log = served.process.terminate_and_log();
    assert!(complaints(&log, &database)[0].contains("was overwritten or cut short while it is served"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_does_not_start_although_the_lock_file_was_removed() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut served = Served::start().await;
    served.client.create_wallet(1, 1_000).await;
    fs::remove_file(served.file("-lock")).unwrap();
    let url = database_url(&served.database());
    let args = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--database-url", &url];
    let Output { status, stderr, .. } = wallet().args(args).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("is served by another process"), "{stderr}");
    served.health.becomes(false).await;
    served.acknowledges_nothing(1, 1).await;
    assert_eq!(run(&["verify", "--database-url", &url]).2, Some(0));
}
