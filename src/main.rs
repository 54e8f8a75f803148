//! The command line.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wallet::cli::{healthcheck, maintenance};
use wallet::config::{CommandLine, EXIT_USAGE, Settings, Task};
use wallet::server::{Server, raise_file_limit};
use wallet::{api, telemetry};

/// What one thread allocates another frees here, thousands of times a second: the C library's allocator locks for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let CommandLine { command, settings } = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) if error.use_stderr() => {
            // One line says what is wrong; what follows in clap's text is what `--help` has.
            let text = error.to_string();
            let wrong: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            eprintln!("{}", wrong.join(" "));
            return ExitCode::from(EXIT_USAGE);
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    let _logs = match telemetry::init(&settings.log, settings.log_format) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("error: invalid value '{}' for '--log <FILTER>': {error}", settings.log);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let done = match command.unwrap_or(Task::Serve) {
        Task::Serve => serve(settings),
        Task::Healthcheck => healthcheck::run(settings.http_addr).and_then(|answer| print(&answer)),
        Task::Verify { checkpoint } => {
            maintenance::verify(&settings.database_url, checkpoint).and_then(|report| print(&report))
        }
        Task::Backup { file } => maintenance::backup(&settings.database_url, &file).and_then(|report| print(&report)),
        Task::Restore { file } => maintenance::restore(&settings.database_url, &file).and_then(|report| print(&report)),
        Task::Openapi => print(&api::rest::openapi()),
    };
    done.map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

#[tokio::main]
async fn serve(settings: Settings) -> Result<()> {
    raise_file_limit();
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
        tracing::info!("stopping");
        stop.cancel();
        // Both signals stay caught: a second one must not cut off what the first lets finish, and that takes seconds.
    });
    let server = Server::start(settings).await?;
    tracing::info!(http = %server.http_addr(), grpc = %server.grpc_addr(), "serving");
    server.run(shutdown).await;
    tracing::info!("stopped");
    Ok(())
}

/// Writes to standard output, where a reader that has seen enough is no failure.
fn print(text: &impl Display) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the answer"),
    }
}
