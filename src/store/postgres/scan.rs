//! A shard read forwards, in commit order.

use sqlx::postgres::PgConnection;

use super::row::{self, select_entry};
use super::shard_id;
use crate::ledger::{EntryFilter, EntryId, Kind, Shard, UserId};
use crate::store::row::missing;
use crate::store::{Scan, ScanLimits, StoreError};

const SELECT_LAST_ENTRY: &str =
    "select last_entry_id from ledger_commit where shard_id = $1 order by commit_id desc limit 1";
const SELECT_RANGE: &str = select_entry!(
    "entry",
    "where entry.shard_id = $1 and entry.entry_id > $2 and entry.entry_id <= $3
     and ($4::bigint is null or entry.user_id = $4) and ($5::smallint[] is null or entry.kind = any($5))
     order by entry.entry_id limit $6"
);
const SELECT_COUNT: &str = "select count(*) from entry where shard_id = $1 and entry_id > $2 and entry_id <= $3";
const SELECT_GAP: &str = "select min(place) from generate_series($2 + 1, $3) as place
     where not exists (select from entry where shard_id = $1 and entry_id = place)";

/// Reads the entries behind `after`, which are numbered without gaps. The head is read first: an entry that is
/// committed in between is beyond it, and left to the next scan.
pub(super) async fn scan(
    connection: &mut PgConnection,
    shard: Shard,
    after: EntryId,
    filter: EntryFilter,
    limits: ScanLimits,
) -> Result<Scan, StoreError> {
    let select = sqlx::query_scalar::<_, i64>(SELECT_LAST_ENTRY).bind(shard_id(shard));
    let last = select.fetch_optional(&mut *connection).await.map_err(StoreError::unavailable)?;
    let head = last.and_then(EntryId::new).unwrap_or(shard.base());
    let rows_max = i64::try_from(limits.rows_max).unwrap_or(i64::MAX);
    let end = head.min(EntryId::new(after.get().saturating_add(rows_max)).unwrap_or(EntryId::MAX));
    if end <= after {
        return Ok(Scan { entries: Vec::new(), end: after, head });
    }
    let kinds = filter.kinds.iter().map(|kind: &Kind| i16::from(kind.code())).collect::<Vec<i16>>();
    let select = sqlx::query(SELECT_RANGE)
        .bind(shard_id(shard))
        .bind(after.get())
        .bind(end.get())
        .bind(filter.user_id.map(UserId::get))
        .bind((!kinds.is_empty()).then_some(kinds))
        .bind(i64::try_from(limits.entries_max).unwrap_or(i64::MAX));
    let entries = row::entries(&select.fetch_all(&mut *connection).await.map_err(StoreError::unavailable)?)?;
    let is_full = entries.len() >= limits.entries_max;
    let end = entries.last().filter(|_| is_full).map_or(end, |last| last.entry_id);
    check_gaps(connection, shard, after, end).await?;
    Ok(Scan { entries, end, head })
}

/// Checks that no entry is missing behind `after` up to `end`, wanted or not: a filter must not hide it.
async fn check_gaps(
    connection: &mut PgConnection,
    shard: Shard,
    after: EntryId,
    end: EntryId,
) -> Result<(), StoreError> {
    let (shard, after, end) = (shard_id(shard), after.get(), end.get());
    let select = sqlx::query_scalar::<_, i64>(SELECT_COUNT).bind(shard).bind(after).bind(end);
    if select.fetch_one(&mut *connection).await.map_err(StoreError::unavailable)? == end - after {
        return Ok(());
    }
    let select = sqlx::query_scalar::<_, Option<i64>>(SELECT_GAP).bind(shard).bind(after).bind(end);
    let gap = select.fetch_one(connection).await.map_err(StoreError::unavailable)?;
    Err(missing(gap.unwrap_or(end)))
}
