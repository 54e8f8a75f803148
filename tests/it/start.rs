//! The start of the service: when its ports open, what ends it, and a clock that cannot be right.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use wallet::engine::{Clock as _, SystemClock};
use wallet::store::sqlite;

use crate::support::process::{Process, database_url, run, wallet};
use crate::support::store::{at, close, open, open_sqlite, transact};

/// An address that nobody has.
fn free_addr() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Starts the service on a database that cannot be opened as long as the connection holds its lock.
fn start_locked(database: &Path, http: SocketAddr, grpc: SocketAddr) -> (rusqlite::Connection, Child) {
    let lock = rusqlite::Connection::open(database).unwrap();
    lock.execute_batch("begin immediate").unwrap();
    let (http, grpc, url) = (http.to_string(), grpc.to_string(), database_url(database));
    let mut command = wallet();
    command.args(["--http-addr", &http, "--grpc-addr", &grpc, "--database-url", &url, "--log-format", "json"]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    // It has bound its addresses when it opens the lock file, and then it waits for the database's own lock.
    let begun = Instant::now();
    while !has_open(&child, "wallet.db-lock") {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not begin to start");
        std::thread::sleep(Duration::from_millis(10));
    }
    (lock, child)
}

/// Whether a process has a file of this name open.
fn has_open(process: &Child, name: &str) -> bool {
    let files = fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap();
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|path| path.ends_with(name)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ports_are_closed_until_the_ledger_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    close(open_sqlite(&database).await).await;
    let addrs = [free_addr(), free_addr()];
    let (lock, mut child) = start_locked(&database, addrs[0], addrs[1]);
    for addr in addrs {
        assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    drop(lock);
    let begun = Instant::now();
    while !addrs.iter().all(|addr| TcpStream::connect(addr).is_ok()) {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not serve");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_takes_long_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    close(open_sqlite(&database).await).await;
    let (lock, child) = start_locked(&database, free_addr(), free_addr());
    let status = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
    let ended = child.wait_with_output().unwrap();
    let log = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && log.contains("stopped") && !log.contains("serving"), "{log}");
    drop(lock);
    sqlite::audit(&database, None).unwrap().unwrap();
}

/// A ledger whose last commit is so many seconds ahead of this machine's clock.
async fn ledger_from_the_future(database: &Path, seconds: i64) {
    let moment = at(SystemClock.now().microseconds() + seconds * 1_000_000);
    let mut store = open_sqlite(database).await;
    transact(&mut store, &[open(1, 1_000)], moment).unwrap();
    close(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_from_the_future_is_served_only_if_the_clock_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    ledger_from_the_future(&database, 10 * 365 * 24 * 3_600).await;
    let url = database_url(&database);
    let args = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--database-url", &url];
    let (_, stderr, code) = run(&args);
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("the ledger's last commit is of 20") && stderr.contains("the clock says 20"), "{stderr}");
    assert!(stderr.contains("--accept-clock"), "{stderr}");

    let process = Process::start_with(wallet(), &database, &["--accept-clock"]);
    assert_eq!(process.client().await.balance(1).await, 1_000);
    let log = process.terminate_and_log();
    assert!(log.contains("entries get the time of the last commit until the clock has passed it"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_a_little_behind_is_no_reason_not_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    ledger_from_the_future(&database, 50).await;
    let process = Process::start(&database);
    assert_eq!(process.client().await.balance(1).await, 1_000);
    assert!(!process.terminate_and_log().contains("WARN"));
}
