//! What an operator does to keep a ledger safe: verify it, back it up, restore it. Each returns a report.

use std::fmt::Display;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Error, Result};
use serde_json::{Value, json};

use super::one_line;
use super::progress::Progress;
use crate::config::VerifyArgs;
use crate::ledger::{Checkpoints, EntryId, Finding, LedgerReport, Place, UserId};
use crate::store::{Location, StoreError};

/// Verifies the whole ledger, and prints what it holds. If an earlier checkpoint is given, the ledger must still agree
/// with it.
///
/// # Errors
/// If it cannot be read, something in it is wrong, or it is a copy that is not whole.
pub fn verify(args: &VerifyArgs, print: fn(&dyn Display) -> Result<()>) -> Result<()> {
    let started = Instant::now();
    let verified = audit(&args.database.url, args.checkpoint.as_ref());
    if !args.json {
        return print(&verified?);
    }
    let mut report = match &verified {
        Ok(report) => report_json(report),
        Err(error) => error_json(error),
    };
    report["Seconds"] = json!(started.elapsed().as_secs_f64());
    print(&report)?;
    verified.map(|_| ())
}

fn audit(ledger: &Location, checkpoints: Option<&Checkpoints>) -> Result<LedgerReport> {
    let mut progress = Progress::on_terminal();
    let audited = ledger.audit(checkpoints, &mut |step| progress.show(step));
    drop(progress);
    let report = audited?.context("the ledger is wrong")?;
    // A copy that is not whole verifies as well: it is the beginning of a ledger. This refuses it.
    ledger.bulk_reader()?;
    Ok(report)
}

/// The report in the terms of the REST API.
fn report_json(report: &LedgerReport) -> Value {
    let LedgerReport { heads, wallets, currency } = report;
    json!({
        "success": true,
        "Wallets": wallets,
        "Entries": heads.entries(),
        "Commits": heads.commits(),
        "Shards": heads.iter().count(),
        "Currency": currency.code(),
        "Checkpoint": report.checkpoints().to_string(),
    })
}

/// Why there is no report; if something is wrong with the ledger, also what and where.
pub(super) fn error_json(error: &Error) -> Value {
    let mut report = json!({ "success": false, "error": one_line(error) });
    if let Some(finding) = error.downcast_ref::<Finding>() {
        let Place { commit_id, entry_id, user_id } = finding.place();
        report["Finding"] = json!(finding.name());
        report["CommitId"] = json!(commit_id);
        report["EntryId"] = json!(entry_id.map(EntryId::get));
        report["UserId"] = json!(user_id.map(UserId::get));
    } else if let Some(StoreError::Corrupt { table, column, row, .. }) = error.downcast_ref() {
        report["Finding"] = json!("CORRUPT");
        report["Table"] = json!(table);
        report["Column"] = json!(column);
        report["Row"] = json!(row);
    }
    report
}

/// Copies the ledger to a new file, and reports what is in that.
///
/// # Errors
/// If the copy cannot be made, or something in it is wrong: then there is no such file.
pub fn backup(ledger: &Location, file: &Path) -> Result<String> {
    let mut progress = Progress::everywhere();
    let report = ledger.backup(file, &mut |step| progress.show(step))?;
    let report = report.context("the ledger is wrong; no backup was made")?;
    Ok(format!("backed up to {}\n{report}", file.display()))
}

/// Makes the ledger from a backup, and reports what is in it.
///
/// # Errors
/// If there is a ledger already, the copy cannot be made, or something in it is wrong: then nothing was made.
pub fn restore(ledger: &Location, file: &Path) -> Result<String> {
    let mut progress = Progress::everywhere();
    let report = ledger.restore(file, &mut |step| progress.show(step))?;
    let report = report.context("the backup is wrong; nothing was restored")?;
    Ok(format!("restored from {}\n{report}", file.display()))
}
