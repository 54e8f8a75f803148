//! The command line: one file for each group of subcommands.

mod bar;
mod client;
pub mod export;
pub mod healthcheck;
pub mod init;
pub mod maintenance;
pub mod migrate;
mod output;
mod path;
mod pinned;
mod progress;
pub mod reconcile;
pub mod relay;
pub mod serve;
mod stop;
pub mod token;

use std::fmt::Display;
use std::io::{self, Write as _};

use anyhow::Result;
use clap::CommandFactory as _;
use thiserror::Error;

use crate::api::rest;
use crate::config::{CommandLine, Task};
use crate::ledger::Finding;
use crate::store::StoreError;
use crate::telemetry::chain;
use migrate::Unequal;
use output::still_read;
use reconcile::Disagreement;

/// The exit code of what was not done.
const EXIT_FAILURE: u8 = 1;
/// The exit code when something is wrong with a ledger, or a file does not agree with it.
const EXIT_WRONG_LEDGER: u8 = 2;
/// The exit code of a command line that cannot be followed (`EX_USAGE` of BSD's `sysexits.h`).
pub const EXIT_USAGE: u8 = 64;

/// Settings that do not go together, in a sentence that says what to do.
#[derive(Debug, Error)]
#[error("{0}")]
struct Usage(String);

/// Runs a command to its end.
///
/// # Errors
/// Why it was not done.
pub fn run(task: Task) -> Result<()> {
    match task {
        Task::Serve(settings) => serve::run(*settings),
        Task::Healthcheck(args) => print(&healthcheck::run(args)?),
        Task::Init(args) => print(&init::run(&args)?),
        Task::Verify(args) => maintenance::verify(&args, print),
        Task::Backup { file, database } => print(&maintenance::backup(&database.url, &file)?),
        Task::Restore { file, database } => print(&maintenance::restore(&database.url, &file)?),
        Task::Relay(args) => relay::run(&args),
        Task::Export(args) => export::run(&args),
        Task::Reconcile(args) => reconcile::run(&args),
        Task::Migrate(args) => migrate::run(&args, print),
        Task::Token(task) => print(&token::run(task)?),
        Task::Openapi { currency } => print(&rest::openapi(currency)),
        Task::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "wallet", &mut script);
            print(&String::from_utf8(script)?.trim_end())
        }
    }
}

/// The exit code of a command that failed.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() {
        return EXIT_USAGE;
    }
    let is_corrupt = matches!(error.downcast_ref(), Some(StoreError::Corrupt { .. }));
    let is_wrong = error.is::<Finding>() || error.is::<Disagreement>() || error.is::<Unequal>();
    if is_corrupt || is_wrong { EXIT_WRONG_LEDGER } else { EXIT_FAILURE }
}

/// What went wrong and why, in one line: what a library says may have more.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    let text = chain(error.as_ref());
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

/// Writes to standard output. A reader that closes it early is no failure.
fn print(text: &dyn Display) -> Result<()> {
    still_read(writeln!(io::stdout(), "{text}")).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_library_says_in_several_lines_is_one_line() {
        let error = anyhow::Error::msg("page 3 is wrong\n\n  page 4 is wrong\n").context("the database is corrupt");
        assert_eq!(one_line(&error), "the database is corrupt: page 3 is wrong; page 4 is wrong");
    }
}
