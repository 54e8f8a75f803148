//! Writes the entries of a ledger as CSV or NDJSON.

use std::io::Write as _;

use anyhow::{Error, Result};
use csv::WriterBuilder;
use serde_json::{Value, json};

use super::bar::Bar;
use super::output::{Output, Reader};
use crate::api::rest::EntryAnswer;
use crate::config::{ExportArgs, ExportFormat};
use crate::ledger::{Currency, Entry, Heads};
use crate::store::{self, StoreError};

/// What was exported.
struct Report<'a> {
    args: &'a ExportArgs,
    entries: u64,
    currency: Currency,
    heads: Heads,
}

/// Writes the entries that are asked for, up to the end that the ledger has now: shard after shard, each in commit
/// order. Prints a report on standard error.
///
/// # Errors
/// If the ledger cannot be read, or the file cannot be written: then the file is as it was before.
pub fn run(args: &ExportArgs) -> Result<()> {
    let ledger = &args.database.url;
    let mut reader = ledger.bulk_reader()?;
    let (currency, heads) = (reader.genesis().currency, reader.heads()?);
    let ranges = reader.ranges(args.span.span(), &heads)?;
    let mut output = Output::open(args.out.as_deref(), ledger)?;
    let mut entries = 0;
    let written = write(&mut output, &header(args.format)).and_then(|()| {
        let bar = Bar::of_entries("exporting", store::count(&ranges));
        let render = |page: Vec<Entry>| (page.len(), rows(args.format, currency, &page));
        store::walk(ledger, &ranges, &args.filter.filter(), render, |(count, rows), read| {
            bar.add(read);
            entries += u64::try_from(count).unwrap_or(u64::MAX);
            write(&mut output, &rows)
        })
    });
    match written.and_then(|()| output.finish().map_err(Stop::Error)) {
        Ok(Reader::Listens) => Report { args, entries, currency, heads }.print(),
        Ok(Reader::HungUp) | Err(Stop::HungUp) => Ok(()),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// Why an export ends before its end.
enum Stop {
    /// Nobody reads what is written. That is no failure.
    HungUp,
    Error(Error),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

fn write(output: &mut Output, bytes: &[u8]) -> Result<(), Stop> {
    match output.write(bytes).map_err(Stop::Error)? {
        Reader::Listens => Ok(()),
        Reader::HungUp => Err(Stop::HungUp),
    }
}

/// What stands before the entries.
fn header(format: ExportFormat) -> Vec<u8> {
    match format {
        ExportFormat::Csv => (EntryAnswer::FIELDS.join(",") + "\n").into_bytes(),
        ExportFormat::Ndjson => Vec::new(),
    }
}

/// The entries as lines of the file, each with the values that REST answers.
fn rows(format: ExportFormat, currency: Currency, page: &[Entry]) -> Vec<u8> {
    let answers = page.iter().map(|entry| EntryAnswer::new(entry, currency));
    match format {
        ExportFormat::Csv => {
            let mut rows = WriterBuilder::new().has_headers(false).from_writer(Vec::new());
            answers.for_each(|answer| rows.serialize(answer).expect("an entry can be written as CSV"));
            rows.into_inner().expect("memory can be written")
        }
        ExportFormat::Ndjson => {
            let mut rows = Vec::new();
            for answer in answers {
                serde_json::to_writer(&mut rows, &answer).expect("an entry can be written as JSON");
                rows.push(b'\n');
            }
            rows
        }
    }
}

impl Report<'_> {
    /// Prints the report on standard error: standard output may have the entries.
    fn print(&self) -> Result<()> {
        let text = if self.args.json { self.json().to_string() } else { self.text() };
        Ok(writeln!(std::io::stderr(), "{text}")?)
    }

    fn json(&self) -> Value {
        let Self { args, entries, currency, heads } = self;
        json!({
            "success": true,
            "Entries": entries,
            "From": args.span.from.map(|from| from.to_string()),
            "To": args.span.to.map(|to| to.to_string()),
            "Currency": currency.code(),
            "Checkpoint": heads.checkpoints().to_string(),
        })
    }

    fn text(&self) -> String {
        let Self { args, entries, heads, .. } = self;
        let to = args.out.as_ref().map(|file| format!(" to {}", file.display())).unwrap_or_default();
        format!("exported {entries} entries{to}\ncheckpoint: {}", heads.checkpoints())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{
        Amount, Annotations, Balance, Caller, EntryId, EventId, Kind, Note, RoundId, Timestamp, UserId,
    };

    fn entry(note: &str) -> Entry {
        Entry {
            entry_id: EntryId::new(2).unwrap(),
            user_id: UserId::new(7).unwrap(),
            sequence: 2,
            kind: Kind::Deposit,
            event_id: EventId::new(9).unwrap(),
            amount: Amount::from_minor(100).unwrap(),
            balance_after: Balance::from_minor(1_005).unwrap(),
            previous_entry_id: EntryId::new(1),
            created_at: Timestamp::from_microseconds(1_767_323_045_000_006),
            wallet_id: None,
            annotations: Annotations { round_id: RoundId::new(5), note: Note::new(note), caller: Caller::new("a") },
        }
    }

    fn text(format: ExportFormat, currency: &str, page: &[Entry]) -> String {
        String::from_utf8(rows(format, currency.parse().unwrap(), page)).unwrap()
    }

    #[test]
    fn a_csv_has_the_columns_of_an_answer() {
        let json = text(ExportFormat::Ndjson, "EUR", &[entry("x")]);
        let answer: serde_json::Map<String, Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(answer.keys().map(String::as_str).collect::<Vec<_>>(), EntryAnswer::FIELDS);
    }

    #[test]
    fn a_row_has_every_field_as_rest_writes_it() {
        let row = text(ExportFormat::Csv, "EUR", &[entry("a, \"b\" é")]);
        assert_eq!(row, "2,7,2,deposit,9,1.00,10.05,5,\"a, \"\"b\"\" é\",a,2026-01-02T03:04:05.000006Z\n");
        let bare = Entry { annotations: Annotations::NONE, ..entry("x") };
        let row = text(ExportFormat::Csv, "JPY", std::slice::from_ref(&bare));
        assert_eq!(row, "2,7,2,deposit,9,100,1005,,,,2026-01-02T03:04:05.000006Z\n");
        let line = text(ExportFormat::Ndjson, "KWD", &[bare]);
        let answer = concat!(
            r#"{"EntryId":2,"UserId":7,"Sequence":2,"Kind":"deposit","EventId":9,"Amount":0.100,"BalanceAfter":1.005,"#,
            r#""RoundId":null,"Note":null,"Caller":null,"CreatedAt":"2026-01-02T03:04:05.000006Z"}"#,
            "\n"
        );
        assert_eq!(line, answer);
    }

    #[test]
    fn a_note_is_never_changed_for_the_sake_of_a_spreadsheet() {
        for note in ["=1+1", "+1", "-1", "@x"] {
            assert!(text(ExportFormat::Csv, "EUR", &[entry(note)]).contains(&format!(",{note},")), "{note}");
        }
    }
}
