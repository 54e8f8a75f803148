//! A build of the program that verifies a ledger, and what that takes.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ticks of `/proc/*/stat` in a second: the same for programs on every architecture that the service runs on.
const TICKS_PER_SECOND: u64 = 100;
/// How often the memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A build of `wallet`.
pub struct Program(PathBuf);

/// What one `wallet verify` took.
pub struct Run {
    pub took: Duration,
    /// Of all its threads together.
    pub processor: Duration,
    /// The most that it had in memory, without the system's cache of the file.
    pub memory_mib: u64,
}

impl Program {
    /// The one that this benchmark was compiled with.
    pub fn present() -> Self {
        Self(env!("CARGO_BIN_EXE_wallet").into())
    }

    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Runs `wallet verify`.
    ///
    /// # Panics
    /// If the program finds the ledger wrong.
    pub fn verify(&self, ledger: &Path) -> Run {
        let mut command = Command::new(&self.0);
        command.arg("verify").arg("--database-url").arg(format!("sqlite://{}", ledger.display()));
        let (started, before) = (Instant::now(), children());
        let mut child = command.stdout(Stdio::null()).spawn().expect("the program starts");
        let mut memory_mib = 0;
        let status = loop {
            memory_mib = memory_mib.max(memory(&child));
            match child.try_wait().expect("it can be waited for") {
                Some(status) => break status,
                None => std::thread::sleep(LOOK),
            }
        };
        assert!(status.success(), "{self} found the ledger wrong");
        Run { took: started.elapsed(), processor: children().saturating_sub(before), memory_mib }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// The processor time of all children that have ended.
fn children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux says what a process used");
    // The name of the program, in brackets, may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(13).take(2);
    let ticks: u64 = fields.map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

/// The memory of a child so far, at the most; 0 once it has ended.
fn memory(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("KiB") / 1024
}
