//! Reads a whole ledger in short reads, each of which is a transaction of its own.

use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, Row};

use super::error::failed;
use super::open::{is_wallets, open_to_read, schema_version, unreadable};
use super::query::{query, query_all};
use super::row::{self, SELECT_HEAD, select_commit, select_entry};
use super::scan::scan;
use crate::ledger::{Commit, Entry, EntryFilter, EntryId, EntryKey, Genesis, Heads, Shard, Timestamp, UserId};
use crate::store::row::{missing, stored_wallet};
use crate::store::{BulkReader, SELECT_COPY_MARK, ScanLimits, StoreError, StoredWallet, copy_is_not_whole};

const SELECT_CURRENCY: &str = "select value from setting where name = 'currency'";
const SELECT_TIME: &str = "select created_at from entry where entry_id = ?1";
const SELECT_KEY: &str = select_entry!("entry", "where event_id = ?1 and entry.user_id = ?2 and kind = ?3");
const SELECT_COMMITS: &str = select_commit!("where commit_id > ?1 order by commit_id limit ?2");
const SELECT_WALLET: &str = "select wallet.user_id, balance, sequence, last_entry_id, frozen, wallet_id, created_at
     from wallet join user using (user_id) where wallet.user_id = ?1";

struct SqliteBulkReader {
    connection: Connection,
    genesis: Genesis,
}

/// Opens the ledger in the file at `path`, which may be served meanwhile, to read it as a whole.
///
/// # Errors
/// [`StoreError`] if it cannot be read, or is no wallet's.
pub fn bulk_reader(path: &Path) -> Result<Box<dyn BulkReader>, StoreError> {
    let connection = open_to_read(path)?;
    if !is_wallets(&connection).map_err(unreadable(path))? {
        return Err(StoreError::Incompatible(format!("{} is not a wallet's database", path.display())));
    }
    schema_version(&connection)?;
    let code = query(&connection, SELECT_CURRENCY, [], |row| row.get::<_, String>(0).map_err(failed))?;
    let code = code.unwrap_or_else(|| "missing".to_owned());
    let currency =
        code.parse().map_err(|_| StoreError::Corrupt { table: "setting", column: "currency", row: 0, found: code })?;
    Ok(Box::new(SqliteBulkReader { connection, genesis: Genesis::new(currency) }))
}

impl SqliteBulkReader {
    /// More entries than the database has room for, in any case: its size in bytes.
    fn room(&self) -> Result<i64, StoreError> {
        let select = "select page_count * page_size from pragma_page_count, pragma_page_size";
        Ok(query(&self.connection, select, [], |row| row.get(0).map_err(failed))?.unwrap_or_default())
    }
}

/// Refuses the number of an entry that cannot be there: whoever reads the ledger would take as much time or memory.
fn check_place(entry_id: EntryId, room: i64) -> Result<(), StoreError> {
    if entry_id.get() <= room {
        return Ok(());
    }
    let found = "more than the database has room for".to_owned();
    Err(StoreError::Corrupt { table: "entry", column: "entry_id", row: entry_id.get(), found })
}

impl BulkReader for SqliteBulkReader {
    fn genesis(&self) -> Genesis {
        self.genesis
    }

    fn check_whole(&mut self) -> Result<(), StoreError> {
        let marks = query(&self.connection, SELECT_COPY_MARK, [], |row| row.get::<_, i64>(0).map_err(failed))?;
        let path = self.connection.path().unwrap_or_default();
        if marks == Some(0) { Ok(()) } else { Err(copy_is_not_whole(path)) }
    }

    fn heads(&mut self) -> Result<Heads, StoreError> {
        let head = query(&self.connection, SELECT_HEAD, [], row::commit)?;
        let head = head.unwrap_or_else(|| self.genesis.commit(Shard::FIRST));
        check_place(head.last_entry_id, self.room()?)?;
        Ok(Heads::new(vec![head]))
    }

    fn first_since(&mut self, time: Timestamp, entries: Range<EntryId>) -> Result<EntryId, StoreError> {
        let (mut low, mut high) = (entries.start.get(), entries.end.get());
        while low < high {
            let middle = low.midpoint(high);
            let found: Option<i64> = query(&self.connection, SELECT_TIME, [middle], |row| row.get(0).map_err(failed))?;
            if found.ok_or_else(|| missing(middle))? < time.microseconds() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(EntryId::new(low).unwrap_or(entries.end))
    }

    fn entries(&mut self, entries: Range<EntryId>, filter: &EntryFilter) -> Result<Vec<Entry>, StoreError> {
        let after = EntryId::new(entries.start.get().saturating_sub(1)).unwrap_or(EntryId::ZERO);
        let size = usize::try_from(entries.end.get() - entries.start.get()).unwrap_or_default();
        let limits = ScanLimits { rows_max: size, entries_max: size };
        let scan = scan(&self.connection, after, filter, limits)?;
        // The commits say that there are more.
        if size > 0 && scan.end.next() < entries.end {
            return Err(missing(scan.end.next().get()));
        }
        Ok(scan.entries)
    }

    fn find(&mut self, keys: &[EntryKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        let room = self.room()?;
        let tx = self.connection.transaction().map_err(failed)?;
        // Prepared once: to look it up by its text takes as long as to run it.
        let mut select = tx.prepare_cached(SELECT_KEY).map_err(failed)?;
        let mut find = |key: &EntryKey| {
            let params = (key.event_id.get(), key.user_id.get(), key.kind.code());
            let mut rows = select.query(params).map_err(failed)?;
            let found = rows.next().map_err(failed)?.map(row::entry).transpose()?;
            found.map(|entry| check_place(entry.entry_id, room).map(|()| entry)).transpose()
        };
        keys.iter().map(&mut find).collect()
    }

    fn commits(&mut self, _: Shard, after: i64, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        query_all(&self.connection, SELECT_COMMITS, (after, limit), row::commit)
    }

    fn wallets(&mut self, users: &[UserId]) -> Result<Vec<Option<StoredWallet>>, StoreError> {
        let wallet = |row: &Row<'_>| stored_wallet(row, "user");
        users.iter().map(|user_id| query(&self.connection, SELECT_WALLET, [user_id.get()], wallet)).collect()
    }
}
