//! Proves that the index of the entries' events has each entry once, in order, and nothing else: an index that misses a
//! row would hide it from the rules.
//!
//! To look up each entry, as SQLite does, takes a search in the index for each. Instead, table and index are both read
//! from beginning to end, and what they hold is summed up. Only if the sums differ are the entries looked up, to name
//! the one that is wrong.

use std::hash::BuildHasher as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::quality::RandomState;
use rusqlite::Connection;

use super::{Stop, file};
use crate::ledger::{Entry, EntryId, Finding};
use crate::store::sqlite::error::failed;
use crate::store::sqlite::open::open_to_read;
use crate::store::sqlite::query::query_all;

/// Rows of the index in a page, which is a short transaction.
const PAGE: usize = 65_536;

const SELECT_PAGE: &str = "select event_id, user_id, kind, entry_id
     from entry indexed by sqlite_autoindex_entry_1
     where (event_id, user_id, kind) > (?1, ?2, ?3) order by event_id, user_id, kind limit ?4";

/// What the index has of an entry: event, user, kind and entry.
type IndexRow = (i64, i64, i64, i64);

/// Sums up sets of entries: two sets have the same sum only if they are the same, but for one case in 2^64. The sums of
/// each run have another seed, so nobody can alter a ledger so that they stay as they were.
#[derive(Default)]
pub(super) struct Sums(RandomState);

impl Sums {
    /// The sum of one entry. Sums are added, wrapping.
    pub(super) fn of(&self, entry: &Entry) -> u64 {
        let Entry { event_id, user_id, kind, entry_id, .. } = entry;
        self.of_row((event_id.get(), user_id.get(), kind.code().into(), entry_id.get()))
    }

    fn of_row(&self, row: IndexRow) -> u64 {
        self.0.hash_one(row)
    }

    /// The sum of the index's entries up to `last`; `None` if it is not in order, or `stopped` in between.
    pub(super) fn of_index(&self, path: &Path, last: EntryId, stopped: &AtomicBool) -> Result<Option<u64>, Stop> {
        let connection = open_to_read(path)?;
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let (mut sum, mut before) = (0_u64, (i64::MIN, i64::MIN, i64::MIN));
        while !stopped.load(Ordering::Relaxed) {
            let params = (before.0, before.1, before.2, limit);
            let page: Vec<IndexRow> =
                query_all(&connection, SELECT_PAGE, params, |row| row.try_into().map_err(failed))?;
            for row in &page {
                let key = (row.0, row.1, row.2);
                if key <= before {
                    return Ok(None);
                }
                before = key;
                if row.3 <= last.get() {
                    sum = sum.wrapping_add(self.of_row(*row));
                }
            }
            if page.len() < PAGE {
                return Ok(Some(sum));
            }
        }
        Ok(None)
    }
}

/// Names the entry whose row of the index is wrong, if there is one.
pub(super) fn check_each(connection: &Connection) -> Result<(), Stop> {
    file::check_table(connection, "entry")
}

/// Says that table and index have other sums.
pub(super) fn differ(connection: &Connection) -> Stop {
    let found = "the index of the events does not have the entries that the table has".to_owned();
    check_each(connection).err().unwrap_or_else(|| Finding::File { found }.into())
}
