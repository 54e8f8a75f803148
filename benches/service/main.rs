//! Measures the service on real files and over real sockets: `cargo bench --bench service`.
//!
//! One run has several rounds, and every round measures every row, because other users of the machine move absolute
//! figures by a factor of two. Ratios are taken within a round; the table shows their median, the least and the most.
//! Every reply is checked to the cent, and every ledger is verified at the end. A figure that misses its limit is only
//! reported; a wrong answer ends the run with an error.
//!
//! `cargo bench --bench service -- --help` lists the options. The benchmark needs Linux, whose `/proc` says what a
//! process used. The service takes its settings from the environment as always, so runs can compare settings.
//!
//! ```text
//! main → run → harness → drive → http, grpc, feed → load → sample     (and from harness: bare, ledger, peers)
//!            → report, charts → rows → measure
//! ```

#![allow(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

mod bare;
mod charts;
mod database;
mod drive;
mod feed;
mod footprint;
mod grpc;
mod harness;
mod http;
mod ledger;
mod load;
mod measure;
mod options;
mod peers;
mod process;
mod report;
mod row;
mod rows;
mod run;
mod sample;
mod service;
mod shared;
mod svg;
mod tokens;
mod usage;
mod wallets;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use self::options::Options;
use self::process::Program;
use self::row::Row;

fn main() -> ExitCode {
    // `cargo test --benches` runs this without `--bench`, and wants nothing measured.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    let rows = chosen(&options);
    if options.list {
        for row in &rows {
            println!("{:20}{}", row.name, row.title());
        }
        return ExitCode::SUCCESS;
    }
    if let Some(Err(error)) = options.baseline.clone().map(|path| Program::Old(path).describe()) {
        exit(format!("--baseline: {error}"));
    }
    // The number of threads in the environment is meant for the service.
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut terminate = signal(SignalKind::terminate()).expect("a signal");
        let mut interrupt = signal(SignalKind::interrupt()).expect("a signal");
        let interrupted = tokio::select! {
            () = run::run(&options, &rows) => false,
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
        };
        // Dropping the run has ended its processes and removed its files.
        if interrupted { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    })
}

/// The rows that were asked for.
fn chosen(options: &Options) -> Vec<Row> {
    let all = if options.baseline.is_some() { rows::baseline() } else { rows::all(options.large()) };
    for name in &options.rows {
        if !all.iter().any(|row| row.name == *name) {
            exit(format!("there is no row {name}: --list says which there are"));
        }
    }
    let chosen = |row: &Row| options.rows.is_empty() || options.rows.contains(&row.name);
    all.into_iter().filter(chosen).collect()
}

/// Ends with a message about a wrong option.
fn exit(message: String) -> ! {
    Options::command().error(ErrorKind::InvalidValue, message).exit()
}
