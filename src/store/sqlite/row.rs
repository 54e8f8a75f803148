//! Rows of SQLite as the ledger's types. A value that the ledger cannot have written is named, not guessed at.

use crate::ledger::{
    Amount, Balance, Commit, CommitHash, Entry, EntryId, EventId, Kind, Timestamp, UserId, WalletId, WalletState,
};
use crate::store::StoreError;
use rusqlite::Row;

/// The columns of an entry, in the order of [`EntryRow`]. A macro, so that statements stay `&'static str`.
macro_rules! entry_columns {
    () => {
        "entry_id, user_id, sequence, kind, event_id, amount, balance_after, previous_entry_id, created_at"
    };
}
pub(super) use entry_columns;

/// An entry as it is stored.
pub(super) type EntryRow = (i64, i64, i64, i64, i64, i64, i64, Option<i64>, i64);

/// A commit as it is stored: `commit_id, last_entry_id, hash, created_at`.
pub(super) type CommitRow = (i64, i64, Vec<u8>, i64);

/// The head of the commit chain, as a [`CommitRow`].
pub(super) const SELECT_HEAD: &str =
    "select commit_id, last_entry_id, hash, created_at from ledger_commit order by commit_id desc limit 1";

/// Reads [`entry_columns`] in their order.
pub(super) fn entry_row(row: &Row<'_>) -> rusqlite::Result<EntryRow> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
        row.get(6)?,
        row.get(7)?,
        row.get(8)?,
    ))
}

/// Reads a commit's columns in the order of [`CommitRow`].
pub(super) fn commit_row(row: &Row<'_>) -> rusqlite::Result<CommitRow> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

/// The value of a column, or the corruption that it is.
fn valid<T>(
    table: &'static str,
    row: i64,
    column: &'static str,
    found: i64,
    value: Option<T>,
) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Corrupt { table, column, row, found: found.to_string() })
}

pub(super) fn user_id(table: &'static str, user_id: i64) -> Result<UserId, StoreError> {
    valid(table, user_id, "user_id", user_id, UserId::new(user_id))
}

pub(super) fn entry(row: EntryRow) -> Result<Entry, StoreError> {
    let (entry_id, user_id, sequence, kind, event_id, amount, balance_after, previous_entry_id, created_at) = row;
    let previous = previous_entry_id.map(|id| valid("entry", entry_id, "previous_entry_id", id, EntryId::new(id)));
    Ok(Entry {
        entry_id: valid("entry", entry_id, "entry_id", entry_id, EntryId::new(entry_id))?,
        user_id: valid("entry", entry_id, "user_id", user_id, UserId::new(user_id))?,
        sequence,
        kind: valid("entry", entry_id, "kind", kind, Kind::from_code(kind))?,
        event_id: valid("entry", entry_id, "event_id", event_id, EventId::new(event_id))?,
        amount: valid("entry", entry_id, "amount", amount, Amount::from_minor(amount))?,
        balance_after: valid("entry", entry_id, "balance_after", balance_after, Balance::from_minor(balance_after))?,
        previous_entry_id: previous.transpose()?,
        created_at: Timestamp::from_microseconds(created_at),
    })
}

pub(super) fn state(user_id: i64, row: (i64, i64, i64)) -> Result<WalletState, StoreError> {
    let (balance, sequence, last_entry_id) = row;
    Ok(WalletState {
        balance: valid("wallet", user_id, "balance", balance, Balance::from_minor(balance))?,
        sequence,
        last_entry_id: valid("wallet", user_id, "last_entry_id", last_entry_id, EntryId::new(last_entry_id))?,
    })
}

pub(super) fn wallet_id(user_id: i64, bytes: &[u8]) -> Result<WalletId, StoreError> {
    let found = bytes.len();
    bytes.try_into().map(WalletId::from_bytes).map_err(|_| StoreError::Corrupt {
        table: "user",
        column: "wallet_id",
        row: user_id,
        found: format!("{found} bytes long"),
    })
}

pub(super) fn commit(row: CommitRow) -> Result<Commit, StoreError> {
    let (commit_id, last_entry_id, hash, created_at) = row;
    let hash: [u8; 32] = hash.try_into().map_err(|hash: Vec<u8>| StoreError::Corrupt {
        table: "ledger_commit",
        column: "hash",
        row: commit_id,
        found: format!("{} bytes long", hash.len()),
    })?;
    let last = valid("ledger_commit", commit_id, "last_entry_id", last_entry_id, EntryId::new(last_entry_id))?;
    let created_at = Timestamp::from_microseconds(created_at);
    Ok(Commit { commit_id, last_entry_id: last, hash: CommitHash(hash), created_at })
}
