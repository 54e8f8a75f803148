//! Compares what somebody else says happened with the ledger.

mod compare;
mod difference;
mod report;
mod statement;
mod totals;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use thiserror::Error;

use super::output::still_read;
use super::{bar, one_line, print};
use crate::config::ReconcileArgs;
use compare::Comparison;
use report::{Form, Report};
use statement::Statement;

/// The file and the ledger tell different things.
#[derive(Debug, Error)]
#[error("the file and the ledger do not agree: {0}")]
pub struct Disagreement(String);

/// Compares a file with the ledger, and prints in what they differ.
///
/// # Errors
/// [`Disagreement`] if they differ. Otherwise the file or the ledger cannot be read, or a line is malformed: then
/// nothing is told of what they differ in.
pub fn run(args: &ReconcileArgs) -> Result<()> {
    let compared = compare(args);
    if args.json
        && let Err(error) = &compared
        && !error.is::<Disagreement>()
    {
        print(&json!({ "success": false, "error": one_line(error) }))?;
    }
    compared
}

fn compare(args: &ReconcileArgs) -> Result<()> {
    let ledger = &args.database.url;
    let mut reader = ledger.bulk_reader()?;
    // The end of the ledger before the file: what is committed from now on is not missing in it.
    let (currency, heads, span) = (reader.genesis().currency, reader.heads()?, args.span.span());
    let form = if args.json { Form::Json } else { Form::Table { limit: args.limit } };
    let mut report = Report::new(form, currency);
    let mut comparison = Comparison::new(reader, span);
    {
        let name = || args.file.display().to_string();
        let mut statement = Statement::open(input(&args.file)?, currency).with_context(name)?;
        let mut next = || statement.next().with_context(name);
        while comparison.lines(&mut next, &mut report)? {}
    }
    comparison.entries(ledger, &heads, &mut report)?;
    let (differences, summary) = (report.differences(), report.summary());
    still_read(report.print(span, &heads, io::stdout().lock()))?;
    if differences == 0 { Ok(()) } else { Err(Disagreement(summary).into()) }
}

/// The bytes of a file; of standard input, if it is called `-`.
fn input(path: &Path) -> Result<Box<dyn Read>> {
    const WHAT: &str = "reading the file";
    if path == Path::new("-") {
        return Ok(Box::new(bar::reading(WHAT, io::stdin().lock(), None)));
    }
    let open = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        io::Result::Ok((file, metadata.is_file().then_some(metadata.len())))
    };
    let (file, bytes) = open().with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Box::new(bar::reading(WHAT, file, bytes)))
}
