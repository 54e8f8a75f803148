//! The README's tour: each step that a reader pastes prints what the README says.

use std::process::Stdio;

use crate::support::optional;
use crate::support::process::{Process, database_url, without_settings};

const README: &str = include_str!("../../README.md");
/// Stands in the README for what is different each time.
const VARIES: char = '…';
/// Printed between two steps, to separate their output.
const NEXT: &str = "==> next step";

/// What to paste, and what it prints.
#[derive(Clone, Copy)]
struct Step {
    commands: &'static str,
    output: &'static str,
}

/// The fenced blocks under the tour's heading: one of `sh`, then what it prints.
fn tour() -> Vec<Step> {
    let (_, tour) = README.split_once("\n## A tour\n").expect("the README has a tour");
    let (tour, _) = tour.split_once("\n## ").expect("the tour ends");
    let blocks: Vec<(&str, &str)> =
        tour.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').expect("a block has lines")).collect();
    let step = |pair: &[(&'static str, &'static str)]| match *pair {
        [("sh", commands), (language, output)] if language != "sh" => Step { commands, output },
        _ => panic!("a block of commands and a block of what they print belong together: {pair:?}"),
    };
    blocks.chunks(2).map(step).collect()
}

/// Pastes every step into one shell; what each printed.
fn run(steps: &[Step], process: &Process, database: &str) -> Vec<String> {
    let commands: Vec<&str> = steps.iter().map(|step| step.commands).collect();
    let script = commands
        .join(&format!("\necho; echo '{NEXT}'\n"))
        // The longer address first: the shorter is its beginning.
        .replace("localhost:50051", &process.grpc.to_string())
        .replace("localhost:5000", &process.http.to_string())
        .replace("target/release/wallet", env!("CARGO_BIN_EXE_wallet"));
    // Not bash: what this shell of Debian's understands, every reader's does.
    let shell = without_settings("dash")
        .args(["-c", &script])
        .env("WALLET_DATABASE_URL", database)
        .stdin(Stdio::null())
        .output()
        .expect("dash runs");
    let printed = String::from_utf8(shell.stdout).expect("text");
    let printed: Vec<String> = printed.split(NEXT).map(ToOwned::to_owned).collect();
    assert_eq!(printed.len(), steps.len(), "{printed:?}\n{}", String::from_utf8_lossy(&shell.stderr));
    printed
}

/// Whether a line is what the README says, whatever stands where it says `…`.
fn matches(line: &str, expected: &str) -> bool {
    let Some((start, rest)) = expected.split_once(VARIES) else { return line == expected };
    let Some(line) = line.strip_prefix(start) else { return false };
    (1..=line.len()).any(|at| line.get(at..).is_some_and(|line| matches(line, rest)))
}

#[test]
fn the_tour_prints_what_the_readme_says() {
    if optional::programs("the README's tour", ["dash", "curl"]).is_none() {
        return;
    }
    let mut steps = tour();
    if optional::programs("the gRPC half of the README's tour", ["grpcurl"]).is_none() {
        steps.retain(|step| !step.commands.contains("grpcurl"));
    }
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start(&database);
    for (step, printed) in steps.iter().zip(run(&steps, &process, &database_url(&database))) {
        let (printed, expected) = (printed.trim(), step.output.trim());
        let same = printed.lines().count() == expected.lines().count()
            && printed.lines().zip(expected.lines()).all(|(line, expected)| matches(line, expected));
        assert!(same, "{}\nprinted:\n{printed}\n\nthe README says:\n{expected}", step.commands);
    }
}

#[test]
fn what_varies_is_at_least_a_character() {
    assert!(matches(r#""id":"0","n":1"#, r#""id":"…","n":1"#));
    assert!(!matches(r#""id":"","n":1"#, r#""id":"…","n":1"#));
    assert!(!matches(r#""id":"0","n":2"#, r#""id":"…","n":1"#));
    assert!(matches("a b c", "…b…"));
    assert!(matches("date: today", "date: …"));
    assert!(!matches("date: ", "date: …"));
}
