//! Measures `wallet verify` on a large ledger: `cargo bench --bench verify -- --entries 20000000`.
//!
//! It makes a ledger, or takes one that it made before (`--ledger FILE`), and has each build of the program verify it
//! in turn: this one, and others that are named. Each round reports the time, the processor time of all threads and
//! the most memory. On a machine that others use as well, the processor time tells more than the time.

mod fill;
mod program;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use self::fill::Shape;
use self::program::Program;

/// Measures how long it takes to verify a large ledger
#[derive(Debug, Parser)]
#[command(name = "verify")]
struct Options {
    #[command(flatten)]
    shape: Shape,

    /// Verify the ledger in this file, which is made if it is missing, and is kept
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,

    /// Other builds of the program to compare with, at these paths
    #[arg(long, value_name = "BINARY")]
    baseline: Vec<PathBuf>,

    /// How many times each verifies it
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: u32,

    /// The folder of a ledger that is not kept
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,

    /// Cargo's own flag, for a run that measures
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // `cargo test --benches` runs this without `--bench`, and wants nothing measured.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    let dir = tempfile::tempdir_in(&options.dir).expect("a temporary folder");
    let ledger = options.ledger.clone().unwrap_or_else(|| dir.path().join("wallet.db"));
    if !ledger.exists() {
        eprintln!("filling a ledger with {} entries", options.shape.entries);
        fill::fill(&ledger, &options.shape);
    }
    measure(&options, &ledger);
    ExitCode::SUCCESS
}

fn measure(options: &Options, ledger: &Path) {
    let mut programs = vec![Program::present()];
    programs.extend(options.baseline.iter().map(|path| Program::at(path)));
    let bytes = ledger.metadata().expect("it is there").len();
    println!("{} MiB\n\n| round | program | s | processor s | MiB at the most |\n|---|---|---|---|---|", bytes >> 20);
    for round in 1..=options.rounds {
        for program in &programs {
            let run = program.verify(ledger);
            let (took, used, memory) = (run.took.as_secs_f64(), run.processor.as_secs_f64(), run.memory_mib);
            println!("| {round} | {program} | {took:.1} | {used:.1} | {memory} |");
        }
    }
}
