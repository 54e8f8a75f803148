//! A ledger of every kind of entry in a file, made below the engine: with times and notes of a test's own.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wallet::ledger::{Annotations, Caller, Command, Note, RoundId};

use super::process::{database_url, run};
use super::store::{at, charge, close, event, open, open_sqlite, transact, user};

/// Microseconds from 1970 to 2026-01-01T00:00:00Z.
pub const JANUARY: i64 = 1_767_225_600_000_000;
pub const HOUR: i64 = 3_600_000_000;

/// A command with a round, a note and a caller.
pub fn annotated(command: Command, round: Option<i64>, note: &str, caller: &str) -> Command {
    let round_id = round.and_then(RoundId::new);
    command.with_annotations(Annotations { round_id, note: Note::new(note), caller: Caller::new(caller) })
}

pub fn win(number: i64, event_number: i64, minor: i64) -> Command {
    Command::win(user(number), event(event_number), minor).unwrap()
}

/// Every kind of entry that commands write, of users 1 and 2, an hour apart from the beginning of 2026 on.
pub fn every_kind() -> Vec<Command> {
    let deposit = |number, event_number, minor| Command::deposit(user(number), event(event_number), minor).unwrap();
    vec![
        open(1, 10_000),
        open(2, 0),
        annotated(charge(1, 7, 150), Some(70), "", "engine-a"),
        annotated(win(1, 7, 1_000), Some(70), "", "engine-a"),
        Command::rollback(user(1), event(7)),
        Command::rollback_win(user(1), event(7)),
        Command::rollback(user(2), event(8)),
        annotated(deposit(2, 9, 5), None, "=1+1, \"quoted\" – naïve 🎲", "café"),
        annotated(Command::withdraw(user(1), event(9), 1).unwrap(), None, "@x", ""),
    ]
}

/// A ledger in a new file, of one commit for each command, an hour apart from the beginning of 2026 on.
pub async fn ledger(dir: &TempDir, commands: &[Command]) -> PathBuf {
    let path = dir.path().join("wallet.db");
    let mut store = open_sqlite(&path).await;
    for (hours, command) in (0..).zip(commands) {
        transact(&mut store, std::slice::from_ref(command), at(JANUARY + hours * HOUR)).unwrap();
    }
    close(store).await;
    path
}

/// A ledger in a new file, of one user and so many charges of one cent, by their numbers.
pub async fn charges(dir: &TempDir, count: i64) -> PathBuf {
    let path = dir.path().join("wallet.db");
    let mut store = open_sqlite(&path).await;
    transact(&mut store, &[open(1, count)], at(JANUARY)).unwrap();
    let charges: Vec<Command> = (0..count).map(|number| charge(1, number, 1)).collect();
    for batch in charges.chunks(4_096) {
        transact(&mut store, batch, at(JANUARY)).unwrap();
    }
    close(store).await;
    path
}

/// Runs a command on a ledger: its output, its standard error, and its exit code.
pub fn on(database: &Path, args: &[&str]) -> (String, String, Option<i32>) {
    let url = database_url(database);
    run(&[args, &["--database-url", &url]].concat())
}
