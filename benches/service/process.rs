//! The real program, as a process of its own, and what the system says about it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::wallets::Wallets;

/// Ticks of `/proc/*/stat` in a second: what Linux shows to programs, on every architecture that this runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// A child that is ended when dropped.
pub struct Process(pub Child);

impl Process {
    /// Asks it to end (`SIGTERM`), and waits until it has.
    pub fn end(&mut self) {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status().is_ok_and(|status| status.success());
        if !asked {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

/// A running service over one ledger.
pub struct Service {
    process: Process,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub path: PathBuf,
    pub wallets: Arc<Wallets>,
    /// From the start of the program until it served.
    pub start_up: Duration,
    /// Its memory when it had served nobody yet.
    pub idle_mib: f64,
}

impl Service {
    /// Starts the program on any free ports, and returns when it serves.
    pub fn start(path: &Path, wallets: &Arc<Wallets>) -> Self {
        let started = Instant::now();
        let mut child = wallet("serve", path)
            .args(["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--log-format", "json"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut logs = BufReader::new(child.stderr.take().expect("its standard error")).lines().map_while(Result::ok);
        let addresses = |line: String| {
            let line: serde_json::Value = serde_json::from_str(&line).ok()?;
            let addr = |name: &str| line[name].as_str().and_then(|addr| addr.parse().ok());
            addr("http").zip(addr("grpc"))
        };
        let (http, grpc) = logs.find_map(addresses).expect("it says where it serves");
        let start_up = started.elapsed();
        // What it logs from now on must be read, or it would block on a full pipe; and if it warns, that is worth seeing.
        let warnings = logs.filter(|line| !line.contains(r#""level":"INFO""#));
        std::thread::spawn(move || warnings.for_each(|line| eprintln!("{line}")));
        let idle_mib = memory_mib(child.id(), "VmRSS:");
        Self {
            process: Process(child),
            http,
            grpc,
            path: path.to_owned(),
            wallets: Arc::clone(wallets),
            start_up,
            idle_mib,
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Ends it and proves that its ledger holds what it answered.
    pub fn verify(mut self) -> Duration {
        self.process.end();
        verify(&self.path, &self.wallets)
    }
}

/// The program, with a database.
fn wallet(task: &str, path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wallet"));
    command.arg(task).arg("--database-url").arg(format!("sqlite://{}", path.display()));
    command
}

/// Has the program verify a ledger, and compares it with what was answered; returns how long the program took.
///
/// # Panics
/// If a single cent is not where it should be.
pub fn verify(path: &Path, wallets: &Wallets) -> Duration {
    let started = Instant::now();
    let output = wallet("verify", path).output().expect("the program starts");
    let took = started.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("it opens");
    check_rows(&connection, wallets);
    took
}

/// Compares the tables `entry` and `wallet` with the charges that were answered.
pub fn check_rows(connection: &Connection, wallets: &Wallets) {
    let entries: i64 = connection.query_row("select count(*) from entry", [], |row| row.get(0)).expect("a number");
    assert_eq!(entries, wallets.entries(), "every charge that was answered is there, and nothing else");
    let mut select = connection.prepare("select user_id, balance from wallet").expect("it has wallets");
    let mut rows = select.query([]).expect("it can be read");
    while let Some(row) = rows.next().expect("it can be read") {
        let (user, balance): (i64, i64) = row.get(0).and_then(|user| Ok((user, row.get(1)?))).expect("two numbers");
        assert_eq!(balance, wallets.balance(user), "the balance of user {user}");
    }
}

/// What the service and this load generator have used, or used within a while.
#[derive(Clone, Copy)]
pub struct Usage {
    at: Instant,
    /// Seconds of processor time; cores, within a while.
    pub service: f64,
    pub load: f64,
    /// Bytes that went to the disk.
    pub written: f64,
}

impl Usage {
    pub fn of(pid: u32) -> Self {
        let service = processor_seconds(&format!("/proc/{pid}/stat"));
        let load = processor_seconds("/proc/self/stat");
        Self { at: Instant::now(), service, load, written: field(&format!("/proc/{pid}/io"), "write_bytes:") }
    }

    pub fn since(self, before: Self) -> Self {
        let seconds = (self.at - before.at).as_secs_f64();
        Self {
            service: (self.service - before.service) / seconds,
            load: (self.load - before.load) / seconds,
            written: self.written - before.written,
            ..self
        }
    }
}

fn processor_seconds(path: &str) -> f64 {
    let stat = fs::read_to_string(path).expect("Linux says what a process used");
    // The name of the program, in brackets, may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_A_SECOND
}

/// The memory of a process that is in RAM now (`VmRSS:`) or was at the most (`VmHWM:`), in MiB.
pub fn memory_mib(pid: u32, name: &str) -> f64 {
    field(&format!("/proc/{pid}/status"), name) / 1024.0
}

fn field(path: &str, name: &str) -> f64 {
    let text = fs::read_to_string(path).expect("Linux says what a process used");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the field is there");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
