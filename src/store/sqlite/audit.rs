//! Walking a whole ledger, read-only, while it may be in use.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction};

use super::open::MIGRATIONS;
use super::row::{self, commit_row, entry_columns, entry_row};
use crate::ledger::{Audit, AuditReport, Checkpoint, Commit, Currency, Entry, Finding, Kind, Timestamp};
use crate::store::StoreError;

/// Walks every entry, commit and wallet of the ledger at `path`, as one moment saw it.
///
/// It blocks, for as long as reading the whole file takes. The outer result is the store's, the inner the ledger's.
///
/// # Errors
/// [`StoreError`] if the ledger cannot be read; else the first [`Finding`], if any. An earlier `checkpoint` must be met.
pub fn audit(path: &Path, checkpoint: Option<Checkpoint>) -> Result<Result<AuditReport, Finding>, StoreError> {
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(unreadable(path))?;
    let tx = connection.transaction().map_err(StoreError::unavailable)?;
    check_file(&tx, path)?;
    let mut audit = Audit::new(checkpoint);
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
    check_schema(tx)?;
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
    check_wallets(tx, audit)
}

/// Checks each wallet and its user, and that there is neither without the other.
fn check_wallets(tx: &Transaction<'_>, audit: &mut Audit) -> Result<(), Stop> {
    let mut select = tx.prepare(
        "select wallet.user_id, balance, sequence, last_entry_id, wallet_id, created_at
         from wallet left join user using (user_id) order by wallet.user_id",
    )?;
    let mut wallets = select.query([])?;
    while let Some(found) = wallets.next()? {
        let number: i64 = found.get(0)?;
        let user_id = row::user_id("wallet", number)?;
        let state = row::state(number, (found.get(1)?, found.get(2)?, found.get(3)?))?;
        let user: Option<(Vec<u8>, i64)> = found.get::<_, Option<_>>(4)?.zip(found.get(5)?);
        let (wallet_id, created_at) = user.ok_or(Finding::UserMissing { user_id })?;
        row::wallet_id(number, &wallet_id)?;
        audit.wallet(user_id, state, Timestamp::from_microseconds(created_at))?;
    }
    let lonely = "select user_id from user where user_id not in (select user_id from wallet) limit 1";
    match tx.query_row(lonely, [], |row| row.get(0)).optional()? {
        Some(number) => Err(Finding::UserMissing { user_id: row::user_id("user", number)? }.into()),
        None => Ok(()),
    }
}

/// Compares what the database is made of with what the migrations make, trigger by trigger and check by check. Tables of
/// other programs that keep the file company (a replicator's) are called `_…`, as sqlx's are.
fn check_schema(tx: &Transaction<'_>) -> Result<(), Stop> {
    let pattern = Connection::open_in_memory()?;
    for migration in MIGRATIONS.iter() {
        pattern.execute_batch(migration.sql.as_str())?;
    }
    let (expected, found) = (schema(&pattern)?, schema(tx)?);
    let different = |(name, sql): &&(String, String)| !(expected.contains(&(name.clone(), sql.clone())));
    if let Some((name, _)) = found.iter().find(different).or_else(|| expected.iter().find(|one| !found.contains(one))) {
        return Err(Finding::Foreign { what: format!("`{name}`") }.into());
    }
    let currency: Option<String> =
        tx.query_row("select value from setting where name = 'currency'", [], |row| row.get(0)).optional()?;
    if currency.is_none_or(|code| code.parse::<Currency>().is_err()) {
        return Err(Finding::Foreign { what: "the currency".to_owned() }.into());
    }
    Ok(())
}

fn schema(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut select = connection.prepare(
        "select name, sql from sqlite_schema
         where sql is not null and substr(tbl_name, 1, 1) <> '_' and substr(name, 1, 7) <> 'sqlite_'",
    )?;
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn next_commit(found: Option<&Row<'_>>) -> Result<Option<Commit>, Stop> {
    let Some(found) = found else { return Ok(None) };
    Ok(Some(row::commit(commit_row(found)?)?))
}

fn unreadable(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| StoreError::Incompatible(format!("cannot read the database {}: {error}", path.display()))
}
