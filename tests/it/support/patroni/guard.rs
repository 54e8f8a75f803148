//! What ends a cluster and removes its folder when the test ends, however it ends.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// It waits for the end of its input. Then it kills every process whose working folder is in the cluster's, until there
/// is none: one that was killed too late may have started another.
///
/// A PostgreSQL that was killed left a segment of shared memory, which the seventh line of its lock file names.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
cat
found=yes
while [ -n "$found" ]; do
  found=
  for process in /proc/[0-9]*; do
    case "$(readlink "$process/cwd")" in
      "$1"|"$1"/*) found=yes; kill -s KILL "${process#/proc/}" ;;
    esac
  done
done
for lock in "$1"/*/data/postmaster.pid; do
  set -- "$1" $(sed -n 7p "$lock")
  if [ -n "$3" ]; then ipcrm -m "$3"; fi
done
rm -rf "$1"
"#;

/// A process that outlives this one for as long as it takes to clean up.
pub struct Guard {
    folder: PathBuf,
    sh: Child,
}

impl Guard {
    /// Makes a temporary folder that it will remove.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("wallet-patroni-").tempdir().expect("a temporary folder").keep();
        let mut sh = Command::new("sh");
        sh.args(["-c", SCRIPT, "sh"]).arg(&folder).current_dir("/");
        // In a group of its own, it does not get the signals of a terminal.
        sh.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { sh: sh.spawn().expect("sh starts"), folder }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.sh.stdin.take());
        let _ = self.sh.wait();
    }
}
