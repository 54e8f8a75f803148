//! The program, this build of it or an older one, and processes that end with the benchmark.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A child process that is ended when dropped.
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

/// Where a ledger is kept.
#[derive(Clone)]
pub enum LedgerUrl {
    Sqlite(PathBuf),
    Postgres(String),
}

impl fmt::Display for LedgerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => f.write_str(url),
        }
    }
}

/// A build of `wallet`.
#[derive(Clone)]
pub enum Program {
    /// The one that this benchmark was compiled with.
    Present,
    /// An older one, whose database and library may differ.
    Old(PathBuf),
}

impl Program {
    pub fn path(&self) -> &Path {
        match self {
            Self::Present => Path::new(env!("CARGO_BIN_EXE_wallet")),
            Self::Old(path) => path,
        }
    }

    /// One of its subcommands, over a ledger.
    pub fn command(&self, subcommand: &str, ledger: &LedgerUrl) -> Command {
        let mut command = Command::new(self.path());
        command.arg(subcommand).arg("--database-url").arg(ledger.to_string());
        command
    }

    /// Runs `wallet verify`, and returns how long it took.
    ///
    /// # Panics
    /// If the program finds the ledger wrong.
    pub fn verify(&self, ledger: &LedgerUrl) -> Duration {
        let started = Instant::now();
        let output = self.command("verify", ledger).output().expect("the program starts");
        let took = started.elapsed();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        took
    }

    /// How many entries a ledger has, which `wallet verify` finds right.
    ///
    /// # Panics
    /// If the program finds the ledger wrong.
    pub fn verified_entries(&self, ledger: &LedgerUrl) -> i64 {
        let output = self.command("verify", ledger).arg("--json").output().expect("the program starts");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        report["Entries"].as_i64().unwrap_or_else(|| panic!("{report}"))
    }

    /// Its path, with the version that it prints.
    pub fn describe(&self) -> Result<String, String> {
        let path = self.path().display();
        let output = Command::new(self.path()).arg("--version").output().map_err(|error| format!("{path}: {error}"))?;
        let version = String::from_utf8_lossy(&output.stdout);
        match version.trim() {
            version if output.status.success() && version.starts_with("wallet ") => Ok(format!("{path} ({version})")),
            version => Err(format!("{path} is not a wallet: --version prints {version:?}")),
        }
    }
}
