//! What the service does in a second, measured on real files and real sockets: `cargo bench --bench service`.
//!
//! Everything is measured in rounds within one run, each round every row, because a machine's neighbours move absolute
//! figures by a factor of two. The table shows medians with the least and the most; ratios are taken round by round.
//! Every reply is checked to the cent, and every ledger is verified at the end: a figure that is not as good as it must
//! be is only told, an answer that is wrong ends the run with an error.
//!
//! `cargo bench --bench service -- --help` tells what else there is. It needs Linux, whose `/proc` says what a process
//! used. The service takes its settings from the environment as always, so that they can be compared.

#![allow(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

mod bare;
mod charts;
mod footprint;
mod grpc;
mod harness;
mod http;
mod ledger;
mod load;
mod options;
mod peers;
mod process;
mod report;
mod rows;
mod svg;
mod wallets;

use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use tempfile::TempDir;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use self::footprint::Footprint;
use self::harness::{Harness, Measure};
use self::load::{Sample, Window};
use self::options::Options;
use self::report::Report;
use self::rows::{Row, Series};

/// How much longer than it should a measurement may take before something is taken to hang.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    // `cargo test --benches` asks for nothing to be measured.
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
    // Not as many as the environment says: that is meant for the service.
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut terminate = signal(SignalKind::terminate()).expect("a signal");
        let mut interrupt = signal(SignalKind::interrupt()).expect("a signal");
        let interrupted = tokio::select! {
            () = run(&options, &rows) => false,
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
        };
        // By now what was running is ended, and what lay on disk removed: both were dropped.
        if interrupted { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    })
}

/// The rows that were asked for.
fn chosen(options: &Options) -> Vec<Row> {
    let all = rows::all(options.large());
    for name in &options.rows {
        if !all.iter().any(|row| row.name == *name) {
            let unknown = format!("there is no row {name}: --list says which there are");
            Options::command().error(ErrorKind::InvalidValue, unknown).exit();
        }
    }
    let chosen = |row: &Row| options.rows.is_empty() || options.rows.contains(&row.name);
    all.into_iter().filter(chosen).collect()
}

async fn run(options: &Options, rows: &[Row]) {
    let pictured = if options.charts.is_some() { charts::measures(options.large()) } else { Vec::new() };
    let plan = rows::plan(rows, pictured);
    let dir = TempDir::new_in(&options.dir).expect("a temporary folder");
    let mut harness = Harness::new(dir, options.time(), &plan).await;
    let mut footprint = Footprint::default();
    let mut series = Series::new();
    for round in 1..=options.rounds {
        for (number, measure) in plan.iter().enumerate() {
            eprintln!("round {round} of {}, {} of {}: {measure}", options.rounds, number + 1, plan.len());
            let top_rate = top_rate(&series, *measure);
            let measured = timeout(options.time() + PATIENCE, harness.measure(*measure, top_rate));
            if let Some(sample) = measured.await.expect("it does not hang") {
                series.entry(*measure).or_default().push(sample);
            }
        }
    }
    if let Some(service) = &harness.service {
        footprint.service(service);
    }
    let skipped = harness.peers.skipped.clone();
    eprintln!("verifying every ledger");
    let (_dir, largest) = tokio::task::block_in_place(|| harness.finish());
    if let Some((size, template)) = largest {
        footprint.large(size, &template, Window::of(options.time())).await;
    }
    if let Some(dir) = &options.charts {
        charts::draw(dir, &series, options.large()).expect("the charts can be written");
    }
    let report = Report { rows, plan: &plan, series: &series, footprint: &footprint, skipped: &skipped };
    if options.json {
        println!("{:#}", report.json());
    } else {
        report.print();
    }
}

/// What a paced load goes by: what as many callers just reached in a closed loop.
fn top_rate(series: &Series, measure: Measure) -> f64 {
    let Measure::RestPaced(callers) = measure else { return 0.0 };
    series.get(&Measure::Rest(callers)).and_then(|samples| samples.last()).map_or(0.0, Sample::rate)
}
