//! A relay, as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tokio::sync::watch;

use super::receiver::SECRET;
use crate::support::process::wallet;

/// A running relay, killed when dropped.
pub struct Relay {
    child: Child,
    log: watch::Receiver<Log>,
}

/// What a relay wrote to its standard error, and whether it has closed it.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub lines: Vec<String>,
    has_ended: bool,
}

impl Log {
    /// How many lines have this message, of this peer.
    pub fn count(&self, peer: &str, message: &str) -> usize {
        let lines = self.lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["peer"] == peer && line["message"] == message).count()
    }
}

/// The program as a relay that is in a hurry, with no more than one secret.
pub fn relay(server: &str, to: &str, cursor_file: &Path) -> Command {
    let mut command = wallet();
    command.args(["relay", "--server", server, "--to", to, "--linger-ms", "5", "--retry-max-ms", "20"]);
    command.args(["--timeout-ms", "500", "--log-format", "json", "--cursor-file"]).arg(cursor_file);
    command.env("WALLET_RELAY_SECRET", SECRET);
    command
}

/// What a relay that cannot go on says, and its exit code.
pub fn refused(mut command: Command) -> (String, Option<i32>) {
    let output = command.args(["--log", "off"]).stdin(Stdio::null()).output().expect("the program starts");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    (stderr, output.status.code())
}

impl Relay {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("its standard error"));
        let (writer, log) = watch::channel(Log::default());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                writer.send_modify(|log| log.lines.push(line));
            }
            writer.send_modify(|log| log.has_ended = true);
        });
        Self { child, log }
    }

    /// What `wanted` gives.
    ///
    /// # Panics
    /// If the relay ends before.
    pub async fn until<T>(&mut self, wanted: impl Future<Output = T>) -> T {
        tokio::select! {
            done = wanted => done,
            log = self.log.wait_for(|log| log.has_ended) => panic!("the relay ended: {:?}", log.map(|log| log.clone())),
        }
    }

    /// Waits until its log is as wanted.
    pub async fn logged(&mut self, wanted: impl Fn(&Log) -> bool) {
        let log = self.log.wait_for(|log| wanted(log) || log.has_ended).await.expect("a log").clone();
        assert!(wanted(&log), "{log:?}");
    }

    /// Kills it at once, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }

    /// Sends `SIGTERM`.
    pub fn terminate(&self) {
        let status = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits until it has ended by itself: its log and its exit code.
    pub async fn ended(mut self) -> (Log, Option<i32>) {
        let log = self.log.wait_for(|log| log.has_ended).await.expect("a log").clone();
        (log, self.child.wait().expect("it ends").code())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
