//! The example of `docs/operations.md`: `DuckDB` reads an export, word for word as it is printed there.

use std::process::Command;

use wallet::ledger::Command as LedgerCommand;

use crate::support::ledger_file::{HOUR, JANUARY, annotated, win};
use crate::support::optional;
use crate::support::process::{database_url, without_settings};
use crate::support::store::{at, charge, close, event, open, open_sqlite, transact, user};

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// The first two fenced blocks after the example's first words: what to paste, and what that prints.
fn example() -> (&'static str, &'static str) {
    let (_, example) = OPERATIONS.split_once("\nThe gross gaming revenue").expect("the document has the example");
    let mut blocks = example.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap());
    let (("sh", commands), ("text", printed)) = (blocks.next().unwrap(), blocks.next().unwrap()) else {
        panic!("a block of commands, and what they print");
    };
    (commands, printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_days_revenue_is_what_the_document_says() {
    let test = "the example of an export";
    let Some([python, _]) = optional::programs(test, ["python3", "dash"]) else { return };
    if !Command::new(&python).args(["-c", "import duckdb"]).status().unwrap().success() {
        optional::skip(test, "needs the Python package duckdb");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let mut store = open_sqlite(&database).await;
    let of_round = |command, round| annotated(command, Some(round), "", "engine-a");
    let (first, second, third) = (JANUARY + 23 * HOUR, JANUARY + 24 * HOUR, JANUARY + 48 * HOUR);
    let undone_on_the_second = of_round(charge(2, 4, 100), 73);
    let too_late = of_round(charge(1, 9, 5_000), 74);
    for (commands, time) in [
        (vec![open(1, 10_000), open(2, 10_000), undone_on_the_second], first),
        (
            vec![
                of_round(charge(1, 1, 100), 70),
                of_round(win(1, 1, 40), 70),
                of_round(charge(2, 2, 200), 71),
                of_round(win(2, 2, 500), 71),
                of_round(charge(1, 3, 150), 72),
                // The same number of another user, which is undone no more than the win of that number is.
                of_round(charge(2, 3, 25), 72),
                LedgerCommand::rollback(user(1), event(3)),
                LedgerCommand::rollback(user(2), event(4)),
                of_round(win(1, 5, 300), 70),
                LedgerCommand::rollback_win(user(1), event(5)),
            ],
            second,
        ),
        (vec![too_late], third),
    ] {
        transact(&mut store, &commands, at(time)).unwrap();
    }
    close(store).await;

    let (commands, expected) = example();
    let script = commands.replace("wallet export", &format!("{} export", env!("CARGO_BIN_EXE_wallet")));
    let output = without_settings("dash")
        .args(["-e", "-c", &script])
        .current_dir(dir.path())
        .env("WALLET_DATABASE_URL", database_url(&database))
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stdout.trim(), expected.trim(), "{stderr}");
}
