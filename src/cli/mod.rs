//! The command line: one file for each group of subcommands.

pub mod healthcheck;
pub mod maintenance;
pub mod serve;

use std::fmt::Display;
use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use crate::api::rest;
use crate::config::{Settings, Task};

/// Runs a command to its end.
///
/// # Errors
/// Why it was not done.
pub fn run(task: Task, settings: Settings) -> Result<()> {
    let database = &settings.database_url;
    match task {
        Task::Serve => serve::run(settings),
        Task::Healthcheck => print(&healthcheck::run(settings.http_addr)?),
        Task::Verify { checkpoint } => print(&maintenance::verify(database, checkpoint)?),
        Task::Backup { file } => print(&maintenance::backup(database, &file)?),
        Task::Restore { file } => print(&maintenance::restore(database, &file)?),
        Task::Openapi => print(&rest::openapi(settings.currency)),
    }
}

/// Writes to standard output. A reader that closes it early is no failure.
fn print(text: &impl Display) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the answer"),
    }
}
