//! PostgreSQL's rows, and the statements that select them.

use sqlx::postgres::{PgRow, PgValueFormat, PgValueRef};
use sqlx::{Decode, Postgres, Row as _, TypeInfo as _, ValueRef as _};

use crate::ledger::{Caller, Entry, Kind, Note};
use crate::store::StoreError;
use crate::store::row::{self, Columns, Source, Unreadable};

/// Selects entries as [`entry`] reads them, from a table or expression with the columns of `entry`.
macro_rules! select_entry {
    ($from:literal, $rest:literal) => {
        concat!(
            "select entry.entry_id, entry.user_id, entry.sequence, entry.kind, entry.event_id, entry.amount,
             entry.balance_after, entry.previous_entry_id, entry.created_at, entry.round_id, entry.caller, entry.note,
             account.wallet_id from ",
            $from,
            " as entry left join account on entry.kind = 1 and account.shard_id = entry.shard_id
                 and account.user_id = entry.user_id ",
            $rest
        )
    };
}
pub(super) use select_entry;

/// Selects commits as [`row::commit`] reads them.
macro_rules! select_commit {
    ($rest:literal) => {
        concat!("select commit_id, form, last_entry_id, hash, created_at from ledger_commit ", $rest)
    };
}
pub(super) use select_commit;

impl Columns for PgRow {
    fn integer(&self, at: usize) -> Result<Option<i64>, Unreadable> {
        let value = self.try_get_raw(at).map_err(failed)?;
        if value.is_null() {
            return Ok(None);
        }
        let found = match value.type_info().name() {
            "INT8" => <i64 as Decode<Postgres>>::decode(value),
            "INT4" => <i32 as Decode<Postgres>>::decode(value).map(i64::from),
            "INT2" => <i16 as Decode<Postgres>>::decode(value).map(i64::from),
            "BOOL" => <bool as Decode<Postgres>>::decode(value).map(i64::from),
            other => return Err(Unreadable::Found(format!("of type {other}"))),
        };
        found.map(Some).map_err(|error| failed(sqlx::Error::Decode(error)))
    }

    fn text(&self, at: usize) -> Result<Option<&str>, Unreadable> {
        decode(self, at)
    }

    fn bytes(&self, at: usize) -> Result<Option<Vec<u8>>, Unreadable> {
        let value = self.try_get_raw(at).map_err(failed)?;
        // A UUID is its sixteen bytes, unless it is sent as text, which nothing here asks for.
        if !value.is_null() && value.type_info().name() == "UUID" && value.format() == PgValueFormat::Binary {
            let bytes = value.as_bytes().map_err(|error| failed(sqlx::Error::Decode(error)))?;
            return Ok(Some(bytes.to_vec()));
        }
        decode(self, at)
    }
}

fn decode<'r, T: Decode<'r, Postgres>>(row: &'r PgRow, at: usize) -> Result<Option<T>, Unreadable> {
    let value: PgValueRef<'r> = row.try_get_raw(at).map_err(failed)?;
    if value.is_null() {
        return Ok(None);
    }
    T::decode(value).map(Some).map_err(|error| failed(sqlx::Error::Decode(error)))
}

fn failed(error: sqlx::Error) -> Unreadable {
    Unreadable::Failed(StoreError::unavailable(error))
}

/// Reads an entry as [`select_entry`] selects it.
pub(super) fn entry(found: &PgRow) -> Result<Entry, StoreError> {
    let mut entry = row::entry(found)?;
    let source = Source::of(found, "entry", entry.entry_id.get());
    entry.annotations.caller = source.get_text(10, "caller", Caller::new)?;
    entry.annotations.note = source.get_text(11, "note", Note::new)?;
    if entry.kind == Kind::Open {
        entry.wallet_id = Some(row::wallet_id(found, 12, "account", entry.user_id)?);
    }
    Ok(entry)
}

/// Reads all entries.
pub(super) fn entries(found: &[PgRow]) -> Result<Vec<Entry>, StoreError> {
    found.iter().map(entry).collect()
}
