//! The program: reads the command line, starts the logs, runs the command.

use std::process::ExitCode;

use clap::Parser as _;
use wallet::config::{CommandLine, EXIT_USAGE};
use wallet::{cli, telemetry};

/// What one thread allocates another frees here, thousands of times a second: the C library's allocator locks for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let CommandLine { command, settings } = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) if error.use_stderr() => {
            // One line says what is wrong. What follows in clap's text is what `--help` has.
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
    let _logs = match telemetry::init(&settings.log, settings.log_format.is_json()) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("error: invalid value '{}' for '--log <FILTER>': {error}", settings.log);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match cli::run(command.unwrap_or_default(), settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
