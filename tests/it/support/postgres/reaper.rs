//! What ends a server and removes its files when this process ends, however it ends.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::{fs, io::Write as _};

/// It reads a process id from its input, that of the server or of a program that prepares it, and an empty line when
/// that has ended. When its input ends, it ends that process at once, waits for its end, and removes the folder.
///
/// A server that was killed left its lock file, and a segment of shared memory that the seventh line names.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
  children=$(cat "/proc/$pid/task/$pid/children")
  kill -s QUIT "$pid"
  kill -s CONT "$pid" $children
  while grep -q '^State:[[:space:]]*[^XZ]' "/proc/$pid/status"; do sleep 0.02; done
fi
set -- "$1" $(sed -n 7p "$1/data/postmaster.pid")
if [ -n "$3" ]; then ipcrm -m "$3"; fi
rm -rf "$1"
"#;

/// A process that outlives this one for as long as it takes to clean up.
pub struct Reaper {
    folder: PathBuf,
    sh: Child,
    /// The other end is the process's input. The system closes this end when this process ends.
    input: Option<ChildStdin>,
}

impl Reaper {
    /// Makes a temporary folder that it will remove.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("wallet-postgres-").tempdir().expect("a temporary folder").keep();
        let mut sh = Command::new("sh");
        sh.args(["-c", SCRIPT, "sh"]).arg(&folder).current_dir("/");
        // In a group of its own, it does not get the signals of a terminal.
        sh.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut sh = sh.spawn().inspect_err(|_| fs::remove_dir(&folder).unwrap_or_default()).expect("sh starts");
        let input = sh.stdin.take();
        Self { folder, sh, input }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Tells it which process uses the folder now, if one does.
    pub fn watch(&mut self, process: Option<u32>) {
        let id = process.map(|id| id.to_string()).unwrap_or_default();
        let input = self.input.as_mut().expect("it was not told to end");
        writeln!(input, "{id}").expect("it reads");
    }

    /// Has it end that process.
    pub fn end(&mut self) {
        self.input = None;
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.end();
        let _ = self.sh.wait();
    }
}
