//! PostgreSQL and `pgbench`: the same charge as a transaction of statements or as a function on the server, one
//! connection for each client.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::start::{free_port, output, wait_until};
use crate::measure::{Form, PgBench};
use crate::process::Process;
use crate::sample::{Latencies, Sample};
use crate::wallets::{COUNT, OPENING};

const SCHEMA: &str = include_str!("schema.sql");
const CHARGE: &str = include_str!("charge.sql");
const FUNCTION: &str = include_str!("function.sql");

/// The events of one run of pgbench end before those of the next begin.
const EVENTS_A_RUN: i64 = 1 << 40;

pub struct Postgres {
    server: Process,
    standby: Option<Process>,
    tools: Tools,
    runs: i64,
    transactions: i64,
}

/// How its programs are run.
struct Tools {
    bin: PathBuf,
    dir: TempDir,
    port: String,
    /// Whom its programs run as instead of root, which they refuse.
    user: Option<(u32, u32)>,
}

impl Tools {
    fn find(dir: &Path) -> Result<Self, String> {
        let bin = find_bin().ok_or("initdb is neither on the PATH nor under /usr/lib/postgresql")?;
        let dir = TempDir::new_in(dir.parent().unwrap_or(dir)).map_err(|error| error.to_string())?;
        let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let user = if root { Some(unprivileged().ok_or("there is no user for it but root")?) } else { None };
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid)).map_err(|error| error.to_string())?;
        }
        Ok(Self { bin, dir, port: free_port().to_string(), user })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(self.dir.path()).env("LC_ALL", "C");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// A program that connects to the server.
    fn client(&self, program: &str) -> Command {
        let mut command = self.command(program);
        command.args(["-h", "127.0.0.1", "-p", &self.port, "-U", "wallet"]);
        command
    }

    /// Starts a server on the cluster in this folder.
    fn serve(&self, cluster: &str, port: &str, log: File) -> Result<Process, String> {
        let mut command = self.command("postgres");
        command.args(["-D", cluster, "-h", "127.0.0.1", "-p", port, "-k", "", "-c", "max_connections=200"]);
        let server = command.stdout(Stdio::null()).stderr(log).spawn().map_err(|error| error.to_string())?;
        Ok(Process(server))
    }

    fn query(&self, sql: &str) -> Result<String, String> {
        output(self.client("psql").args(["-qtA", "-d", "postgres", "-c", sql]))
    }
}

impl Postgres {
    /// Starts a new cluster with the settings that it comes with.
    pub fn start(dir: &Path) -> Result<Self, String> {
        let tools = Tools::find(dir)?;
        output(tools.command("initdb").args(["-D", "cluster", "-A", "trust", "-U", "wallet", "--no-sync"]))?;
        let log = File::create(tools.dir.path().join("log")).map_err(|error| error.to_string())?;
        let server = tools.serve("cluster", &tools.port, log)?;
        wait_until(|| tools.query("select 1").is_ok())?;
        for (name, text) in [("schema.sql", SCHEMA), ("charge.sql", CHARGE), ("function.sql", FUNCTION)] {
            fs::write(tools.dir.path().join(name), text).map_err(|error| error.to_string())?;
        }
        let variables = ["-v", &format!("users={COUNT}"), "-v", &format!("opening={OPENING}")];
        let mut psql = tools.client("psql");
        output(psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f", "schema.sql"]).args(variables))?;
        Ok(Self { server, standby: None, tools, runs: 0, transactions: 0 })
    }

    /// The same server, with a standby on the same disk that each commit waits for.
    pub fn with_standby(mut self) -> Result<Self, String> {
        let port = free_port().to_string();
        output(self.tools.client("pg_basebackup").args(["-D", "standby", "-R", "-X", "stream", "-c", "fast"]))?;
        let log = File::create(self.tools.dir.path().join("standby-log")).map_err(|error| error.to_string())?;
        let standby = self.tools.serve("standby", &port, log)?;
        self.standby = Some(standby);
        self.tools.query("alter system set synchronous_standby_names = '*'")?;
        self.tools.query("select pg_reload_conf()")?;
        let is_sync = "select count(*) from pg_stat_replication where sync_state = 'sync'";
        wait_until(|| self.tools.query(is_sync).is_ok_and(|count| count.trim() == "1"))?;
        Ok(self)
    }

    /// The URL of a new database for a ledger.
    pub fn ledger_url(&self) -> String {
        self.tools.query("create database ledger").expect("a database");
        format!("postgres://wallet@127.0.0.1:{}/ledger", self.tools.port)
    }

    /// Measures charges. `pgbench` takes whole seconds.
    pub fn charge(&mut self, PgBench { clients, form, .. }: PgBench, time: Duration) -> Sample {
        let seconds = time.as_secs_f64().ceil();
        self.runs += 1;
        let mut pgbench = self.tools.client("pgbench");
        let script = match form {
            Form::Statements => "charge.sql",
            Form::Function => "function.sql",
        };
        pgbench.args(["-n", "-M", "prepared", "-j", "2", "-f", script, "-D", "n=0"]);
        pgbench.args(["-c", &clients.to_string(), "-T", &seconds.to_string(), "-D", &format!("clients={clients}")]);
        pgbench.args(["-D", &format!("users={COUNT}"), "-D", &format!("base={}", self.runs * EVENTS_A_RUN)]);
        let said = output(pgbench.arg("postgres")).expect("pgbench charges");
        let found = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.split(' ').next());
        assert_eq!(found("number of failed transactions: "), Some("0"), "{said}");
        let transactions = found("number of transactions actually processed: ");
        self.transactions += transactions.and_then(|number| number.parse::<i64>().ok()).expect("a number");
        // This rate leaves out the time that connecting took.
        let rate: f64 = found("tps = ").and_then(|rate| rate.parse().ok()).expect("a number");
        let operations = rate * seconds;
        Sample { operations, seconds, latencies: Latencies::new(), usage: None }
    }

    /// Proves that it holds every charge that it answered, and ends it.
    pub fn finish(mut self) {
        let charged = "select (select count(*) from entry), (select sum(balance) from wallet)";
        let (entries, balances) = (self.transactions, COUNT * OPENING - self.transactions);
        assert_eq!(self.tools.query(charged).expect("two numbers").trim(), format!("{entries}|{balances}"));
        self.standby.iter_mut().for_each(Process::end);
        self.server.end();
    }
}

/// The folder of its programs: on the `PATH`, or the newest that a package installed.
fn find_bin() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let whole = |dir: &PathBuf| {
        ["initdb", "postgres", "psql", "pgbench", "pg_basebackup"].iter().all(|name| dir.join(name).exists())
    };
    if let Some(dir) = env::split_paths(&path).find(whole) {
        return Some(dir);
    }
    let packages = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let version = |dir: &PathBuf| dir.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    packages.map(|package| package.path().join("bin")).filter(whole).max_by_key(version)
}

/// The user and group ids of a user other than root.
fn unprivileged() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let ids = |name: &str| {
        let user = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|user| user[0] == name)?;
        Some((user.get(2)?.parse().ok()?, user.get(3)?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody"))
}
