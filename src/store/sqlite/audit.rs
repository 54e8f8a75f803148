//! Reads a whole ledger for its audit, while it may be in use.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use super::error::failed;
use super::history;
use super::open::{MIGRATIONS, open_to_read, schema_version, unreadable};
use super::query::query;
use super::row::{self, select_commit, select_entry};
use crate::ledger::{Audit, AuditReport, Checkpoint, Commit, Currency, Entry, Finding, Timestamp};
use crate::store::StoreError;

/// The migration that makes the history index.
const HISTORY_INDEX_SINCE: i64 = 2;

const SELECT_UNDONE: &str = select_entry!("entry", "where event_id = ?1 and entry.user_id = ?2 and kind = ?3");

/// Verifies every entry, commit and wallet of the ledger at `path`, as it is at one moment.
///
/// It blocks, for as long as reading the whole file takes. The outer result is the store's, the inner the ledger's. If
/// an earlier `checkpoint` is given, the ledger must still agree with it.
///
/// # Errors
/// [`StoreError`] if the ledger cannot be read; else the first [`Finding`], if any.
pub fn audit(path: &Path, checkpoint: Option<Checkpoint>) -> Result<Result<AuditReport, Finding>, StoreError> {
    let mut connection = open_to_read(path)?;
    let tx = connection.transaction().map_err(StoreError::unavailable)?;
    check_file(&tx, path)?;
    match walk(&tx, checkpoint) {
        Ok(report) => Ok(Ok(report)),
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
        Self::Store(failed(error))
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

fn walk(tx: &Transaction<'_>, checkpoint: Option<Checkpoint>) -> Result<AuditReport, Stop> {
    let version = schema_version(tx)?;
    check_schema(tx, version)?;
    let has_index = version >= HISTORY_INDEX_SINCE;
    let mut audit = Audit::new(currency(tx)?, checkpoint);
    let mut select_commits = tx.prepare(select_commit!("order by commit_id"))?;
    let mut commits = select_commits.query([])?;
    let mut select_entries = tx.prepare(select_entry!("entry", "order by entry.entry_id"))?;
    let mut entries = select_entries.query([])?;
    let mut commit = next_commit(commits.next()?)?;
    let mut indexed = 0;
    while let Some(found) = entries.next()? {
        let entry = row::entry(found)?;
        audit.entry(&entry, undone(tx, &entry)?.as_ref())?;
        if has_index && history::is_indexed(&entry) {
            indexed += 1;
            check_indexed(tx, &entry)?;
        }
        if let Some(reached) = commit.filter(|commit| commit.last_entry_id <= entry.entry_id) {
            audit.commit(&reached)?;
            commit = next_commit(commits.next()?)?;
        }
    }
    if let Some(commit) = commit {
        audit.commit(&commit)?;
    }
    if has_index {
        check_index_size(tx, indexed)?;
    }
    check_notes(tx)?;
    check_wallets(tx, &mut audit)?;
    Ok(audit.finish()?)
}

/// The entry that a rollback names, if it is stored.
fn undone(tx: &Transaction<'_>, rollback: &Entry) -> Result<Option<Entry>, Stop> {
    let Some(kind) = rollback.kind.undoes() else { return Ok(None) };
    let key = (rollback.event_id.get(), rollback.user_id.get(), kind.code());
    Ok(query(tx, SELECT_UNDONE, key, row::entry)?)
}

/// Checks that the history index has an entry as it must.
fn check_indexed(tx: &Transaction<'_>, entry: &Entry) -> Result<(), Stop> {
    if history::index_has(tx, entry)? {
        return Ok(());
    }
    Err(Finding::Changed { what: format!("row of the history index for entry {}", entry.entry_id) }.into())
}

/// Checks that the history index has no more rows than it must.
fn check_index_size(tx: &Transaction<'_>, expected: i64) -> Result<(), Stop> {
    let found: i64 = tx.query_row("select count(*) from history_index", [], |row| row.get(0))?;
    if found == expected {
        return Ok(());
    }
    Err(Finding::Foreign { what: format!("history index with {found} rows, not {expected},") }.into())
}

/// Checks that each note belongs to an entry: one that does is covered by the entry's hash.
fn check_notes(tx: &Transaction<'_>) -> Result<(), Stop> {
    let stray = "select entry_id from entry_note where entry_id not in (select entry_id from entry) limit 1";
    match tx.query_row(stray, [], |row| row.get::<_, i64>(0)).optional()? {
        Some(entry_id) => Err(Finding::Foreign { what: format!("note of entry {entry_id}") }.into()),
        None => Ok(()),
    }
}

/// Checks each wallet and its user, and that there is neither without the other.
fn check_wallets(tx: &Transaction<'_>, audit: &mut Audit) -> Result<(), Stop> {
    let mut select = tx.prepare(
        "select wallet.user_id, balance, sequence, last_entry_id, wallet_id, created_at
         from wallet left join user using (user_id) order by wallet.user_id",
    )?;
    let mut wallets = select.query([])?;
    while let Some(found) = wallets.next()? {
        let user_id = row::user_id(found, 0, "wallet")?;
        let state = row::wallet_state(found, 1, user_id)?;
        let created_at: Option<i64> = found.get(5)?;
        let created_at = created_at.ok_or(Finding::UserMissing { user_id })?;
        row::wallet_id(found, 4, user_id)?;
        audit.wallet(user_id, state, Timestamp::from_microseconds(created_at))?;
    }
    let mut select =
        tx.prepare("select user_id from user where user_id not in (select user_id from wallet) limit 1")?;
    match select.query([])?.next()? {
        Some(found) => Err(Finding::UserMissing { user_id: row::user_id(found, 0, "user")? }.into()),
        None => Ok(()),
    }
}

/// Compares the database's tables, triggers and indexes with what the migrations up to `version` make. Tables whose
/// names begin with `_` belong to sqlx and to other programs that use the file, such as a replicator.
fn check_schema(tx: &Transaction<'_>, version: i64) -> Result<(), Stop> {
    let pattern = Connection::open_in_memory()?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version <= version) {
        pattern.execute_batch(migration.sql.as_str())?;
    }
    let (expected, found) = (schema(&pattern)?, schema(tx)?);
    if let Some(Part { kind, name, .. }) = expected.iter().find(|part| !found.contains(part)) {
        return Err(Finding::Changed { what: format!("{kind} `{name}`") }.into());
    }
    if let Some(Part { kind, name, .. }) = found.iter().find(|part| !expected.contains(part)) {
        return Err(Finding::Foreign { what: format!("{kind} `{name}`") }.into());
    }
    Ok(())
}

/// The currency that is stored.
fn currency(tx: &Transaction<'_>) -> Result<Currency, Stop> {
    let select = "select value from setting where name = 'currency'";
    let code: Option<String> = tx.query_row(select, [], |row| row.get(0)).optional()?;
    let currency = code.and_then(|code| code.parse().ok());
    currency.ok_or_else(|| Finding::Changed { what: "currency setting".to_owned() }.into())
}

/// A table, trigger or index of a database.
#[derive(PartialEq, Eq)]
struct Part {
    kind: String,
    name: String,
    sql: String,
}

fn schema(connection: &Connection) -> rusqlite::Result<Vec<Part>> {
    let mut select = connection.prepare(
        "select type, name, sql from sqlite_schema
         where sql is not null and substr(tbl_name, 1, 1) <> '_' and substr(name, 1, 7) <> 'sqlite_'",
    )?;
    let part = |row: &Row<'_>| Ok(Part { kind: row.get(0)?, name: row.get(1)?, sql: row.get(2)? });
    select.query_map([], part)?.collect()
}

fn next_commit(found: Option<&Row<'_>>) -> Result<Option<Commit>, Stop> {
    Ok(found.map(row::commit).transpose()?)
}
