//! What to measure, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measures the service on real files and over real sockets, in several rounds within one run.
///
/// With `--baseline BINARY`, measures an older build of the program and the present one side by side instead.
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

    /// How many times everything is measured; every second time in reverse order
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,

    /// How long each measurement takes
    #[arg(long, default_value_t = 1.5, value_name = "S")]
    pub seconds: f64,

    /// Compare the present program with an older build of it, at this path (absolute, or from the package's folder)
    ///
    /// Both programs run at the same time, each on a new database, and are measured in turn. Each round measures every
    /// row with both. Each row is a ratio, taken round by round: new ÷ old for rates, old ÷ new for the latency. Above
    /// 1 the present program is the better one. Each row must reach 0.97.
    ///
    /// The databases and the `.proto` files of the two may differ. The wallets are opened through each program's own
    /// REST API, every reply is checked, and each program verifies its own ledger at the end. What the older program
    /// must have: `serve` and `verify` with `--database-url sqlite://FILE`; `POST /api/v1/users`,
    /// `GET /api/v1/users/{UserId}` and `POST /api/v1/charge`; `Charge` and `Transact` with today's field numbers.
    ///
    /// Many short rounds tell more than a few long ones. On a shared machine with two processors, a program against a
    /// copy of itself gave medians from 0.93 to 1.16 in 6 rounds of 1 s, and from 0.99 to 1.03 in 30 rounds of 0.3 s.
    /// Repeat a run before you believe a row that misses its limit.
    ///
    /// For example: cargo bench --bench service -- --baseline /tmp/old/wallet --rounds 5 --seconds 1.5
    #[arg(long, value_name = "BINARY", conflicts_with_all = ["charts", "entries", "full"])]
    pub baseline: Option<PathBuf>,

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
