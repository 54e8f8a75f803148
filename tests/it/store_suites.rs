//! The tests that hold on every store, run once more on PostgreSQL, by this program as a process of its own.
//!
//! They are those that ask for a `TestLedger`. What is not among them is SQLite's own (files, WAL, disks, backups,
//! another process on the same file), is about the program and not about its ledger (the command line, TLS, browsers,
//! proxies), or would take too long twice.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::ledger::{SHARDS, STORE};
use crate::support::postgres::{Database, URL};

/// What runs on PostgreSQL: modules, by the beginnings of the tests' names.
const SUITES: [&str; 11] = [
    "crash::",
    "faults::",
    "feed::",
    "grpc::",
    "linearizability::",
    "metrics::values::",
    "model::",
    "parity::",
    "rest::",
    "semantics::",
    "stop::",
];

/// What runs once more on a ledger of several shards.
const OF_SHARDS: [&str; 4] = ["crash::whatever", "feed::crash", "linearizability::", "parity::"];

/// What does not, of what these names match.
const NOT: [&str; 11] = [
    // It names the store.
    "metrics::values::a_scrape_has_every_metric",
    "relay::feed::",
    "simulation::",
    // They ask nothing of a ledger.
    "grpc::reflection::",
    "grpc::transport::",
    "rest::browsers::",
    "tls::",
    // They kill the process at its first message, which goes to PostgreSQL. `postgres::cuts` has these places.
    "crash::killed_between_commit_and_grpc_answer",
    "crash::killed_between_commit_and_rest_answer",
    // They alter an SQLite file.
    "faults::a_ledger_of_which_the_head_is_corrupt",
    // They make a file of 40 000 entries first.
    "feed::limits::a_slow_reader",
];

/// Runs these tests on a ledger of so many shards.
fn run(suites: &[&str], server: &str, shards: Option<&str>) {
    let mut tests = Command::new(std::env::current_exe().expect("this program"));
    tests.args(suites).args(NOT.iter().flat_map(|name| ["--skip", name])).args(["--test-threads", "4"]);
    tests.env(STORE, "postgres").env(URL, server).env_remove(SHARDS);
    tests.envs(shards.map(|count| (SHARDS, count))).stdin(Stdio::null());
    let begun = Instant::now();
    let output = tests.output().expect("it runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "on PostgreSQL: {}\n{text}", output.status);
    let result = text.lines().find(|line| line.starts_with("test result: ok.")).expect("a result");
    let passed: u32 = result.split_whitespace().nth(3).and_then(|count| count.parse().ok()).expect("a count");
    assert!(passed > 0, "nothing was run: {text}");
    // Not `println!`, which the test runner keeps to itself unless a test fails.
    let on = shards.map_or(String::from("PostgreSQL"), |count| format!("PostgreSQL, {count} shards"));
    let _ = writeln!(std::io::stderr(), "on {on}, in {:?}: {result}", begun.elapsed());
}

#[test]
fn the_black_box_suite_passes_on_postgresql() {
    let Some(server) = Database::server("the black-box suite on PostgreSQL") else { return };
    run(&SUITES, &server, None);
}

#[test]
fn what_crosses_wallets_passes_on_three_shards() {
    let Some(server) = Database::server("the black-box suite on three shards") else { return };
    run(&OF_SHARDS, &server, Some("3"));
}
