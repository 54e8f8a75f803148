//! What to measure, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measures the service on real files and over real sockets, in several rounds within one run.
#[derive(Debug, Parser)]
#[command(name = "service")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Options {
    /// Only these rows of the table, by name; all of them if none is named
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub rows: Vec<String>,

    /// List the rows and measure nothing
    #[arg(long)]
    pub list: bool,

    /// How many times everything is measured
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,

    /// How long each measurement takes
    #[arg(long, default_value_t = 1.5, value_name = "S")]
    pub seconds: f64,

    /// Entries in the large ledger
    #[arg(long, default_value_t = 2_000_000, value_name = "N")]
    pub entries: u64,

    /// Give the large ledger its full size of 20 million entries
    #[arg(long, conflicts_with = "entries")]
    pub full: bool,

    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,

    /// Draw charts into this folder, which takes more measurements than the table
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "docs/benchmarks")]
    pub charts: Option<PathBuf>,

    /// The folder of the databases; use the kind of disk that the service will have
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub dir: PathBuf,

    /// Cargo's own flag, for a run that measures
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// The size of the large ledger.
    pub const fn large(&self) -> u64 {
        if self.full { 20_000_000 } else { self.entries }
    }
}
