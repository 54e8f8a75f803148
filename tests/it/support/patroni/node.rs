//! One node: a Patroni with its PostgreSQL, and what can happen to it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::network::{Network, Place};
use crate::support::http::HttpClient;
use crate::support::postgres::Installation;

/// The configuration that is deployed.
const DEPLOYED: &str = include_str!("../../../../deploy/patroni/patroni.yaml");

/// The wallet's database, and what the wallet calls itself.
pub const WALLET: &str = "wallet";

/// The owner of that database, and its password here.
pub const OWNER: &str = "wallet_owner";

/// The user who may do everything.
pub const SUPERUSER: &str = "postgres";

/// How nodes are started.
pub struct Programs {
    pub patroni: PathBuf,
    pub postgres: Installation,
    /// What runs a program as a user who is not root.
    pub as_user: Vec<OsString>,
}

/// A node, which its cluster ends.
pub struct Node {
    pub name: String,
    pub http: HttpClient,
    place: Place,
    dir: PathBuf,
    command: Vec<OsString>,
    patroni: Mutex<Option<Child>>,
}

impl Node {
    /// Makes its folder and its configuration, the deployed one but for addresses and folders.
    pub fn new(programs: &Programs, network: &Network, etcd: SocketAddr, parent: &Path, number: u8) -> Self {
        let name = format!("db{number}");
        let place = network.place(&name, number);
        let dir = parent.join(&name);
        fs::create_dir(&dir).expect("a folder");
        let config = dir.join("patroni.yaml");
        let text = configured(&name, &place, etcd, &network.block(), &dir, programs.postgres.folder());
        fs::write(&config, text).expect("a file");
        programs.postgres.own(&dir);
        programs.postgres.own(&config);
        let command = place.prefix.iter().chain(&programs.as_user).cloned();
        let command = command.chain([programs.patroni.clone().into(), config.into()]).collect();
        let http = HttpClient::new((place.addr, place.ports[1]).into());
        Self { name, http, place, dir, command, patroni: Mutex::new(None) }
    }

    /// Its address and PostgreSQL's port.
    pub const fn postgres(&self) -> (Ipv4Addr, u16) {
        (self.place.addr, self.place.ports[0])
    }

    /// How its superuser connects.
    pub fn superuser(&self) -> PgConnectOptions {
        self.user(SUPERUSER, "change-me-superuser").database("postgres")
    }

    /// How the owner connects to the wallet's database.
    pub fn wallet(&self) -> PgConnectOptions {
        self.user(OWNER, OWNER).database(WALLET)
    }

    fn user(&self, name: &str, password: &str) -> PgConnectOptions {
        let (addr, port) = self.postgres();
        let options = PgConnectOptions::new_without_pgpass().host(&addr.to_string()).port(port);
        options.username(name).password(password).ssl_mode(PgSslMode::Disable)
    }

    /// Starts it, for the first time or again.
    pub fn start(&self) {
        let log = File::options().create(true).append(true).open(self.dir.join("log")).expect("a log");
        let mut command = Command::new(&self.command[0]);
        // Patroni would take settings from this environment, too. All that it starts has the folder as its own.
        let names = std::env::vars().map(|(name, _)| name);
        for name in names.filter(|name| name.starts_with("PATRONI_") || name.starts_with("PG")) {
            command.env_remove(name);
        }
        command.args(&self.command[1..]).current_dir(&self.dir).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        let child = command.spawn().expect("Patroni starts");
        let before = self.patroni.lock().expect("nobody panicked").replace(child);
        assert!(before.is_none(), "{} runs already", self.name);
    }

    /// Kills PostgreSQL and Patroni with `SIGKILL`, and returns when neither runs.
    pub fn kill(&self) {
        // Whoever could start a process again is among the first that die.
        while self.signal_all(Signal::KILL) > 0 {
            self.reap();
        }
        self.reap();
    }

    /// Kills all of PostgreSQL with `SIGKILL`, as the kernel does when memory runs out. Patroni lives.
    pub fn kill_postgres(&self) {
        for id in processes_in(&self.dir.join("data")) {
            let _ = kill_process(id, Signal::KILL);
        }
    }

    /// Stops every process of the node where it is, with `SIGSTOP`.
    pub fn stop(&self) {
        // One that was being started when the others were stopped is found the next time.
        let mut stopped = 0;
        while stopped < self.signal_all(Signal::STOP) {
            stopped = processes_in(&self.dir).len();
        }
    }

    /// Lets every process go on, with `SIGCONT`.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    /// What Patroni and PostgreSQL logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Sends a signal to every process, and returns how many there are.
    fn signal_all(&self, signal: Signal) -> usize {
        let processes = processes_in(&self.dir);
        for id in &processes {
            // It may have ended by itself.
            let _ = kill_process(*id, signal);
        }
        processes.len()
    }

    fn reap(&self) {
        if let Some(mut patroni) = self.patroni.lock().expect("nobody panicked").take() {
            let _ = patroni.kill();
            let _ = patroni.wait();
        }
    }
}

/// The deployed configuration, as this node has it.
fn configured(name: &str, place: &Place, etcd: SocketAddr, block: &str, dir: &Path, postgres: &Path) -> String {
    let (Place { addr, ports: [sql, api], .. }, dir, postgres) = (place, dir.display(), postgres.display());
    let changes = [
        ("name: db1 ", format!("name: {name} ")),
        ("listen: 0.0.0.0:8008", format!("listen: {addr}:{api}")),
        ("connect_address: db1:8008", format!("connect_address: {addr}:{api}")),
        ("etcd1:2379,etcd2:2379,etcd3:2379", etcd.to_string()),
        ("listen: 0.0.0.0:5432", format!("listen: {addr}:{sql}")),
        ("connect_address: db1:5432", format!("connect_address: {addr}:{sql}")),
        ("/var/lib/postgresql/15/wallet", format!("{dir}/data")),
        ("/usr/lib/postgresql/15/bin", postgres.to_string()),
        ("/var/lib/postgresql/patroni.pgpass", format!("{dir}/pgpass")),
        ("/var/run/postgresql", dir.to_string()),
        ("10.0.0.0/8 ", format!("{block} ")),
        // It would reset the machine that runs the tests.
        ("mode: automatic", "mode: off".to_owned()),
    ];
    let mut text = DEPLOYED.to_owned();
    for (deployed, here) in changes {
        assert!(text.contains(deployed), "Patroni is not configured with `{deployed}`");
        text = text.replace(deployed, &here);
    }
    text
}

/// The processes whose working folder is this one or lies in it; Patroni is the first.
fn processes_in(folder: &Path) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("a list of processes").flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        // One that has ended meanwhile has no folder, and neither has one of another user.
        let (Some(id), Ok(cwd)) = (id, fs::read_link(entry.path().join("cwd"))) else { continue };
        if cwd.starts_with(folder) {
            found.push((cwd, id));
        }
    }
    found.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    found.into_iter().map(|(_, id)| id).collect()
}
