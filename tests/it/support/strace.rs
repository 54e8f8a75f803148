//! System calls of a running process that fail, or kill it, by `strace`: faults at an exact place, with no code for
//! them in the program.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::optional;
use crate::support::process::{Process, without_settings};

/// An `strace` that is attached to a process, detached when dropped.
pub struct Strace {
    child: Child,
}

impl Strace {
    /// Attaches to `process` and injects what `inject` says, as strace's manual has it (`fdatasync:error=EIO`), and
    /// returns when it does. `None`, after saying so, where that is not possible.
    pub fn attach(test: &str, process: &Process, inject: &str) -> Option<Self> {
        let [strace] = optional::programs(test, ["strace"])?;
        let calls = inject.split(':').next().expect("the calls");
        let mut child = Command::new(strace)
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &format!("inject={inject}")])
            .args(["-p", &process.id().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("its standard error"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a line");
        if !line.contains("attached") {
            let _ = child.wait();
            optional::skip(test, &format!("needs to trace a process: {line}"));
            return None;
        }
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Some(Self { child })
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// Has `run` start and end a program under `strace`, and returns its calls, a line each: `calls` says which, as strace
/// has it (`all`, `openat`). What the program starts is traced as well.
///
/// `None`, after saying so, where that is not possible.
pub fn trace(test: &str, calls: &str, program: &Command, run: impl FnOnce(Command)) -> Option<Vec<String>> {
    let [strace] = optional::programs(test, ["strace"])?;
    let tried = Command::new(&strace).args(["-o", "/dev/null", "true"]).output().expect("strace starts");
    if !tried.status.success() {
        optional::skip(test, &format!("needs to trace a process: {}", String::from_utf8_lossy(&tried.stderr)));
        return None;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("trace");
    let mut command = without_settings(strace);
    // With -D, what is started is the program itself, and a signal reaches it.
    command.args(["-D", "-f", "-s", "4096", "-e", &format!("trace={calls}"), "-o"]).arg(&file);
    command.arg(program.get_program()).args(program.get_args());
    run(command);
    // strace writes its last line a little later than the program ends.
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let program = text.split_whitespace().next().unwrap_or_default();
        let mut lines = text.lines();
        if lines.any(|line| line.split_once(' ').is_some_and(|(id, what)| id == program && what.contains("+++ "))) {
            return Some(text.lines().map(ToOwned::to_owned).collect());
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the program or strace does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}
