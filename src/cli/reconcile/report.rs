//! What a comparison tells: each difference as it is found, and the totals.

use std::io::{BufWriter, Seek as _, SeekFrom, Write};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use tempfile::SpooledTempFile;

use super::difference::{Difference, DifferenceKind};
use super::statement::StatementLine;
use super::totals::{TotalAnswer, Totals};
use crate::ledger::{Amount, Currency, Entry, Heads, Kind, Span};

/// Bytes of differences that are kept in memory; more are kept in a temporary file.
const MEMORY_MAX: usize = 1024 * 1024;

/// How differences are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON object a line.
    Json,
    /// A table of so many differences at the most.
    Table { limit: u64 },
}

/// A report that grows. Nothing of it is printed before the comparison has come to its end: what a file that turns out
/// to be malformed differs in, nobody should read.
pub struct Report {
    form: Form,
    currency: Currency,
    rows: BufWriter<SpooledTempFile>,
    /// How many differences there are of each kind of [`DifferenceKind`].
    differences: [u64; DifferenceKind::ALL.len()],
    file: Totals,
    ledger: Totals,
}

impl Report {
    pub fn new(form: Form, currency: Currency) -> Self {
        Self {
            form,
            currency,
            rows: BufWriter::new(SpooledTempFile::new(MEMORY_MAX)),
            differences: Default::default(),
            file: Totals::default(),
            ledger: Totals::default(),
        }
    }

    /// Counts a line of the file.
    pub fn count_line(&mut self, told: &StatementLine) {
        self.file.add(told.key.kind, told.amount);
    }

    /// Counts an entry of the span.
    pub fn count_entry(&mut self, entry: &Entry) {
        self.ledger.add(entry.kind, entry.amount);
    }

    /// How many differences there are.
    pub fn differences(&self) -> u64 {
        self.differences.iter().sum()
    }

    /// Writes a difference.
    ///
    /// # Errors
    /// If the temporary file cannot be written.
    pub fn tell(&mut self, difference: &Difference) -> Result<()> {
        let written = match self.form {
            Form::Json => serde_json::to_writer(&mut self.rows, &difference.answer(self.currency))
                .map_err(Into::into)
                .and_then(|()| writeln!(self.rows)),
            Form::Table { limit } if self.differences() < limit => self.write_row(difference),
            Form::Table { .. } => Ok(()),
        };
        self.differences[difference.what as usize] += 1;
        written.context("cannot write a temporary file")
    }

    fn write_row(&mut self, difference: &Difference) -> std::io::Result<()> {
        let Difference { what, key, told, recorded } = difference;
        let none = || "-".to_owned();
        let money = |amount: Amount| self.currency.format_minor(amount.minor());
        let cells = [
            what.words().to_owned(),
            told.map_or_else(none, |(line, _)| line.to_string()),
            key.user_id.to_string(),
            key.kind.name().to_owned(),
            key.event_id.to_string(),
            told.map_or_else(none, |(_, amount)| money(amount)),
            recorded.map_or_else(none, |recorded| money(recorded.amount)),
            recorded.map_or_else(none, |recorded| recorded.entry_id.to_string()),
            recorded.map_or_else(none, |recorded| recorded.created_at.to_string()),
        ];
        if self.differences() == 0 {
            let names = ["difference", "line", "user", "kind", "event", "in file", "in ledger", "entry", "time"];
            writeln!(self.rows, "{}", row(&names.map(ToOwned::to_owned)))?;
        }
        writeln!(self.rows, "{}", row(&cells))
    }

    /// Prints the differences and the totals of a comparison with this part of the ledger.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn print(mut self, span: Span, heads: &Heads, mut output: impl Write) -> std::io::Result<()> {
        let totals = match self.form {
            Form::Json => serde_json::to_string(&self.answer(span, heads))?,
            Form::Table { limit } => self.text(limit, heads),
        };
        self.rows.flush()?;
        let rows = self.rows.get_mut();
        rows.seek(SeekFrom::Start(0))?;
        std::io::copy(rows, &mut output)?;
        writeln!(output, "{totals}")?;
        output.flush()
    }

    fn answer(&self, span: Span, heads: &Heads) -> SummaryAnswer {
        let counts = DifferenceKind::ALL.map(|what| (what.name().to_owned(), self.differences[what as usize].into()));
        let kind = |kind: Kind| KindAnswer {
            kind: kind.name(),
            file: self.file.answer(kind, self.currency),
            ledger: self.ledger.answer(kind, self.currency),
        };
        SummaryAnswer {
            success: self.differences() == 0,
            differences: counts.into_iter().collect(),
            kinds: self.kinds().map(kind).collect(),
            currency: self.currency.code(),
            from: span.from.map(|from| from.to_string()),
            to: span.to.map(|to| to.to_string()),
            checkpoint: heads.checkpoints().to_string(),
        }
    }

    fn text(&self, limit: u64, heads: &Heads) -> String {
        let mut lines = Vec::new();
        let untold = self.differences().saturating_sub(limit);
        if untold > 0 {
            lines.push(format!("and {untold} more; --limit shows more of them, --json all"));
        }
        if self.differences() > 0 {
            lines.push(String::new());
        }
        let titles = ["kind", "in file", "amount", "in ledger", "amount"];
        let total = |kind: Kind| {
            let ((told, told_sum), (recorded, recorded_sum)) = (self.file.of(kind), self.ledger.of(kind));
            let money = |sum| self.currency.format_sum(sum);
            [kind.name().to_owned(), told.to_string(), money(told_sum), recorded.to_string(), money(recorded_sum)]
        };
        let rows = std::iter::once(titles.map(ToOwned::to_owned)).chain(self.kinds().map(total));
        lines.extend(rows.map(|[kind, told, told_sum, recorded, recorded_sum]| {
            format!("{kind:<12} {told:>10} {told_sum:>18} {recorded:>10} {recorded_sum:>18}")
        }));
        lines.push(format!("currency: {}", self.currency));
        lines.push(format!("checkpoint: {}", heads.checkpoints()));
        lines.join("\n")
    }

    /// The kinds that are compared: those that games cause, and those of which the file has an event.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| kind.is_of_game() || self.file.has(*kind))
    }

    /// How many differences there are of each sort, in words.
    pub fn summary(&self) -> String {
        let counts = DifferenceKind::ALL.into_iter().zip(self.differences).filter(|(_, count)| *count > 0);
        counts.map(|(what, count)| format!("{count} {}", what.words())).collect::<Vec<_>>().join(", ")
    }
}

/// The totals, in the terms of the REST API.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SummaryAnswer {
    #[serde(rename = "success")]
    success: bool,
    differences: Map<String, Value>,
    kinds: Vec<KindAnswer>,
    currency: &'static str,
    from: Option<String>,
    to: Option<String>,
    checkpoint: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KindAnswer {
    kind: &'static str,
    file: TotalAnswer,
    ledger: TotalAnswer,
}

/// The cells of a difference, one below the other.
fn row([what, line, user, kind, event, told, recorded, entry, time]: &[String; 9]) -> String {
    let event = format!("{what:<21}  {line:>8}  {user:>12}  {kind:<12}  {event:>14}");
    format!("{event}  {told:>14}  {recorded:>14}  {entry:>10}  {time}")
}
