//! A wallet's history: read back along its chain, from the newest entry or from the sparse index.

use rusqlite::{Connection, params};

use super::error::failed;
use super::query::{query, query_all};
use super::row::{self, select_entry};
use crate::ledger::{Entry, EntryId, Kind, Timestamp, UserId};
use crate::store::StoreError;
use crate::store::row::{check_owner, missing};

/// The distance between two entries of a wallet that the index has. The migration that makes the index has it as well.
const INDEX_STRIDE: i64 = 64;

pub(super) const INSERT_INDEX: &str = "insert into history_index (user_id, created_at, entry_id) values (?1, ?2, ?3)";
const SELECT_INDEXED: &str =
    "select exists (select * from history_index where (user_id, created_at, entry_id) = (?1, ?2, ?3))";
const SELECT_INDEX_AFTER: &str = "select entry_id from history_index where user_id = ?1
     and (created_at, entry_id) > (?2, ?3) order by created_at, entry_id limit 1";
const SELECT_TIME_OF: &str = "select created_at from entry where entry_id <= ?1 order by entry_id desc limit 1";
const SELECT_FREEZING: &str = "select kind from entry indexed by entry_freezing
     where user_id = ?1 and entry_id <= ?2 and kind in (8, 9) order by entry_id desc limit 1";
const SELECT_ENTRY: &str = select_entry!("entry", "where entry.entry_id = ?1");
const SELECT_HISTORY: &str = concat!(
    "with recursive history as (
         select * from entry where entry_id = ?1
         union all
         select entry.* from history join entry on entry.entry_id = history.previous_entry_id
         limit ?2
     ) ",
    select_entry!("history", "order by entry.entry_id desc")
);
const SELECT_WALK: &str = "with recursive step (entry_id, previous_entry_id, arrived) as (
         select entry_id, previous_entry_id, entry_id <= ?2 and created_at <= ?3 from entry where entry_id = ?1
         union all
         select entry.entry_id, entry.previous_entry_id, entry.entry_id <= ?2 and entry.created_at <= ?3
         from step join entry on entry.entry_id = step.previous_entry_id
         where not step.arrived
         limit ?4
     )
     select entry_id, previous_entry_id, arrived from step order by entry_id limit 1";

/// Whether the index has an entry.
pub(super) const fn is_indexed(entry: &Entry) -> bool {
    entry.sequence % INDEX_STRIDE == 0
}

/// Whether the index has an entry as it must.
pub(super) fn index_has(connection: &Connection, entry: &Entry) -> Result<bool, StoreError> {
    let found = query(connection, SELECT_INDEXED, index_row(entry), |row| row.get(0).map_err(failed))?;
    Ok(found.unwrap_or(false))
}

/// What the index has of an entry.
pub(super) const fn index_row(entry: &Entry) -> (i64, i64, i64) {
    (entry.user_id.get(), entry.created_at.microseconds(), entry.entry_id.get())
}

/// The newest entry of a user that was there at a moment. `newest` is the user's newest entry.
pub(super) fn entry_at(
    connection: &Connection,
    user_id: UserId,
    newest: EntryId,
    at: Timestamp,
) -> Result<Option<Entry>, StoreError> {
    let Some(entry_id) = seek(connection, user_id, newest, EntryId::MAX, at)? else { return Ok(None) };
    let entry = entry(connection, entry_id)?.ok_or_else(|| missing(entry_id.get()))?;
    check_owner(&entry, user_id)?;
    Ok(Some(entry))
}

/// How many entries the index of freezings has.
pub(super) fn freezings(connection: &Connection) -> Result<i64, StoreError> {
    let select = "select count(*) from entry indexed by entry_freezing where kind in (8, 9)";
    Ok(query(connection, select, [], |row| row.get(0).map_err(failed))?.unwrap_or_default())
}

/// Whether the index of freezings has an entry as it must.
pub(super) fn freezings_have(connection: &Connection, entry: &Entry) -> Result<bool, StoreError> {
    let select = "select exists (select * from entry indexed by entry_freezing
         where user_id = ?1 and entry_id = ?2 and kind in (8, 9))";
    let key = [entry.user_id.get(), entry.entry_id.get()];
    Ok(query(connection, select, key, |row| row.get(0).map_err(failed))?.unwrap_or(false))
}

/// Whether a user's wallet was frozen after the entry `last`.
pub(super) fn was_frozen(connection: &Connection, user_id: UserId, last: EntryId) -> Result<bool, StoreError> {
    let newest = query(connection, SELECT_FREEZING, [user_id.get(), last.get()], |row| row.get(0).map_err(failed))?;
    Ok(newest.and_then(Kind::from_code).and_then(Kind::freezes).unwrap_or(false))
}

/// The newest `limit` entries of a user before `before`, newest first. `newest` is the user's newest entry.
pub(super) fn page(
    connection: &Connection,
    user_id: UserId,
    newest: EntryId,
    before: Option<EntryId>,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let start = match before {
        None => Some(newest),
        Some(before) => match entry(connection, before)? {
            // The usual case, a page after another: `before` is the user's own entry and knows the one before it.
            Some(entry) if entry.user_id == user_id => entry.previous_entry_id,
            _ => before.previous().map_or(Ok(None), |last| newest_up_to(connection, user_id, newest, last))?,
        },
    };
    let Some(start) = start else { return Ok(Vec::new()) };
    let limit_max = i64::try_from(limit).unwrap_or(i64::MAX);
    let entries = query_all(connection, SELECT_HISTORY, params![start.get(), limit_max], row::entry)?;
    entries.iter().try_for_each(|entry| check_owner(entry, user_id))?;
    let next = entries.last().map_or(Some(start), |oldest| oldest.previous_entry_id);
    match next {
        Some(gap) if entries.len() < limit => Err(missing(gap.get())),
        _ => Ok(entries),
    }
}

fn entry(connection: &Connection, entry_id: EntryId) -> Result<Option<Entry>, StoreError> {
    query(connection, SELECT_ENTRY, [entry_id.get()], row::entry)
}

/// The newest entry of a user that is not after `last`.
fn newest_up_to(
    connection: &Connection,
    user_id: UserId,
    newest: EntryId,
    last: EntryId,
) -> Result<Option<EntryId>, StoreError> {
    if newest <= last {
        return Ok(Some(newest));
    }
    // The index is by time, and times never go back: at the time of the entry `last`, nothing later was there.
    let time: Option<i64> = query(connection, SELECT_TIME_OF, [last.get()], |row| row.get(0).map_err(failed))?;
    let Some(time) = time else { return Ok(None) };
    seek(connection, user_id, newest, last, Timestamp::from_microseconds(time))
}

/// The newest entry of a user that is neither after `last` nor later than `at`. Begins at the first entry of the index
/// that is, so that it walks past [`INDEX_STRIDE`] entries at the most.
fn seek(
    connection: &Connection,
    user_id: UserId,
    newest: EntryId,
    last: EntryId,
    at: Timestamp,
) -> Result<Option<EntryId>, StoreError> {
    let after = params![user_id.get(), at.microseconds(), last.get()];
    let indexed: Option<i64> = query(connection, SELECT_INDEX_AFTER, after, |row| row.get(0).map_err(failed))?;
    let start = indexed.unwrap_or(newest.get());
    let params = params![start, last.get(), at.microseconds(), INDEX_STRIDE + 1];
    let walked: Option<(i64, Option<i64>, bool)> =
        query(connection, SELECT_WALK, params, |row| row.try_into().map_err(failed))?;
    match walked.ok_or_else(|| missing(start))? {
        (entry_id, _, true) => Ok(EntryId::new(entry_id)),
        (_, None, false) => Ok(None),
        (_, Some(previous), false) => {
            let found = format!("{previous} of user {user_id}, with too many entries up to {start}");
            Err(StoreError::Corrupt { table: "history_index", column: "entry_id", row: start, found })
        }
    }
}
