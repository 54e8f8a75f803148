//! The receiver of `docs/operations.md`, which is not written in Rust.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::cursor_file;
use super::feed::{Feed, Opening};
use super::process::{Relay, relay};
use super::receiver::{NEXT_SECRET, SECRET};
use crate::support::optional;

/// A program that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The receiver of the document.
fn program() -> &'static str {
    let document = include_str!("../../../docs/operations.md");
    let (_, rest) = document.split_once("```python\n").expect("the document has a receiver");
    rest.split_once("```").expect("it ends").0
}

#[tokio::test]
async fn the_documented_receiver_keeps_each_entry_once() {
    let test = "the documented receiver";
    let Some([python]) = optional::programs(test, ["python3"]) else { return };
    let import = Command::new(&python).args(["-c", "import standardwebhooks"]).output().unwrap();
    if !import.status.success() {
        optional::skip(test, "needs the Python package standardwebhooks");
        return;
    }
    let (dir, file) = cursor_file();
    let script = dir.path().join("receiver.py");
    fs::write(&script, program()).unwrap();
    let mut command = Command::new(&python);
    command.arg(&script).arg("0").current_dir(dir.path()).env("WALLET_RELAY_SECRET", SECRET);
    let mut receiver = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(receiver.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().strip_prefix("listening on port ").expect("it says its port");
    let url = format!("http://127.0.0.1:{port}/");

    let feed = Feed::start(250, |_| Opening::Follow).await;
    // The receiver has another secret than this relay.
    let mut stranger = relay(&feed.url(), &url, &dir.path().join("stranger.json"));
    stranger.env("WALLET_RELAY_SECRET", NEXT_SECRET);
    let mut stranger = Relay::start(stranger);
    stranger.logged(|log| log.lines.iter().any(|line| line.contains("it answered 400 Bad Request"))).await;
    stranger.kill();
    let rows = |sql: &str| -> i64 {
        let database = rusqlite::Connection::open(dir.path().join("entries.db")).unwrap();
        database.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(rows("select count(*) from entry"), 0);

    // Twice: what came before is not kept again.
    for cursor_file in [file, dir.path().join("again.json")] {
        let mut relay = Relay::start(relay(&feed.url(), &url, &cursor_file));
        relay.logged(|log| log.count("receiver", "working") == 1).await;
        relay.until(delivered(&cursor_file, "c250")).await;
        relay.terminate();
        assert_eq!(relay.ended().await.1, Some(0));
        assert_eq!(rows("select count(*) from entry where kind = 'win' and amount = '1'"), 250);
    }
}

/// Waits until a relay has delivered everything up to this cursor.
async fn delivered(file: &std::path::Path, cursor: &str) {
    loop {
        let content: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        if content["delivered"] == cursor {
            return;
        }
        tokio::task::yield_now().await;
    }
}
