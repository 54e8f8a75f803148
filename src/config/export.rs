//! The settings of the commands that exchange files with others.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::DatabaseArgs;
use super::value::{kind, user_id};
use crate::ledger::{EntryFilter, Kind, Span, Timestamp, UserId};

/// What is exported, and to where.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// How entries are written: `csv` with a first line that names the fields, or `ndjson`, one JSON object a line
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: ExportFormat,
    #[command(flatten)]
    pub span: SpanArgs,
    #[command(flatten)]
    pub filter: FilterArgs,
    /// The file to make, or to replace once the new one is whole; standard output if it is left out
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print the report on standard error as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

const EXPORT_EXAMPLES: &str = "\
Examples:
  wallet export --format csv --out ledger.csv
  wallet export --format csv --from 2026-01-02 --to 2026-01-03 --kind charge,rollback --out day.csv
  wallet export --format ndjson --user 123123 | jq .Amount";

/// What is compared with the ledger.
#[derive(Clone, Debug, Args)]
#[command(after_help = RECONCILE_EXAMPLES)]
pub struct ReconcileArgs {
    /// What happened as somebody else tells it, as CSV or NDJSON with `UserId`, `Kind`, `EventId` and `Amount`; `-` is
    /// standard input
    pub file: PathBuf,
    #[command(flatten)]
    pub span: SpanArgs,
    /// Print each difference, and then the totals, as one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Differences that the table shows at the most; the others are counted
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "json")]
    pub limit: u64,
    #[command(flatten)]
    pub database: DatabaseArgs,
}

const RECONCILE_EXAMPLES: &str = "\
Examples:
  wallet reconcile provider.csv --from 2026-01-02 --to 2026-01-03
  zcat provider.ndjson.gz | wallet reconcile - --json";

/// Which time.
#[derive(Clone, Copy, Debug, Args)]
pub struct SpanArgs {
    /// Only entries from this time on: RFC 3339, or a date, which begins at midnight in UTC
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<Timestamp>,
    /// Only entries before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: Option<Timestamp>,
}

impl SpanArgs {
    /// Refuses a span that ends before it begins.
    pub(super) fn check(self) -> Result<(), &'static str> {
        if self.span().is_reversed() { Err("--to must not be before --from") } else { Ok(()) }
    }

    /// The span of time.
    #[must_use]
    pub const fn span(self) -> Span {
        Span { from: self.from, to: self.to }
    }
}

/// Which entries.
#[derive(Clone, Debug, Args)]
pub struct FilterArgs {
    /// Only entries of this user
    #[arg(long, value_name = "ID", value_parser = user_id)]
    pub user: Option<UserId>,
    /// Only entries of these kinds, separated by commas
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    pub kinds: Vec<Kind>,
}

impl FilterArgs {
    /// The filter.
    #[must_use]
    pub fn filter(&self) -> EntryFilter {
        EntryFilter { user_id: self.user, kinds: self.kinds.clone() }
    }
}

/// How entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    Csv,
    Ndjson,
}

/// Reads a moment: an RFC 3339 time, or a date, which begins at midnight in UTC.
fn moment(text: &str) -> Result<Timestamp, String> {
    let date = || format!("{text}T00:00:00Z").parse();
    text.parse()
        .or_else(|_| date())
        .map_err(|_| "needs an RFC 3339 time, such as 2026-01-02T03:04:05Z, or a date, such as 2026-01-02".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_a_date() {
        let at = |text: &str| moment(text).map(|moment| moment.to_string());
        assert_eq!(at("2026-01-02"), Ok("2026-01-02T00:00:00.000000Z".to_owned()));
        assert_eq!(at("2026-01-02T01:00:00+01:00"), at("2026-01-02"));
        for text in ["", "2026-1-2", "2026-02-30", "2026-01-02T", "2026-01-02T00:00:00", "today", "1767323045"] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
