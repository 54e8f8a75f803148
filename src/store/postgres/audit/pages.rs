//! Reads entries and commits in order, a page at a time, with what the audit must compare them with.

use std::vec;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::ledger::{Commit, Entry, EntryId, Shard, Undone};
use crate::store::StoreError;
use crate::store::postgres::blocking::Blocking;
use crate::store::postgres::row::{self, select_commit, select_entry};
use crate::store::postgres::shard_id;
use crate::store::row as stored;

/// Entries in a page.
const ENTRIES: usize = 2_048;

/// Commits in a page.
const COMMITS: usize = 2_048;

const SELECT_ENTRIES: &str = select_entry!(
    "entry",
    "where entry.shard_id = $1 and entry.entry_id > $2 and entry.entry_id <= $3 order by entry.entry_id limit $4"
);
const SELECT_COMMITS: &str =
    select_commit!("where shard_id = $1 and commit_id > $2 and commit_id <= $3 order by commit_id limit $4");
// Its keys hold the shard as well, as those of the write statement do.
const SELECT_UNDONE: &str = "select key.place, entry.entry_id, entry.amount
     from unnest($2::bigint[], $3::bigint[], $4::smallint[], $5::bigint[],
         array_fill($1::smallint, array[cardinality($2::bigint[])])) as key (event_id, user_id, kind, place, shard_id)
     join entry on entry.shard_id = key.shard_id and entry.event_id = key.event_id and entry.user_id = key.user_id
         and entry.kind = key.kind";

/// Entries in the order of a shard.
pub(super) struct Page {
    pub entries: Vec<Entry>,
    /// What each of them names if it is a rollback, if that is stored.
    pub undone: Vec<Option<Undone>>,
    /// Whether there may be more behind it.
    pub is_full: bool,
    /// Why there are no more, if the next one cannot be read.
    pub stop: Option<StoreError>,
}

impl Page {
    /// The next page behind `after` (`None`: from the very first on), up to `last`.
    pub(super) fn read(
        session: &mut Blocking,
        shard: Shard,
        after: Option<EntryId>,
        last: EntryId,
    ) -> Result<Self, StoreError> {
        // Below the first id that there can be: what is there was not written by the ledger, and must be seen.
        let after = after.map_or(i64::MIN, EntryId::get);
        let limit = i64::try_from(ENTRIES).unwrap_or(i64::MAX);
        let query = sqlx::query(SELECT_ENTRIES).bind(shard_id(shard)).bind(after).bind(last.get()).bind(limit);
        let rows = session.rows(query)?;
        let (mut entries, mut stop) = (Vec::with_capacity(rows.len()), None);
        for found in &rows {
            match row::entry(found) {
                Ok(entry) => entries.push(entry),
                Err(error) => {
                    stop = Some(error);
                    break;
                }
            }
        }
        let undone = undone(session, shard, &entries)?;
        Ok(Self { entries, undone, is_full: rows.len() == ENTRIES, stop })
    }
}

/// What each of these entries names if it is a rollback.
fn undone(session: &mut Blocking, shard: Shard, entries: &[Entry]) -> Result<Vec<Option<Undone>>, StoreError> {
    let (mut events, mut users, mut kinds, mut places) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (place, entry) in (0_i64..).zip(entries) {
        if let Some(kind) = entry.kind.undoes() {
            events.push(entry.event_id.get());
            users.push(entry.user_id.get());
            kinds.push(i16::from(kind.code()));
            places.push(place);
        }
    }
    let mut undone = vec![None; entries.len()];
    if places.is_empty() {
        return Ok(undone);
    }
    let query = sqlx::query(SELECT_UNDONE).bind(shard_id(shard)).bind(events).bind(users).bind(kinds).bind(places);
    for found in session.rows(query)? {
        let place: i64 = found.try_get(0).map_err(StoreError::unavailable)?;
        undone[usize::try_from(place).expect("a place among the entries")] = stored::undone(&found, 1)?;
    }
    Ok(undone)
}

/// The commits of a shard, in order.
pub(super) struct Commits {
    shard: Shard,
    last: i64,
    /// The last commit that was read; `None` once there are no more.
    read: Option<i64>,
    page: vec::IntoIter<PgRow>,
    next: Option<Commit>,
}

impl Commits {
    /// The commits after `after` (`None`: from the very first on) up to `last`.
    pub(super) fn new(shard: Shard, after: Option<i64>, last: i64) -> Self {
        // Below the first number that there can be: what is there must be seen.
        let read = Some(after.unwrap_or(i64::MIN));
        Self { shard, last, read, page: Vec::new().into_iter(), next: None }
    }

    /// The next commit, which stays the next.
    pub(super) fn peek(&mut self, session: &mut Blocking) -> Result<Option<Commit>, StoreError> {
        if self.next.is_none() {
            self.next = self.advance(session)?;
        }
        Ok(self.next)
    }

    /// The next commit.
    pub(super) fn next(&mut self, session: &mut Blocking) -> Result<Option<Commit>, StoreError> {
        let next = self.peek(session)?;
        self.next = None;
        Ok(next)
    }

    fn advance(&mut self, session: &mut Blocking) -> Result<Option<Commit>, StoreError> {
        if self.page.as_slice().is_empty()
            && let Some(after) = self.read
        {
            let limit = i64::try_from(COMMITS).unwrap_or(i64::MAX);
            let query = sqlx::query(SELECT_COMMITS).bind(shard_id(self.shard)).bind(after).bind(self.last).bind(limit);
            let page = session.rows(query)?;
            let last = page.last().map(|last| last.try_get(0)).transpose().map_err(StoreError::unavailable)?;
            self.read = last.filter(|_| page.len() == COMMITS);
            self.page = page.into_iter();
        }
        self.page.next().as_ref().map(stored::commit).transpose()
    }
}
