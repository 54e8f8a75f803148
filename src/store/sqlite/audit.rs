//! Walking a whole ledger, read-only, while it may be in use.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction};

use super::row::{self, commit_row, entry_columns, entry_row};
use crate::ledger::{Audit, AuditReport, Commit, Entry, Finding, Kind};
use crate::store::StoreError;

/// Walks every entry, commit and wallet of the ledger at `path`, as one moment saw it.
///
/// It blocks, for as long as reading the whole file takes. The outer result is the store's, the inner the ledger's.
///
/// # Errors
/// [`StoreError`] if the ledger cannot be read; else the first [`Finding`], if any.
pub fn audit(path: &Path) -> Result<Result<AuditReport, Finding>, StoreError> {
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(unreadable(path))?;
    let tx = connection.transaction().map_err(StoreError::unavailable)?;
    check_file(&tx, path)?;
    let mut audit = Audit::default();
    match walk(&tx, &mut audit) {
        Ok(()) => Ok(audit.finish()),
        Err(Stop::Finding(finding)) => Ok(Err(finding)),
        Err(Stop::Store(error)) => Err(error),
    }
}

enum Stop {
    Finding(Finding),
    Store(StoreError),
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Finding(finding)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(StoreError::unavailable(error))
    }
}

/// Asks SQLite whether its tables and indexes agree: a unique index that misses a row would hide it.
fn check_file(tx: &Transaction<'_>, path: &Path) -> Result<(), StoreError> {
    let answer: String = tx.query_row("pragma integrity_check(1)", [], |row| row.get(0)).map_err(unreadable(path))?;
    if answer == "ok" {
        return Ok(());
    }
    Err(StoreError::Corrupt { table: "sqlite_schema", column: "*", row: 0, found: answer })
}

fn walk(tx: &Transaction<'_>, audit: &mut Audit) -> Result<(), Stop> {
    let mut charge_of = tx.prepare(concat!(
        "select ",
        entry_columns!(),
        " from entry where event_id = ?1 and user_id = ?2 and kind = ?3"
    ))?;
    let mut charge_of = |entry: &Entry| -> Result<Option<Entry>, Stop> {
        let key = (entry.event_id.get(), entry.user_id.get(), Kind::Charge.code());
        Ok(charge_of.query_row(key, entry_row).optional()?.map(row::entry).transpose()?)
    };
    let mut select_commits =
        tx.prepare("select commit_id, last_entry_id, hash, created_at from ledger_commit order by commit_id")?;
    let mut commits = select_commits.query([])?;
    let mut select_entries = tx.prepare(concat!("select ", entry_columns!(), " from entry order by entry_id"))?;
    let mut entries = select_entries.query([])?;
    let mut commit = next_commit(commits.next()?)?;
    while let Some(found) = entries.next()? {
        let entry = row::entry(entry_row(found)?)?;
        let charge = if entry.kind == Kind::Rollback { charge_of(&entry)? } else { None };
        audit.entry(&entry, charge.as_ref())?;
        if let Some(reached) = commit.filter(|commit| commit.last_entry_id <= entry.entry_id) {
            audit.commit(&reached)?;
            commit = next_commit(commits.next()?)?;
        }
    }
    if let Some(commit) = commit {
        audit.commit(&commit)?;
    }
    let mut select_wallets = tx.prepare(
        "select user_id, balance, sequence, last_entry_id from wallet join user using (user_id) order by user_id",
    )?;
    let mut wallets = select_wallets.query([])?;
    while let Some(found) = wallets.next()? {
        let user_id: i64 = found.get(0)?;
        let standing = row::standing(user_id, (found.get(1)?, found.get(2)?, found.get(3)?))?;
        audit.wallet(row::user_id("wallet", user_id)?, standing)?;
    }
    Ok(())
}

fn next_commit(found: Option<&Row<'_>>) -> Result<Option<Commit>, Stop> {
    let Some(found) = found else { return Ok(None) };
    Ok(Some(row::commit(commit_row(found)?)?))
}

fn unreadable(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| StoreError::Unfit(format!("cannot read the database {}: {error}", path.display()))
}
