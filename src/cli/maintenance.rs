//! What an operator does to keep a ledger safe: verify it, back it up, restore it. Each returns a report.

use std::fmt::Display;
use std::io::{IsTerminal as _, stderr};
use std::path::Path;

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::one_line;
use crate::config::VerifyArgs;
use crate::ledger::{AuditReport, Checkpoint};
use crate::store::{CopyStep, Location};

/// Verifies the whole ledger, and prints what it holds. If an earlier checkpoint is given, the ledger must still agree
/// with it.
///
/// # Errors
/// If it cannot be read, or something in it is wrong.
pub fn verify(args: &VerifyArgs, print: fn(&dyn Display) -> Result<()>) -> Result<()> {
    let verified = audit(&args.database.url, args.checkpoint);
    if !args.json {
        return print(&verified?);
    }
    print(&match &verified {
        Ok(report) => report_json(report),
        Err(error) => json!({ "success": false, "error": one_line(error) }),
    })?;
    verified.map(|_| ())
}

fn audit(ledger: &Location, checkpoint: Option<Checkpoint>) -> Result<AuditReport> {
    ledger.audit(checkpoint)?.context("the ledger is wrong")
}

/// The report in the terms of the REST API.
fn report_json(AuditReport { head, wallets, currency }: &AuditReport) -> Value {
    json!({
        "success": true,
        "Wallets": wallets,
        "Entries": head.last_entry_id.get(),
        "Commits": head.commit_id,
        "Currency": currency.code(),
        "Checkpoint": Checkpoint::from(*head).to_string(),
    })
}

/// Copies the ledger to a new file, and reports what is in that.
///
/// # Errors
/// If the copy cannot be made, or something in it is wrong: then there is no such file.
pub fn backup(ledger: &Location, file: &Path) -> Result<String> {
    let mut progress = Progress::default();
    let report = ledger.backup(file, &mut |step| progress.show(step))?;
    let report = report.context("the ledger is wrong; no backup was made")?;
    Ok(format!("backed up to {}\n{report}", file.display()))
}

/// Makes the ledger from a backup, and reports what is in it.
///
/// # Errors
/// If there is a ledger already, the copy cannot be made, or something in it is wrong: then nothing was made.
pub fn restore(ledger: &Location, file: &Path) -> Result<String> {
    let mut progress = Progress::default();
    let report = ledger.restore(file, &mut |step| progress.show(step))?;
    let report = report.context("the backup is wrong; nothing was restored")?;
    Ok(format!("restored from {}\n{report}", file.display()))
}

/// How far a copy is, on standard error: a bar on a terminal, a line for each tenth in a log.
#[derive(Default)]
struct Progress {
    bar: Option<ProgressBar>,
    tenths: u32,
}

impl Progress {
    fn show(&mut self, step: CopyStep) {
        if stderr().is_terminal() {
            self.draw(step);
        } else {
            self.write(step);
        }
    }

    fn draw(&mut self, step: CopyStep) {
        match step {
            CopyStep::Copying { done, of } => {
                let style = ProgressStyle::with_template("copying {bar:40} {percent:>3} %, {eta} left");
                let style = style.expect("the template is valid");
                let bar = self.bar.get_or_insert_with(|| ProgressBar::new(of.into()).with_style(style));
                bar.set_position(done.into());
            }
            CopyStep::Verifying => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                eprintln!("verifying");
            }
        }
    }

    fn write(&mut self, step: CopyStep) {
        match step {
            CopyStep::Copying { done, of } => {
                let tenths = u32::try_from(u64::from(done) * 10 / u64::from(of.max(1))).unwrap_or(10);
                if tenths > self.tenths {
                    self.tenths = tenths;
                    eprintln!("copied {} %", tenths * 10);
                }
            }
            CopyStep::Verifying => eprintln!("verifying"),
        }
    }
}
