//! The program, as a process of its own: to be killed, stopped, traced and measured.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::Client;
use super::optional;

/// Where it listens, unless a test says otherwise.
const ANY_PORTS: [(&str, &str); 2] = [("--http-addr", "127.0.0.1:0"), ("--grpc-addr", "127.0.0.1:0")];

/// A running `wallet serve`, killed when dropped.
pub struct Process {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    /// How long it took until it served.
    pub started_in: Duration,
    child: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

/// What it logged until now.
#[derive(Default)]
struct Log {
    lines: Mutex<String>,
    grown: Condvar,
}

/// The program with no settings of this environment.
pub fn wallet() -> Command {
    without_settings(env!("CARGO_BIN_EXE_wallet"))
}

/// A program that starts the wallet, with no settings of this environment: it would refuse those of the tests.
pub fn without_settings(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WALLET_")) {
        command.env_remove(name);
    }
    command
}

/// The program as a user of this number and of group 0, as container platforms choose them at random.
///
/// `None`, after saying so, where this is not allowed.
pub fn wallet_as(user: &str) -> Option<Command> {
    let test = "the service as another user";
    let [setpriv] = optional::programs(test, ["setpriv"])?;
    let command = || {
        let mut command = without_settings(&setpriv);
        command.args(["--reuid", user, "--regid", "0", "--clear-groups", env!("CARGO_BIN_EXE_wallet")]);
        command
    };
    let tried = command().arg("--version").output().unwrap();
    if !tried.status.success() {
        optional::skip(test, &format!("needs to run it: {}", String::from_utf8_lossy(&tried.stderr)));
        return None;
    }
    Some(command())
}

/// The program's output, its standard error as text, and its exit code. Killed if it runs for far too long.
pub fn run(args: &[&str]) -> (String, String, Option<i32>) {
    let mut command = wallet();
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    let id = child.id().to_string();
    let (ended, has_ended) = mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if has_ended.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-9", &id]).status();
        }
    });
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the program ends");
    drop(ended);
    guard.join().expect("the guard ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (text(stdout), text(stderr), status.code())
}

pub fn database_url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

impl Process {
    /// Starts the program on any free ports, and returns when it serves.
    pub fn start(database: &Path) -> Self {
        Self::start_with(wallet(), database, &[])
    }

    /// The same for a program that ends in being this one, with more flags.
    pub fn start_with(program: Command, database: &Path, flags: &[&str]) -> Self {
        Self::serve(program, &database_url(database), flags)
    }

    /// The same on the database with this URL.
    pub fn serve(mut program: Command, url: &str, flags: &[&str]) -> Self {
        let begun = Instant::now();
        let mut child = program
            .args(["serve", "--database-url", url])
            .args(ANY_PORTS.iter().filter(|(flag, _)| !flags.contains(flag)).flat_map(|(flag, addr)| [flag, addr]))
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut logs = BufReader::new(child.stderr.take().expect("its standard error"));
        let mut lines = String::new();
        let (http, grpc) = loop {
            let start = lines.len();
            let read = logs.read_line(&mut lines).expect("a log line");
            assert_ne!(read, 0, "the program ended before it served: {lines}");
            let Ok(line) = serde_json::from_str::<serde_json::Value>(&lines[start..]) else { continue };
            let addr = |name: &str| line[name].as_str().and_then(|addr| addr.parse().ok());
            if let (Some(http), Some(grpc)) = (addr("http"), addr("grpc")) {
                break (http, grpc);
            }
        };
        // What it logs from now on must be read, or it would block on a full pipe.
        let log = Arc::new(Log { lines: Mutex::new(lines), grown: Condvar::new() });
        let written = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in logs.lines().map_while(Result::ok) {
                written.lines.lock().unwrap_or_else(PoisonError::into_inner).extend([&line, "\n"]);
                written.grown.notify_all();
            }
        });
        Self { http, grpc, started_in: begun.elapsed(), child, log, reader: Some(reader) }
    }

    /// Waits until it has logged this text so many times, from its start on.
    ///
    /// # Panics
    /// If it does not for far too long.
    pub fn wait_for_log(&self, text: &str, count: usize) {
        let lines = self.log.lines.lock().expect("nobody panicked");
        let is_missing = |lines: &mut String| lines.matches(text).count() < count;
        let waited = self.log.grown.wait_timeout_while(lines, Duration::from_secs(60), is_missing);
        let (lines, timeout) = waited.expect("nobody panicked");
        assert!(!timeout.timed_out(), "it does not log {text:?} {count} times: {lines}");
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.http, self.grpc).await
    }

    /// Kills it at once, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }

    /// Sends `SIGTERM` and waits until it has ended, or for too long.
    pub fn terminate(mut self) -> (ExitStatus, Duration) {
        let sent = Instant::now();
        self.signal("TERM");
        (self.wait(), sent.elapsed())
    }

    /// Ends it in order, and returns all that it logged.
    pub fn terminate_and_log(mut self) -> String {
        self.signal("TERM");
        assert!(self.wait().success());
        self.reader.take().expect("it is ended once").join().expect("its log is read");
        self.log.lines.lock().expect("nobody panicked").clone()
    }

    /// All that it logged until now.
    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().expect("kill runs");
        assert!(status.success(), "{name}");
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// The memory that it holds, in MiB.
    pub fn memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("KiB") / 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
