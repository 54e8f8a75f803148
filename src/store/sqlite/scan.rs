//! The ledger read forwards, in commit order.

use rusqlite::{Connection, params};

use super::error::failed;
use super::query::{query, query_all};
use super::row::{self, select_entry};
use crate::ledger::{EntryFilter, EntryId, Kind, UserId};
use crate::store::row::missing;
use crate::store::{Scan, ScanLimits, StoreError};

/// The last entry of the ledger; 0 if there is none.
pub(super) const SELECT_LAST_ENTRY: &str = "select coalesce(max(entry_id), 0) from entry";
const SELECT_RANGE: &str = select_entry!(
    "entry",
    "where entry.entry_id > ?1 and entry.entry_id <= ?2 and (?3 is null or entry.user_id = ?3)
     and (?4 >> kind) & 1 order by entry.entry_id limit ?5"
);

const SELECT_COUNT: &str = "select count(*) from entry where entry_id > ?1 and entry_id <= ?2";
const SELECT_IDS: &str = "select entry_id from entry where entry_id > ?1 and entry_id <= ?2 order by entry_id";

/// Reads the entries behind `after`, which are numbered without gaps. The head is read first: an entry that is
/// committed in between is beyond it, and left to the next scan.
pub(super) fn scan(
    connection: &Connection,
    after: EntryId,
    filter: &EntryFilter,
    limits: ScanLimits,
) -> Result<Scan, StoreError> {
    let last = query(connection, SELECT_LAST_ENTRY, [], |row| row.get(0).map_err(failed))?;
    let head = last.and_then(EntryId::new).unwrap_or(EntryId::ZERO);
    let rows_max = i64::try_from(limits.rows_max).unwrap_or(i64::MAX);
    let end = head.min(EntryId::new(after.get().saturating_add(rows_max)).unwrap_or(EntryId::MAX));
    if end <= after {
        return Ok(Scan { entries: Vec::new(), end: after, head });
    }
    let entries_max = i64::try_from(limits.entries_max).unwrap_or(i64::MAX);
    let range = params![after.get(), end.get(), filter.user_id.map(UserId::get), mask(&filter.kinds), entries_max];
    let entries = query_all(connection, SELECT_RANGE, range, row::entry)?;
    let is_full = entries.len() >= limits.entries_max;
    let end = entries.last().filter(|_| is_full).map_or(end, |last| last.entry_id);
    check_gaps(connection, after, end)?;
    Ok(Scan { entries, end, head })
}

/// The kinds as the bits of a number, each at the place of its code. Every bit, if there is no kind.
fn mask(kinds: &[Kind]) -> i64 {
    if kinds.is_empty() { -1 } else { kinds.iter().fold(0, |mask, kind| mask | (1 << kind.code())) }
}

/// Checks that no entry is missing behind `after` up to `end`, wanted or not: a filter must not hide it.
fn check_gaps(connection: &Connection, after: EntryId, end: EntryId) -> Result<(), StoreError> {
    let range = [after.get(), end.get()];
    let found: Option<i64> = query(connection, SELECT_COUNT, range, |row| row.get(0).map_err(failed))?;
    if found == Some(end.get() - after.get()) {
        return Ok(());
    }
    let ids: Vec<i64> = query_all(connection, SELECT_IDS, range, |row| row.get(0).map_err(failed))?;
    let gap = (after.get() + 1..).zip(ids).find(|(expected, found)| expected != found);
    Err(missing(gap.map_or(end.get(), |(expected, _)| expected)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_a_bit_for_each_kind() {
        assert_eq!(mask(&[Kind::Open, Kind::Unfreeze, Kind::Open]), 0b10_0000_0010);
        assert!(Kind::ALL.iter().all(|kind| (mask(&[]) >> kind.code()) & 1 == 1 && kind.code() < 63));
    }
}
