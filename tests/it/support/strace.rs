//! System calls of a running process that fail, or kill it, by `strace`: faults at an exact place, with no code for
//! them in the program.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::optional;
use crate::support::process::Process;

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
