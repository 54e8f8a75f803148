//! A statement: a file in which somebody else tells what happened, as CSV or as NDJSON.

use std::io::{self, BufRead as _, BufReader, Cursor, Read};

use anyhow::{Context as _, Result, anyhow, bail};
use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord, Terminator, Trim};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::rest::{Names, ReadError, read_object};
use crate::ledger::{Amount, Currency, EntryKey, EventId, Kind, UserId, parse_decimal};

/// The fields that are read; others are ignored.
const FIELDS: &[&str] = &["UserId", "Kind", "EventId", "Amount"];

/// Bytes that a line may have.
const LINE_SIZE_MAX: u64 = 1024 * 1024;

/// What marks a file as UTF-8 on some systems.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One event, as a statement tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementLine {
    /// The number of its line in the file, from 1 on.
    pub line: u64,
    pub key: EntryKey,
    pub amount: Amount,
}

/// A statement that is being read.
pub struct Statement<R> {
    lines: Lines<R>,
    currency: Currency,
}

enum Lines<R> {
    Csv(Csv<R>),
    Ndjson { reader: BufReader<Source<R>>, number: u64, text: String },
}

impl<R: Read> Statement<R> {
    /// A statement in this currency. It is NDJSON if its first character that is no white space is `{`, and otherwise
    /// CSV.
    ///
    /// # Errors
    /// If it cannot be read, or is a CSV whose first line does not name the fields.
    pub fn open(mut input: R, currency: Currency) -> Result<Self> {
        let mut start = Vec::new();
        let bytes_max = u64::try_from(BYTE_ORDER_MARK.len())? + 1;
        input.by_ref().take(bytes_max).read_to_end(&mut start)?;
        if start.starts_with(BYTE_ORDER_MARK) {
            start.drain(..BYTE_ORDER_MARK.len());
        }
        // White space in front of the first line, as far as it is no name of a column.
        while start.trim_ascii_start().is_empty() && input.by_ref().take(1).read_to_end(&mut start)? > 0 {
            if u64::try_from(start.len())? > LINE_SIZE_MAX {
                bail!("line 1: it is too long");
            }
        }
        let is_json = start.trim_ascii_start().starts_with(b"{");
        // The last line has an end then, as every other has: its number follows from how many ends were read.
        let input = Cursor::new(start).chain(input).chain(&b"\n"[..]);
        let source = Source { input, left: LINE_SIZE_MAX };
        let lines = if is_json {
            Lines::Ndjson { reader: BufReader::new(source), number: 0, text: String::new() }
        } else {
            Lines::Csv(Csv::open(source)?)
        };
        Ok(Self { lines, currency })
    }

    /// Reads the next event; `None` at the end.
    ///
    /// # Errors
    /// If the line does not tell an event; the error names its number.
    pub fn next(&mut self) -> Result<Option<StatementLine>> {
        match &mut self.lines {
            Lines::Csv(csv) => {
                let Some(line) = csv.next_record()? else { return Ok(None) };
                told(line, csv.fields(), self.currency).with_context(|| format!("line {line}")).map(Some)
            }
            Lines::Ndjson { reader, number, text } => {
                if !next_line(reader, number, text)? {
                    return Ok(None);
                }
                let read = || told(*number, object(text)?.fields(), self.currency);
                read().with_context(|| format!("line {number}")).map(Some)
            }
        }
    }
}

/// A CSV that is being read.
struct Csv<R> {
    reader: Reader<Source<R>>,
    /// How many columns it has.
    width: usize,
    /// Where the columns of [`FIELDS`] are.
    columns: [usize; 4],
    record: StringRecord,
}

impl<R: Read> Csv<R> {
    fn open(source: Source<R>) -> Result<Self> {
        // Lines of any length, which are checked below, and with either end: what stands before it is trimmed.
        let mut builder = ReaderBuilder::new();
        builder.flexible(true).trim(Trim::All).terminator(Terminator::Any(b'\n'));
        let mut reader = builder.from_reader(source);
        let header = reader.headers().map_err(csv_error).context("line 1")?;
        let (width, columns) = (header.len(), columns(header).context("line 1")?);
        Ok(Self { reader, width, columns, record: StringRecord::new() })
    }

    /// Reads the next record that is not empty, and returns the number of its last line; `None` at the end.
    fn next_record(&mut self) -> Result<Option<u64>> {
        loop {
            self.reader.get_mut().left = LINE_SIZE_MAX;
            let read = self.reader.read_record(&mut self.record);
            let line = self.reader.position().line() - 1;
            if !read.map_err(csv_error).with_context(|| format!("line {line}"))? {
                return Ok(None);
            }
            if self.record.len() == self.width {
                return Ok(Some(line));
            }
            if self.record.iter().any(|field| !field.is_empty()) {
                bail!("line {line}: it has {} fields, and the first line has {}", self.record.len(), self.width);
            }
        }
    }

    fn fields(&self) -> [Option<&str>; 4] {
        self.columns.map(|column| self.record.get(column).filter(|text| !text.is_empty()))
    }
}

/// Where the columns of the fields are.
fn columns(header: &StringRecord) -> Result<[usize; 4]> {
    let mut names = Names::new(FIELDS);
    let mut columns = [None; 4];
    for (at, name) in header.iter().enumerate() {
        if let Some(field) = names.give(name).map_err(|problem| anyhow!(problem.message))? {
            columns[field] = Some(at);
        }
    }
    let column = |field: usize| columns[field].with_context(|| format!("no column is called {}", FIELDS[field]));
    Ok([column(0)?, column(1)?, column(2)?, column(3)?])
}

/// Reads the next line that is not empty; false at the end.
fn next_line<R: Read>(reader: &mut BufReader<Source<R>>, number: &mut u64, text: &mut String) -> Result<bool> {
    loop {
        text.clear();
        reader.get_mut().left = LINE_SIZE_MAX;
        let read = reader.read_line(text).with_context(|| format!("line {}", *number + 1))?;
        if read == 0 {
            return Ok(false);
        }
        *number += 1;
        if !text.trim().is_empty() {
            return Ok(true);
        }
    }
}

/// A line of NDJSON, with its numbers as they are written.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object<'a> {
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    kind: Option<String>,
    #[serde(borrow)]
    event_id: Option<&'a RawValue>,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
}

impl Object<'_> {
    fn fields(&self) -> [Option<&str>; 4] {
        let Self { user_id, kind, event_id, amount } = self;
        [user_id.map(RawValue::get), kind.as_deref(), event_id.map(RawValue::get), amount.map(RawValue::get)]
    }
}

fn object(text: &str) -> Result<Object<'_>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let object = read_object(&mut json).map_err(|error| match error {
        ReadError::Name(problem) => anyhow!(problem.message),
        ReadError::Input(_) => anyhow!("it is no JSON object with a string as its Kind"),
    })?;
    json.end().map_err(|_| anyhow!("there is more than one JSON object"))?;
    Ok(object)
}

/// The event that a line tells, from the texts of its fields in the order of [`FIELDS`].
fn told(line: u64, fields: [Option<&str>; 4], currency: Currency) -> Result<StatementLine> {
    let text = |field: usize| fields[field].with_context(|| format!("{} is missing", FIELDS[field]));
    let number = |field: usize| {
        let number = parse_decimal(text(field)?, 0).ok().filter(|number| *number >= 0);
        number.with_context(|| format!("{} must be a whole number from 0 to {}", FIELDS[field], i64::MAX))
    };
    let user_id = UserId::new(number(0)?).context("UserId is negative")?;
    let name = text(1)?;
    let Some(kind) = Kind::from_name(name) else {
        bail!("Kind {name:?} is none of {}", Kind::names());
    };
    let event_id = EventId::new(number(2)?).context("EventId is negative")?;
    let minor = currency.parse_minor(text(3)?).map_err(|error| anyhow!("Amount {error}"))?;
    let amount = Amount::from_minor(minor).context("Amount is negative")?;
    Ok(StatementLine { line, key: EntryKey { user_id, kind, event_id }, amount })
}

/// Why a CSV cannot be read.
fn csv_error(error: csv::Error) -> anyhow::Error {
    match error.into_kind() {
        ErrorKind::Io(error) => error.into(),
        ErrorKind::Utf8 { .. } => anyhow!("it is not UTF-8"),
        other => anyhow!("it is no CSV: {other:?}"),
    }
}

/// The bytes of a statement, so many for each line: one without an end must not fill the memory.
struct Source<R> {
    input: io::Chain<io::Chain<Cursor<Vec<u8>>, R>, &'static [u8]>,
    /// Bytes that may still be read for the line.
    left: u64,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!("it has more than {LINE_SIZE_MAX} bytes")));
        }
        let read = self.input.read(buffer)?;
        self.left = self.left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line, user, kind, event and minor units.
    type Row = (u64, i64, &'static str, i64, i64);

    fn read(text: &str) -> Result<Vec<Row>, String> {
        let read = || {
            let mut statement = Statement::open(text.as_bytes(), "EUR".parse()?)?;
            let mut all = Vec::new();
            while let Some(StatementLine { line, key, amount }) = statement.next()? {
                all.push((line, key.user_id.get(), key.kind.name(), key.event_id.get(), amount.minor()));
            }
            anyhow::Ok(all)
        };
        read().map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn columns_are_found_by_their_names_in_any_order() {
        let expected = Ok(vec![(2, 1, "charge", 2, 350), (3, 4, "win", 5, 600)]);
        for text in [
            "UserId,Kind,EventId,Amount\n1,charge,2,3.50\n4,win,5,6\n",
            "\u{feff}Amount,x,Kind,EventId,UserId\r\n3.5,\"a,\"\"\",charge,2,1\r\n6.00,,win,5,4",
            "UserId,Kind,EventId,Amount,x\r\n1,charge,2,3.50,\"\"\r\n4,win,5,6,\" \"\r\n\r\n",
            " Kind , UserId , EventId , Amount \n charge , 1 , 2 , 3.50 \n win,4,5,60e-1\n",
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read("UserId,Kind,EventId,Amount"), Ok(vec![]));
        let spaced = "UserId,Kind,EventId,Amount\n\n1,charge,2,3.50\n\r\n,,,\n";
        assert_eq!(read(spaced), Err("line 5: UserId is missing".to_owned()));
    }

    #[test]
    fn ndjson_is_known_by_its_first_brace() {
        let expected = Ok(vec![(1, 1, "charge", 2, 350), (3, 4, "win_rollback", 5, 600)]);
        let text = concat!(
            r#"{"Amount":3.50,"Kind":"charge","UserId":1,"EventId":2,"Other":{"Amount":[1]}}"#,
            "\n\n",
            r#" {"UserId":4,"Kind":"win_rollback","EventId":5,"Amount":6}"#,
        );
        assert_eq!(read(text), expected);
        assert_eq!(read(&format!("\u{feff}{text}\r\n")), expected);
    }

    #[test]
    fn a_malformed_line_is_named() {
        let csv = |rest: &str| read(&format!("UserId,Kind,EventId,Amount\n1,charge,2,3.50\n{rest}\n")).unwrap_err();
        for (line, error) in [
            ("1,charge,2", "line 3: it has 3 fields, and the first line has 4"),
            ("1,charge,2,3.505", "line 3: Amount has more than 2 decimals"),
            ("1,charge,2,", "line 3: Amount is missing"),
            ("1,charge,2,-1", "line 3: Amount is negative"),
            ("1,charge,2,1e400", "line 3: Amount is out of range"),
            ("1,charge,,1", "line 3: EventId is missing"),
            ("x,charge,2,1", "line 3: UserId must be a whole number from 0 to 9223372036854775807"),
            ("1,charge,-2,1", "line 3: EventId must be a whole number from 0 to 9223372036854775807"),
            ("1,Charge,2,1", "line 3: Kind \"Charge\" is none of open, charge, win,"),
            ("1,charge,2,1\n1,win,2,x", "line 4: Amount "),
        ] {
            assert!(csv(line).starts_with(error), "{line}: {}", csv(line));
        }
        let json = |line: &str| {
            let first = r#"{"UserId":1,"Kind":"charge","EventId":2,"Amount":1}"#;
            read(&format!("{first}\n{line}\n")).unwrap_err()
        };
        for (line, error) in [
            (r#"{"UserId":1,"Kind":"charge","EventId":2}"#, "line 2: Amount is missing"),
            (r#"{"UserId":1,"Kind":"charge","EventId":null,"Amount":1}"#, "line 2: EventId is missing"),
            (r#"{"UserId":1,"Kind":"charge","EventId":2,"Amount":"1"}"#, "line 2: Amount "),
            (r#"{"UserId":1,"UserId":1,"Kind":"charge"}"#, "line 2: UserId is given more than once"),
            (r#"{"userId":1}"#, "line 2: userId must be spelled UserId"),
            (r#"{"Kind":7}"#, "line 2: it is no JSON object"),
            ("{", "line 2: it is no JSON object"),
            ("{}{}", "line 2: there is more than one JSON object"),
        ] {
            assert!(json(line).starts_with(error), "{line}: {}", json(line));
        }
    }

    #[test]
    fn a_header_must_name_each_column_once() {
        for (header, error) in [
            ("UserId,Kind,EventId", "line 1: no column is called Amount"),
            ("", "line 1: no column is called UserId"),
            ("userid,Kind,EventId,Amount", "line 1: userid must be spelled UserId"),
            ("UserId,Kind,EventId,Amount,Kind", "line 1: Kind is given more than once"),
            ("UserId;Kind;EventId;Amount", "line 1: no column is called UserId"),
        ] {
            assert_eq!(read(header), Err(error.to_owned()), "{header}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
        let long = "x".repeat(3 * 1024 * 1024);
        for text in [
            format!("UserId,Kind,EventId,Amount\n1,charge,2,\"{long}"),
            format!("{{\"UserId\":1}}\n{{\"Kind\":\"{long}").replacen("{\"UserId\":1}\n", "", 1),
        ] {
            assert!(read(&text).unwrap_err().contains("it has more than 1048576 bytes"));
        }
    }
}
