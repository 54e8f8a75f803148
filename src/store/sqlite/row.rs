//! Rows of SQLite as the ledger's types. A value that the ledger cannot have written is reported as corrupt.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::error::failed;
use crate::ledger::{
    Amount, Annotations, Balance, Caller, Commit, CommitHash, Entry, EntryId, EventId, Form, Kind, Note, RoundId,
    Timestamp, Undone, UserId, WalletId, WalletState,
};
use crate::store::StoreError;

/// The columns of the table `entry`, as [`own_columns`] reads them. A macro, so that statements stay `&'static str`.
macro_rules! entry_columns {
    () => {
        "entry.entry_id, entry.user_id, sequence, kind, event_id, amount, balance_after, previous_entry_id,
         entry.created_at, round_id, caller_id"
    };
}
pub(super) use entry_columns;

/// Selects entries as [`entry`] reads them, from a table or expression with the columns of `entry`.
macro_rules! select_entry {
    ($from:literal, $rest:literal) => {
        concat!(
            "select ",
            $crate::store::sqlite::row::entry_columns!(),
            ", name, note, opened.wallet_id
             from ",
            $from,
            " as entry left join caller using (caller_id) left join entry_note using (entry_id)
             left join user as opened on opened.user_id = case entry.kind when 1 then entry.user_id end ",
            $rest
        )
    };
}
pub(super) use select_entry;

/// Selects commits as [`commit`] reads them.
macro_rules! select_commit {
    ($rest:literal) => {
        concat!("select commit_id, form, last_entry_id, hash, created_at from ledger_commit ", $rest)
    };
}
pub(super) use select_commit;

/// Selects the head of the commit chain.
pub(super) const SELECT_HEAD: &str = select_commit!("order by commit_id desc limit 1");

/// Selects every entry of a user's event.
pub(super) const SELECT_EVENT: &str = select_entry!("entry", "where event_id = ?1 and entry.user_id = ?2");

/// A row of which one column is being read.
struct Source<'r> {
    row: &'r Row<'r>,
    table: &'static str,
    key: i64,
}

impl Source<'_> {
    /// The value of a column, or [`StoreError::Corrupt`].
    fn get<T>(&self, at: usize, column: &'static str, new: impl FnOnce(i64) -> Option<T>) -> Result<T, StoreError> {
        let found: i64 = self.row.get(at).map_err(|error| self.unreadable(column, error))?;
        new(found).ok_or_else(|| self.corrupt(column, found.to_string()))
    }

    /// The value of a column that may be null.
    fn get_optional<T>(
        &self,
        at: usize,
        column: &'static str,
        new: impl FnOnce(i64) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        let found: Option<i64> = self.row.get(at).map_err(|error| self.unreadable(column, error))?;
        found.map(|found| new(found).ok_or_else(|| self.corrupt(column, found.to_string()))).transpose()
    }

    /// The text of a column that may be null.
    fn get_text<T>(
        &self,
        at: usize,
        column: &'static str,
        new: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        let found = self.row.get_ref(at).map_err(failed)?.as_str_or_null();
        let found = found.map_err(|error| self.corrupt(column, error.to_string()))?;
        found.map(|text| new(text).ok_or_else(|| self.corrupt(column, format!("{text:?}")))).transpose()
    }

    /// The bytes of a column, which must be exactly `N`.
    fn get_bytes<const N: usize>(&self, at: usize, column: &'static str) -> Result<[u8; N], StoreError> {
        let found: Vec<u8> = self.row.get(at).map_err(|error| self.unreadable(column, error))?;
        found.try_into().map_err(|found: Vec<u8>| self.corrupt(column, format!("{} bytes long", found.len())))
    }

    /// Why a column cannot be read: it holds a value of another type, or the database failed.
    fn unreadable(&self, column: &'static str, error: rusqlite::Error) -> StoreError {
        match error {
            rusqlite::Error::InvalidColumnType(_, _, found) => self.corrupt(column, format!("of type {found}")),
            error => failed(error),
        }
    }

    fn corrupt(&self, column: &'static str, found: String) -> StoreError {
        StoreError::Corrupt { table: self.table, column, row: self.key, found }
    }
}

/// Reads the user id in column `at` of a row of `table`.
pub(super) fn user_id(row: &Row<'_>, at: usize, table: &'static str) -> Result<UserId, StoreError> {
    let key = row.get(at).map_err(failed)?;
    Source { row, table, key }.get(at, "user_id", UserId::new)
}

/// Reads an entry as [`select_entry`] selects it.
pub(super) fn entry(row: &Row<'_>) -> Result<Entry, StoreError> {
    let (mut entry, caller_id) = own_columns(row)?;
    let source = Source { row, table: "entry", key: entry.entry_id.get() };
    let caller = source.get_text(11, "caller_id", Caller::new)?;
    if let (Some(caller_id), None) = (caller_id, &caller) {
        return Err(unknown_caller(entry.entry_id, caller_id));
    }
    if entry.kind == Kind::Open {
        entry.wallet_id = Some(opened_wallet_id(row, 13, entry.user_id)?);
    }
    entry.annotations.note = source.get_text(12, "note", Note::new)?;
    entry.annotations.caller = caller;
    Ok(entry)
}

/// Reads what the table `entry` has of an entry, from the first columns: without its caller, of whom the id is
/// returned, its note and its wallet id.
pub(super) fn own_columns(row: &Row<'_>) -> Result<(Entry, Option<i64>), StoreError> {
    let source = Source { row, table: "entry", key: row.get(0).map_err(failed)? };
    let entry = Entry {
        entry_id: source.get(0, "entry_id", EntryId::new)?,
        user_id: source.get(1, "user_id", UserId::new)?,
        sequence: source.get(2, "sequence", Some)?,
        kind: source.get(3, "kind", Kind::from_code)?,
        event_id: source.get(4, "event_id", EventId::new)?,
        amount: source.get(5, "amount", Amount::from_minor)?,
        balance_after: source.get(6, "balance_after", Balance::from_minor)?,
        previous_entry_id: source.get_optional(7, "previous_entry_id", EntryId::new)?,
        created_at: source.get(8, "created_at", |time| Some(Timestamp::from_microseconds(time)))?,
        wallet_id: None,
        annotations: Annotations { round_id: source.get_optional(9, "round_id", RoundId::new)?, ..Annotations::NONE },
    };
    Ok((entry, source.get_optional(10, "caller_id", Some)?))
}

/// Reads what a rollback must know of the entry that it names: id and amount.
pub(super) fn undone(row: &Row<'_>) -> Result<Undone, StoreError> {
    let source = Source { row, table: "entry", key: row.get(0).map_err(failed)? };
    Ok(Undone {
        entry_id: source.get(0, "entry_id", EntryId::new)?,
        amount: source.get(1, "amount", Amount::from_minor)?,
    })
}

/// An entry has a caller whom the table of callers has not.
pub(super) fn unknown_caller(entry_id: EntryId, caller_id: i64) -> StoreError {
    let found = format!("{caller_id}, which names nobody");
    StoreError::Corrupt { table: "entry", column: "caller_id", row: entry_id.get(), found }
}

/// Reads the name of a caller in column `at`.
pub(super) fn caller(row: &Row<'_>, at: usize, caller_id: i64) -> Result<Option<Caller>, StoreError> {
    Source { row, table: "caller", key: caller_id }.get_text(at, "name", Caller::new)
}

/// Reads an entry's id and its note, or what is wrong with that, from the first two columns.
pub(super) fn note(row: &Row<'_>) -> Result<(i64, Result<Option<Note>, StoreError>), StoreError> {
    let key = row.get(0).map_err(failed)?;
    Ok((key, Source { row, table: "entry_note", key }.get_text(1, "note", Note::new)))
}

/// Reads the wallet id in column `at`, which is null if there is no such user.
fn opened_wallet_id(row: &Row<'_>, at: usize, user_id: UserId) -> Result<WalletId, StoreError> {
    if row.get_ref(at).map_err(failed)? == ValueRef::Null {
        return Err(missing_user(user_id));
    }
    wallet_id(row, at, user_id)
}

/// A wallet was opened whose user is not stored.
pub(super) fn missing_user(user_id: UserId) -> StoreError {
    let (table, column, row, found) = ("user", "wallet_id", user_id.get(), "missing".to_owned());
    StoreError::Corrupt { table, column, row, found }
}

/// Reads a wallet's balance, sequence, last entry and whether it is frozen from the columns from `at` on.
pub(super) fn wallet_state(row: &Row<'_>, at: usize, user_id: UserId) -> Result<WalletState, StoreError> {
    let source = Source { row, table: "wallet", key: user_id.get() };
    Ok(WalletState {
        balance: source.get(at, "balance", Balance::from_minor)?,
        sequence: source.get(at + 1, "sequence", Some)?,
        last_entry_id: source.get(at + 2, "last_entry_id", EntryId::new)?,
        frozen: source.get(at + 3, "frozen", |found| [0, 1].contains(&found).then_some(found == 1))?,
    })
}

/// Reads the wallet id in column `at`.
pub(super) fn wallet_id(row: &Row<'_>, at: usize, user_id: UserId) -> Result<WalletId, StoreError> {
    let source = Source { row, table: "user", key: user_id.get() };
    Ok(WalletId::from_bytes(source.get_bytes(at, "wallet_id")?))
}

/// Reads a commit as [`select_commit`] selects it.
pub(super) fn commit(row: &Row<'_>) -> Result<Commit, StoreError> {
    let source = Source { row, table: "ledger_commit", key: row.get(0).map_err(failed)? };
    Ok(Commit {
        commit_id: source.key,
        form: source.get(1, "form", Form::from_code)?,
        last_entry_id: source.get(2, "last_entry_id", EntryId::new)?,
        hash: CommitHash(source.get_bytes(3, "hash")?),
        created_at: source.get(4, "created_at", |time| Some(Timestamp::from_microseconds(time)))?,
    })
}
