//! SQLite's rows, and what only its tables have.

use rusqlite::Row;
use rusqlite::types::{FromSqlError, ValueRef};

use super::error::failed;
use crate::ledger::{Caller, Commit, Entry, EntryId, Kind, Note, UserId, WalletId};
use crate::store::StoreError;
use crate::store::row::{self, Columns, Source, Unreadable};
pub(super) use crate::store::row::{undone, user_id, wallet_state};

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

impl Columns for Row<'_> {
    fn integer(&self, at: usize) -> Result<Option<i64>, Unreadable> {
        self.get(at).map_err(unreadable)
    }

    fn text(&self, at: usize) -> Result<Option<&str>, Unreadable> {
        let found = self.get_ref(at).map_err(unreadable)?;
        found.as_str_or_null().map_err(|error: FromSqlError| Unreadable::Found(error.to_string()))
    }

    fn bytes(&self, at: usize) -> Result<Option<Vec<u8>>, Unreadable> {
        self.get(at).map_err(unreadable)
    }
}

/// Why a column cannot be read: it holds a value of another type, or the database failed.
fn unreadable(error: rusqlite::Error) -> Unreadable {
    match error {
        rusqlite::Error::InvalidColumnType(_, _, found) => Unreadable::Found(format!("of type {found}")),
        error => Unreadable::Failed(failed(error)),
    }
}

/// Reads an entry as [`select_entry`] selects it.
pub(super) fn entry(found: &Row<'_>) -> Result<Entry, StoreError> {
    let (mut entry, caller_id) = own_columns(found)?;
    let source = Source::of(found, "entry", entry.entry_id.get());
    let caller = source.get_text(11, "caller_id", Caller::new)?;
    if let (Some(caller_id), None) = (caller_id, &caller) {
        return Err(unknown_caller(entry.entry_id, caller_id));
    }
    if entry.kind == Kind::Open {
        entry.wallet_id = Some(opened_wallet_id(found, 13, entry.user_id)?);
    }
    entry.annotations.note = source.get_text(12, "note", Note::new)?;
    entry.annotations.caller = caller;
    Ok(entry)
}

/// Reads what the table `entry` has of an entry, from the first columns: without its caller, of whom the id is
/// returned, its note and its wallet id.
pub(super) fn own_columns(found: &Row<'_>) -> Result<(Entry, Option<i64>), StoreError> {
    let entry = row::entry(found)?;
    let caller_id = Source::of(found, "entry", entry.entry_id.get()).get_optional(10, "caller_id", Some)?;
    Ok((entry, caller_id))
}

/// An entry has a caller whom the table of callers has not.
pub(super) fn unknown_caller(entry_id: EntryId, caller_id: i64) -> StoreError {
    let found = format!("{caller_id}, which names nobody");
    StoreError::Corrupt { table: "entry", column: "caller_id", row: entry_id.get(), found }
}

/// Reads the name of a caller in column `at`.
pub(super) fn caller(found: &Row<'_>, at: usize, caller_id: i64) -> Result<Option<Caller>, StoreError> {
    Source::of(found, "caller", caller_id).get_text(at, "name", Caller::new)
}

/// Reads an entry's id and its note, or what is wrong with that, from the first two columns.
pub(super) fn note(found: &Row<'_>) -> Result<(i64, Result<Option<Note>, StoreError>), StoreError> {
    let key = found.get(0).map_err(failed)?;
    Ok((key, Source::of(found, "entry_note", key).get_text(1, "note", Note::new)))
}

/// Reads the wallet id in column `at`, which is null if there is no such user.
fn opened_wallet_id(found: &Row<'_>, at: usize, user_id: UserId) -> Result<WalletId, StoreError> {
    if found.get_ref(at).map_err(failed)? == ValueRef::Null {
        return Err(missing_user(user_id));
    }
    wallet_id(found, at, user_id)
}

/// A wallet was opened whose user is not stored.
pub(super) fn missing_user(user_id: UserId) -> StoreError {
    let (table, column, row, found) = ("user", "wallet_id", user_id.get(), "missing".to_owned());
    StoreError::Corrupt { table, column, row, found }
}

/// Reads a commit as [`select_commit`] selects it.
pub(super) fn commit(found: &Row<'_>) -> Result<Commit, StoreError> {
    row::commit(found)
}

/// Reads the wallet id in column `at`.
pub(super) fn wallet_id(found: &Row<'_>, at: usize, user_id: UserId) -> Result<WalletId, StoreError> {
    row::wallet_id(found, at, "user", user_id)
}
