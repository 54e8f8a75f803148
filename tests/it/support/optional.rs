//! Programs that a test needs and `cargo test` cannot start: used when they are here, demanded by CI.

use std::env;
use std::io::Write as _;
use std::path::PathBuf;

/// Set by CI: what is optional elsewhere must then be there.
const DEMAND_ALL: &str = "WALLET_TEST_ALL";

/// Where all of these programs are; `None`, after saying so, if one is missing.
///
/// # Panics
/// If one is missing and CI runs the tests.
pub fn programs<const N: usize>(test: &str, names: [&str; N]) -> Option<[PathBuf; N]> {
    let found = names.map(find);
    if found.iter().all(Option::is_some) {
        return Some(found.map(|path| path.expect("all are there")));
    }
    let missing: Vec<&str> =
        names.iter().zip(&found).filter(|(_, path)| path.is_none()).map(|(name, _)| *name).collect();
    skip(test, &format!("needs {}", missing.join(", ")));
    None
}

/// How many rounds a test runs: `default`, or what the variable `name` holds, as in a long run.
///
/// # Panics
/// If the variable holds no number.
pub fn rounds(name: &str, default: i64) -> i64 {
    env::var(name).map_or(default, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Prints that a test is skipped, and why.
///
/// # Panics
/// If CI runs the tests.
pub fn skip(test: &str, why: &str) {
    assert!(env::var_os(DEMAND_ALL).is_none(), "{test} {why}, and {DEMAND_ALL} is set");
    // Not `eprintln!`, which the test runner keeps to itself unless a test fails.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test} {why}");
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Servers are often kept out of a user's path.
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}
