//! A wallet's history: read back along its chain, from the newest entry or from the sparse index.

use sqlx::postgres::PgConnection;

use super::row::{self, select_entry};
use crate::ledger::{Entry, EntryId, Kind, Timestamp, UserId};
use crate::store::StoreError;
use crate::store::row::{check_owner, missing};

/// The distance between two entries of a wallet that the index has. The migration that makes the index has it as well,
/// and so has the statement that the server shall find it for.
const INDEX_STRIDE: i64 = 64;

const SELECT_NEWEST: &str = "select last_entry_id from wallet where shard_id = $1 and user_id = $2";
const SELECT_INDEX_AFTER: &str = "select entry_id from entry where shard_id = $1 and user_id = $2
     and (created_at, entry_id) > ($3, $4) and sequence % 64 = 0 order by created_at, entry_id limit 1";
const SELECT_TIME_OF: &str =
    "select created_at from entry where shard_id = $1 and entry_id <= $2 order by entry_id desc limit 1";
const SELECT_FREEZING: &str = "select kind from entry where shard_id = $1 and user_id = $2 and entry_id <= $3
     and kind in (8, 9) order by entry_id desc limit 1";
const SELECT_ENTRY: &str = select_entry!("entry", "where entry.shard_id = $1 and entry.entry_id = $2");
// Each step finds the next by a key that holds the shard as well, as those of the write statement do.
const SELECT_HISTORY: &str = concat!(
    "with recursive history as (
         select entry.*, 1 as step from entry where shard_id = $1 and entry_id = $2
         union all
         select entry.*, history.step + 1
         from history join entry
             on entry.shard_id = history.shard_id and entry.entry_id = history.previous_entry_id
         where history.step < $3
     ) ",
    select_entry!("history", "order by entry.entry_id desc")
);
const SELECT_WALK: &str = "with recursive step as (
         select shard_id, entry_id, previous_entry_id, entry_id <= $3 and created_at <= $4 as arrived, 1 as number
         from entry where shard_id = $1 and entry_id = $2
         union all
         select entry.shard_id, entry.entry_id, entry.previous_entry_id,
             entry.entry_id <= $3 and entry.created_at <= $4, step.number + 1
         from step join entry on entry.shard_id = step.shard_id and entry.entry_id = step.previous_entry_id
         where not step.arrived and step.number < $5
     )
     select entry_id, previous_entry_id, arrived from step order by entry_id limit 1";

/// The newest entry of a user; `None` if there is no such user.
pub(super) async fn newest(
    connection: &mut PgConnection,
    shard: i16,
    user_id: UserId,
) -> Result<Option<EntryId>, StoreError> {
    let select = sqlx::query_scalar::<_, i64>(SELECT_NEWEST).bind(shard).bind(user_id.get());
    Ok(select.fetch_optional(connection).await.map_err(StoreError::unavailable)?.and_then(EntryId::new))
}

/// The newest entry of a user that was there at a moment. `newest` is the user's newest entry.
pub(super) async fn entry_at(
    connection: &mut PgConnection,
    shard: i16,
    user_id: UserId,
    newest: EntryId,
    at: Timestamp,
) -> Result<Option<Entry>, StoreError> {
    let Some(entry_id) = seek(connection, shard, user_id, newest, EntryId::MAX, at).await? else { return Ok(None) };
    let entry = entry(connection, shard, entry_id).await?.ok_or_else(|| missing(entry_id.get()))?;
    check_owner(&entry, user_id)?;
    Ok(Some(entry))
}

/// Whether a user's wallet was frozen after the entry `last`.
pub(super) async fn was_frozen(
    connection: &mut PgConnection,
    shard: i16,
    user_id: UserId,
    last: EntryId,
) -> Result<bool, StoreError> {
    let select = sqlx::query_scalar::<_, i16>(SELECT_FREEZING).bind(shard).bind(user_id.get()).bind(last.get());
    let newest = select.fetch_optional(connection).await.map_err(StoreError::unavailable)?;
    Ok(newest.and_then(|code| Kind::from_code(code.into())).and_then(Kind::freezes).unwrap_or(false))
}

/// The newest `limit` entries of a user before `before`, newest first. `newest` is the user's newest entry.
pub(super) async fn page(
    connection: &mut PgConnection,
    shard: i16,
    user_id: UserId,
    newest: EntryId,
    before: Option<EntryId>,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let start = match before {
        None => Some(newest),
        Some(before) => match entry(connection, shard, before).await? {
            // The usual case, a page after another: `before` is the user's own entry and knows the one before it.
            Some(entry) if entry.user_id == user_id => entry.previous_entry_id,
            _ => match before.previous() {
                Some(last) => newest_up_to(connection, shard, user_id, newest, last).await?,
                None => None,
            },
        },
    };
    let Some(start) = start else { return Ok(Vec::new()) };
    let limit_max = i32::try_from(limit).unwrap_or(i32::MAX);
    let select = sqlx::query(SELECT_HISTORY).bind(shard).bind(start.get()).bind(limit_max);
    let entries = row::entries(&select.fetch_all(connection).await.map_err(StoreError::unavailable)?)?;
    entries.iter().try_for_each(|entry| check_owner(entry, user_id))?;
    let next = entries.last().map_or(Some(start), |oldest| oldest.previous_entry_id);
    match next {
        Some(gap) if entries.len() < limit => Err(missing(gap.get())),
        _ => Ok(entries),
    }
}

async fn entry(connection: &mut PgConnection, shard: i16, entry_id: EntryId) -> Result<Option<Entry>, StoreError> {
    let select = sqlx::query(SELECT_ENTRY).bind(shard).bind(entry_id.get());
    let found = select.fetch_optional(connection).await.map_err(StoreError::unavailable)?;
    found.as_ref().map(row::entry).transpose()
}

/// The newest entry of a user that is not after `last`.
async fn newest_up_to(
    connection: &mut PgConnection,
    shard: i16,
    user_id: UserId,
    newest: EntryId,
    last: EntryId,
) -> Result<Option<EntryId>, StoreError> {
    if newest <= last {
        return Ok(Some(newest));
    }
    // The index is by time, and times never go back: at the time of the entry `last`, nothing later was there.
    let select = sqlx::query_scalar::<_, i64>(SELECT_TIME_OF).bind(shard).bind(last.get());
    let Some(time) = select.fetch_optional(&mut *connection).await.map_err(StoreError::unavailable)? else {
        return Ok(None);
    };
    seek(connection, shard, user_id, newest, last, Timestamp::from_microseconds(time)).await
}

/// The newest entry of a user that is neither after `last` nor later than `at`. Begins at the first entry of the index
/// that is, so that it walks past [`INDEX_STRIDE`] entries at the most.
async fn seek(
    connection: &mut PgConnection,
    shard: i16,
    user_id: UserId,
    newest: EntryId,
    last: EntryId,
    at: Timestamp,
) -> Result<Option<EntryId>, StoreError> {
    let select = sqlx::query_scalar::<_, i64>(SELECT_INDEX_AFTER).bind(shard).bind(user_id.get());
    let select = select.bind(at.microseconds()).bind(last.get());
    let indexed = select.fetch_optional(&mut *connection).await.map_err(StoreError::unavailable)?;
    let start = indexed.unwrap_or(newest.get());
    let select = sqlx::query_as::<_, (i64, Option<i64>, bool)>(SELECT_WALK).bind(shard).bind(start);
    let steps_max = i32::try_from(INDEX_STRIDE + 1).unwrap_or(i32::MAX);
    let select = select.bind(last.get()).bind(at.microseconds()).bind(steps_max);
    let walked = select.fetch_optional(connection).await.map_err(StoreError::unavailable)?;
    match walked.ok_or_else(|| missing(start))? {
        (entry_id, _, true) => Ok(EntryId::new(entry_id)),
        (_, None, false) => Ok(None),
        (_, Some(previous), false) => {
            let found = format!("{previous} of user {user_id}, with too many entries up to {start}");
            Err(StoreError::Corrupt { table: "entry_history", column: "entry_id", row: start, found })
        }
    }
}
