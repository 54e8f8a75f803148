//! A server that a test may stop, kill and pause.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::Signal;
use tokio::net::TcpSocket;

use super::installation::assert_success;
use super::{Database, Installation, processes, reaper::Reaper};

/// What every server is started with. A commit is on disk before it is answered, as in production.
const SETTINGS: [(&str, &str); 8] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("max_connections", "400"),
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    // In the server's folder, so that a server that is killed leaves nothing elsewhere.
    ("dynamic_shared_memory_type", "mmap"),
    // A standby that was away finds what it missed.
    ("wal_keep_size", "256MB"),
    ("lc_messages", "C"),
];

/// The superuser of every server.
const USER: &str = "postgres";

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It ends each session, and its data is whole.
    Fast,
    /// It breaks off, and recovers when it starts again.
    Immediate,
    /// All of its processes are killed at once. It recovers when it starts again.
    Kill,
}

/// A server of its own, on a port that it keeps. Ended when dropped, or when this process ends, with all its files.
pub struct Server {
    installation: Installation,
    settings: Vec<(String, String)>,
    addr: SocketAddr,
    // Holds the port while the server is stopped, and never listens.
    _port: TcpSocket,
    running: Option<Child>,
    frozen: Vec<u32>,
    log: Log,
    reaper: Reaper,
}

/// What it logged since it was first started.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Server {
    /// Starts one with these settings besides the usual ones. `None`, after saying so, if PostgreSQL is missing.
    ///
    /// # Panics
    /// With its log, if it does not start.
    pub fn start_own(test: &str, settings: &[(&str, &str)]) -> Option<Self> {
        let mut server = Self::new(Installation::find(test)?, settings);
        let mut initdb = server.installation.command("initdb");
        initdb.args(["-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync", "-D"]).arg(server.data());
        server.prepare(initdb);
        server.start();
        Some(server)
    }

    /// Starts a standby that follows `primary`.
    ///
    /// # Panics
    /// With its log, if it does not start.
    pub fn standby_of(primary: &Self, settings: &[(&str, &str)]) -> Self {
        let mut server = Self::new(primary.installation.clone(), settings);
        let mut backup = server.installation.command("pg_basebackup");
        backup.args(["-h", "127.0.0.1", "-p", &primary.addr.port().to_string(), "-U", USER]);
        backup.args(["-R", "--checkpoint=fast", "--no-sync", "-D"]).arg(server.data());
        server.prepare(backup);
        server.start();
        server
    }

    fn new(installation: Installation, settings: &[(&str, &str)]) -> Self {
        let reaper = Reaper::start();
        installation.own(reaper.folder());
        let port = TcpSocket::new_v4().expect("a socket");
        port.set_reuseaddr(true).expect("an option");
        port.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let addr = port.local_addr().expect("its address");
        let settings = SETTINGS.iter().chain(settings).map(|(name, value)| (String::from(*name), String::from(*value)));
        let settings = settings.collect();
        let (frozen, log) = (Vec::new(), Log::default());
        Self { installation, settings, addr, _port: port, running: None, frozen, log, reaper }
    }

    /// Runs a program that fills its folder. The reaper waits for that one too: `initdb` would leave shared memory
    /// behind if its folder was removed while it runs.
    fn prepare(&mut self, mut program: Command) {
        program.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = program.spawn().expect("it starts");
        self.reaper.watch(Some(child.id()));
        let output = child.wait_with_output().expect("it ends");
        self.reaper.watch(None);
        assert_success(&program, &output);
    }

    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its folder of data.
    pub fn data(&self) -> PathBuf {
        self.reaper.folder().join("data")
    }

    /// The URL of its superuser and of the database that every server has.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@{}/postgres", self.addr)
    }

    /// Creates a database on it, which stays for as long as the server does.
    pub fn database(&self, test: &str) -> Database {
        Database::create_on(&self.url(), test)
    }

    /// What it logged until now.
    pub fn log(&self) -> String {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts it again on the same port and data, and returns when it takes connections.
    ///
    /// # Panics
    /// With its log, if it does not start; and if it runs.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let mut command = self.installation.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.addr.port().to_string()]);
        for (name, value) in &self.settings {
            command.args(["-c", &format!("{name}={value}")]);
        }
        // In a group of its own, it does not get the signals of a terminal before the tests have ended.
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        self.reaper.watch(Some(child.id()));
        let lines = BufReader::new(child.stderr.take().expect("its log"));
        self.running = Some(child);
        if let Err(log) = self.log.follow_until_ready(lines) {
            self.stop(Stop::Immediate);
            panic!("PostgreSQL does not start:\n{log}");
        }
    }

    /// Stops it, and returns when it has ended.
    ///
    /// # Panics
    /// If it does not run.
    pub fn stop(&mut self, how: Stop) {
        let mut running = self.running.take().expect("it runs");
        let id = running.id();
        self.resume();
        match how {
            Stop::Fast => processes::send(id, Signal::INT),
            Stop::Immediate => processes::send(id, Signal::QUIT),
            Stop::Kill => processes::kill(id),
        }
        running.wait().expect("it ends");
        self.reaper.watch(None);
    }

    /// Freezes all of its processes (`SIGSTOP`), and returns when none runs. Its connections stay, and are silent.
    ///
    /// # Panics
    /// If it does not run.
    pub fn pause(&mut self) {
        self.frozen = processes::freeze(self.running.as_ref().expect("it runs").id());
    }

    /// Lets what is paused go on (`SIGCONT`).
    pub fn resume(&mut self) {
        processes::thaw(&self.frozen);
        self.frozen.clear();
    }

    /// Makes a standby a primary, and returns when it takes writes.
    ///
    /// # Panics
    /// If it is no standby.
    pub fn promote(&self) {
        let mut promote = self.installation.command("pg_ctl");
        let output = promote.args(["promote", "-w", "-D"]).arg(self.data()).output().expect("it starts");
        assert_success(&promote, &output);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The reaper waits until the server has ended, and that takes a parent which waits for its child.
        self.reaper.end();
        if let Some(running) = &mut self.running {
            let _ = running.wait();
        }
    }
}

impl Log {
    /// Reads until the server takes connections, and from then on on a thread: a full pipe would stop the server.
    fn follow_until_ready(&self, mut lines: BufReader<ChildStderr>) -> Result<(), String> {
        let mut since = String::new();
        while !since.contains("database system is ready to accept") {
            let Some(line) = self.read(&mut lines) else { return Err(since) };
            since.push_str(&line);
        }
        let log = self.clone();
        thread::spawn(move || while log.read(&mut lines).is_some() {});
        Ok(())
    }

    /// Reads a line; `None` at the end.
    fn read(&self, lines: &mut BufReader<ChildStderr>) -> Option<String> {
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line).ok().filter(|length| *length > 0)?;
        let line = String::from_utf8_lossy(&line).into_owned();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
        Some(line)
    }
}
