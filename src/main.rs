//! The program: reads the command line, starts the logs, runs the command.

use std::process::ExitCode;

use wallet::config::{CommandLine, Task, one_line};
use wallet::{cli, telemetry};

/// What one thread allocates another frees here, thousands of times a second: the C library's allocator locks for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let task = match CommandLine::read() {
        Ok(task) => task,
        Err(error) if error.use_stderr() => {
            eprintln!("{}", one_line(&error));
            return ExitCode::from(cli::EXIT_USAGE);
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    // The other commands write their one answer, and log nothing.
    let logs = match &task {
        Task::Serve(settings) => Some(&settings.logs),
        Task::Relay(args) => Some(&args.logs),
        _ => None,
    };
    let _logs = logs.map(|logs| telemetry::init(&logs.filter, logs.format.is_json()));
    match cli::run(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", cli::one_line(&error));
            ExitCode::from(cli::exit_code(&error))
        }
    }
}
