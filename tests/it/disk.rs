//! A disk that fails, and one that is full: what was acknowledged stays, everything else is refused, and work resumes
//! by itself.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wallet::store::sqlite;

use crate::support::client::Client;
use crate::support::health::Health;
use crate::support::optional;
use crate::support::process::{Process, database_url, run, wallet};
use crate::support::script::{Caller, callers, load, resend, resend_all};
use crate::support::strace::Strace;

const MIB: u64 = 1024 * 1024;

/// The size of the WAL at which a checkpoint begins: so many pages, each with a header.
const CHECKPOINT_AT: u64 = 20_000 * (1_024 + 24);

/// Asserts for a while that both APIs report that it is down, while callers try, and that reads go on.
async fn stays_down(health: &mut Health, client: &Client, mut trying: Vec<Caller>) -> Vec<Caller> {
    for round in 0..15 {
        assert_eq!(health.now().await, (false, false), "round {round}");
        client.balance(0).await;
        if round % 3 == 2 {
            trying = load(client, trying, 0, || ()).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    trying
}

/// The outcome of everything is known: a crash now changes nothing.
async fn holds_after_a_crash(process: Process, database: &Path, callers: &[Caller], test: &str) {
    process.kill();
    let process = Process::start(database);
    let acknowledged = resend_all(&process.client().await, callers).await;
    process.kill();
    sqlite::audit(database, None).unwrap().unwrap();
    println!("{test}: {acknowledged} commands acknowledged, none lost, none twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_sync_acknowledges_nothing_until_it_can() {
    let test = "a sync that fails";
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start(&database);
    let client = process.client().await;
    let mut health = Health::of(&process).await;
    let mut callers = callers(&client, 9).await;
    for _ in 0..3 {
        let mut strace = None;
        let inject = "fsync,fdatasync:error=EIO";
        let attach = || {
            strace = Strace::attach(test, &process, inject);
            if strace.is_none() {
                process.signal("KILL");
            }
        };
        callers = load(&client, callers, 300, attach).await;
        let Some(strace) = strace else { return };
        health.becomes(false).await;
        callers = stays_down(&mut health, &client, callers).await;
        tokio::task::block_in_place(|| drop(strace));
        health.becomes(true).await;
        callers = resend(&client, callers).await;
    }
    holds_after_a_crash(process, &database, &callers, test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sync_that_fails_is_not_taken_for_a_success() {
    let test = "one sync that fails";
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start(&database);
    let client = process.client().await;
    // One caller: so that after the failure, nothing but its retry is committed.
    let mut callers = callers(&client, 1).await;
    for round in 0..5 {
        let mut strace = None;
        let inject = "fsync,fdatasync:error=EIO:when=1";
        let attach = || {
            strace = Strace::attach(test, &process, inject);
            if strace.is_none() {
                process.signal("KILL");
            }
        };
        callers = load(&client, callers, 20, attach).await;
        if strace.is_none() {
            return;
        }
        assert_eq!(callers[0].unknown(), 1, "round {round}: the command whose sync failed was not acknowledged");
        assert_eq!(client.balance(0).await, callers[0].acknowledged_balance(), "nor is it visible");
        tokio::task::block_in_place(|| drop(strace));
        callers = resend(&client, callers).await;
    }
    holds_after_a_crash(process, &database, &callers, test).await;
}

/// A small disk of memory, unmounted when dropped.
pub struct Disk {
    dir: TempDir,
    size: u64,
}

impl Disk {
    /// `None`, after saying so, where this is not allowed.
    pub fn mount(test: &str, mib: u64) -> Option<Self> {
        let [mount, _] = optional::programs(test, ["mount", "umount"])?;
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let mounted = Command::new(mount).args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output().unwrap();
        if mounted.status.success() {
            return Some(Self { dir, size: mib * MIB });
        }
        optional::skip(test, &format!("needs to mount: {}", String::from_utf8_lossy(&mounted.stderr)));
        None
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn database(&self) -> PathBuf {
        self.path().join("wallet.db")
    }

    /// Fills the disk but for so many bytes. It is never fuller than that, not even for a moment.
    pub fn fill_but(&self, bytes: u64) {
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        let left = self.size.saturating_sub(files.sum::<u64>() + bytes);
        let mut ballast = File::create(self.dir.path().join("ballast")).unwrap();
        for _ in 0..left.div_ceil(4_096) {
            if let Err(error) = ballast.write_all(&[0; 4_096]) {
                assert_eq!(error.kind(), ErrorKind::StorageFull);
                return;
            }
        }
    }

    /// Takes back what fills it.
    pub fn free(&self) {
        fs::remove_file(self.dir.path().join("ballast")).unwrap();
    }

    /// The size of a file on it; 0 if there is none.
    fn size(&self, name: &str) -> u64 {
        fs::metadata(self.dir.path().join(name)).map_or(0, |metadata| metadata.len())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_turns_health_although_no_command_comes() {
    let Some(disk) = Disk::mount("a full disk while it is quiet", 16) else { return };
    let process = Process::start(&disk.database());
    let mut health = Health::of(&process).await;
    disk.fill_but(0);
    health.becomes(false).await;
    disk.free();
    health.becomes(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_refuses_what_writes_and_serves_what_reads() {
    let test = "a full disk";
    let Some(disk) = Disk::mount(test, 16) else { return };
    let process = Process::start(&disk.database());
    let client = process.client().await;
    let mut health = Health::of(&process).await;
    let mut callers = callers(&client, 9).await;
    for _ in 0..2 {
        disk.fill_but(MIB / 2);
        callers = load(&client, callers, 0, || ()).await;
        health.becomes(false).await;
        callers = stays_down(&mut health, &client, callers).await;
        disk.free();
        health.becomes(true).await;
        callers = resend(&client, callers).await;
    }
    holds_after_a_crash(process, &disk.database(), &callers, test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_under_load_is_logged_when_it_begins_and_ends_and_counted_in_between() {
    let Some(disk) = Disk::mount("the log of an outage", 16) else { return };
    let process = Process::start(&disk.database());
    let client = process.client().await;
    let mut health = Health::of(&process).await;
    let mut callers = callers(&client, 9).await;
    disk.fill_but(MIB / 2);
    let (begun, mut failed) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(5) {
        callers = load(&client, callers, 0, || ()).await;
        failed += callers.len();
    }
    disk.free();
    health.becomes(true).await;
    let log = process.terminate_and_log();
    let mut lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    // Each deposit has its line of the audit log, whatever becomes of it.
    lines.retain(|line| line["target"] != "wallet.audit");
    let of = |message: &str| lines.iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    println!("{failed} callers failed in five seconds, {} lines of log", lines.len());
    assert!(failed > 100 && lines.len() <= 20, "{failed} failed: {log}");
    let down = of("health is down: the ledger cannot commit");
    assert!(!down.is_empty(), "{log}");
    let error = down[0]["error"].as_str().expect("a cause");
    assert!(error.starts_with("the store failed: the database is unavailable: "), "{error}");
    assert!(down[0]["batch_size"].as_u64() >= Some(1) && down[0]["elapsed_ms"].is_u64(), "{log}");
    let up = of("health is up: the ledger can commit");
    assert!(up.last().is_some_and(|line| line["down_ms"].is_u64() && line["failed_commands"].is_u64()), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_at_the_checkpoint_loses_nothing() {
    let test = "a disk full at the checkpoint";
    let Some(disk) = Disk::mount(test, 40) else { return };
    // Small commits fill a WAL with few commands.
    let process = Process::start_with(wallet(), &disk.database(), &["--batch-size-max", "1"]);
    let client = process.client().await;
    let mut health = Health::of(&process).await;
    let mut callers = callers(&client, 15).await;
    // The WAL grows until a checkpoint moves it into the database, which then has no space to grow.
    let playing = load(&client, callers, usize::MAX, || ());
    let filled = async {
        while disk.size("wallet.db-wal") < 18 * MIB {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        disk.fill_but(CHECKPOINT_AT + MIB / 4 - disk.size("wallet.db-wal"));
    };
    let played;
    (played, ()) = tokio::join!(playing, filled);
    callers = played;
    let (wal, database) = (disk.size("wallet.db-wal"), disk.size("wallet.db"));
    assert!(database > 32 * 1024, "a checkpoint began: {database}");
    println!("{test}: the WAL reached {} KiB, the database {} KiB", wal / 1024, database / 1024);
    health.becomes(false).await;
    callers = stays_down(&mut health, &client, callers).await;
    disk.free();
    health.becomes(true).await;
    callers = resend(&client, callers).await;
    holds_after_a_crash(process, &disk.database(), &callers, test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_at_the_start_is_named_and_nothing_is_touched() {
    let test = "a disk full at the start";
    let Some(disk) = Disk::mount(test, 16) else { return };
    let database = disk.database();
    let process = Process::start(&database);
    let mut callers = callers(&process.client().await, 3).await;
    callers = load(&process.client().await, callers, 30, || process.signal("TERM")).await;
    assert!(process.terminate().0.success());
    let before = fs::read(&database).unwrap();
    disk.fill_but(0);
    let url = database_url(&database);
    let (_, stderr, code) = run(&["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--database-url", &url]);
    assert_eq!((code, stderr.trim().lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("wallet.db"), "{stderr}");
    assert!(fs::read(&database).unwrap() == before, "the database is as it was");
    disk.free();
    let process = Process::start(&database);
    callers = resend(&process.client().await, callers).await;
    holds_after_a_crash(process, &database, &callers, test).await;
}
