//! Reads a whole ledger in short reads, each of which is a statement of its own.

use std::collections::HashMap;
use std::ops::Range;

use super::blocking::Blocking;
use super::reader;
use super::row::{self, select_commit, select_entry};
use super::scan::scan;
use super::{PostgresUrl, shard_id};
use crate::ledger::{Commit, Entry, EntryFilter, EntryId, EntryKey, Genesis, Heads, Shard, Timestamp, UserId};
use crate::store::row::{self as stored, Source, missing};
use crate::store::{BulkReader, SELECT_COPY_MARK, ScanLimits, StoreError, StoredWallet, copy_is_not_whole};

const SELECT_TIME: &str = "select created_at, entry_id from entry where shard_id = $1 and entry_id = $2";
const SELECT_KEYS: &str = select_entry!(
    "entry",
    "join unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::smallint[]) as key (shard_id, event_id, user_id, kind)
         on entry.shard_id = key.shard_id and entry.event_id = key.event_id and entry.user_id = key.user_id
             and entry.kind = key.kind"
);
const SELECT_COMMITS: &str = select_commit!("where shard_id = $1 and commit_id > $2 order by commit_id limit $3");
const SELECT_WALLETS: &str = "select account.user_id, wallet.balance, wallet.sequence, wallet.last_entry_id,
         wallet.frozen, account.wallet_id, account.created_at
     from unnest($1::smallint[], $2::bigint[]) as key (shard_id, user_id)
     join account on account.shard_id = key.shard_id and account.user_id = key.user_id
     join wallet on wallet.shard_id = key.shard_id and wallet.user_id = key.user_id";

struct PostgresBulkReader {
    session: Blocking,
    genesis: Genesis,
    /// The heads that were read last.
    heads: Heads,
}

/// Opens the ledger at `url`, which may be served meanwhile, to read it as a whole.
///
/// # Errors
/// [`StoreError`] if it cannot be read, or there is none.
pub fn bulk_reader(url: &PostgresUrl) -> Result<Box<dyn BulkReader>, StoreError> {
    let mut session = Blocking::open(url)?;
    let genesis = session.genesis()?;
    let heads = Heads::new(genesis.shards.all().map(|shard| genesis.commit(shard)).collect());
    Ok(Box::new(PostgresBulkReader { session, genesis, heads }))
}

impl PostgresBulkReader {
    /// The time of the entry with this id; `None` if it is not there.
    fn time_of(&mut self, shard: Shard, entry_id: i64) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.session.rows(sqlx::query(SELECT_TIME).bind(shard_id(shard)).bind(entry_id))?;
        let time = |time| Some(Timestamp::from_microseconds(time));
        rows.first().map(|found| Source::keyed(found, "entry", 1)?.get(0, "created_at", time)).transpose()
    }

    /// Refuses an entry behind the head of its shard: whoever reads the ledger would take as much memory.
    fn check_place(&mut self, entry_id: EntryId) -> Result<(), StoreError> {
        let is_behind = |heads: &Heads| {
            let mut last = heads.last_entry_ids().filter(|last| Shard::of_entry(*last) == Shard::of_entry(entry_id));
            last.next().is_none_or(|last| entry_id > last)
        };
        // It may be younger than the heads that were read.
        if !is_behind(&self.heads) || !is_behind(&self.heads()?) {
            return Ok(());
        }
        let found = "behind the head of the ledger".to_owned();
        Err(StoreError::Corrupt { table: "entry", column: "entry_id", row: entry_id.get(), found })
    }
}

impl BulkReader for PostgresBulkReader {
    fn genesis(&self) -> Genesis {
        self.genesis
    }

    fn check_whole(&mut self) -> Result<(), StoreError> {
        let marks: i64 = self.session.run(async |connection| {
            sqlx::query_scalar(SELECT_COPY_MARK).fetch_one(connection).await.map_err(StoreError::unavailable)
        })?;
        if marks == 0 { Ok(()) } else { Err(copy_is_not_whole(self.session.shown())) }
    }

    fn heads(&mut self) -> Result<Heads, StoreError> {
        let genesis = self.genesis;
        let heads = self.session.run(async |connection| reader::heads(connection, genesis).await)?;
        self.session.confirm()?;
        // A head that names an entry far behind the others would let whoever reads the ledger take as much memory.
        for (shard, head) in genesis.shards.all().zip(heads.iter().map(|(_, head)| head)) {
            let last = head.last_entry_id;
            if last != shard.base() && (Shard::of_entry(last) != shard || self.time_of(shard, last.get())?.is_none()) {
                return Err(missing(last.get()));
            }
        }
        self.heads = heads.clone();
        Ok(heads)
    }

    fn first_since(&mut self, time: Timestamp, entries: Range<EntryId>) -> Result<EntryId, StoreError> {
        let shard = Shard::of_entry(entries.start);
        let (mut low, mut high) = (entries.start.get(), entries.end.get());
        while low < high {
            let middle = low.midpoint(high);
            if self.time_of(shard, middle)?.ok_or_else(|| missing(middle))? < time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(EntryId::new(low).unwrap_or(entries.end))
    }

    fn entries(&mut self, entries: Range<EntryId>, filter: &EntryFilter) -> Result<Vec<Entry>, StoreError> {
        let (shard, filter) = (Shard::of_entry(entries.start), filter.clone());
        let after = entries.start.previous().unwrap_or(EntryId::ZERO);
        let size = usize::try_from(entries.end.get() - entries.start.get()).unwrap_or_default();
        let limits = ScanLimits { rows_max: size, entries_max: size };
        let scan = self.session.run(async |connection| scan(connection, shard, after, filter, limits).await)?;
        // The commits say that there are more.
        if size > 0 && scan.end.next() < entries.end {
            return Err(missing(scan.end.next().get()));
        }
        Ok(scan.entries)
    }

    fn find(&mut self, keys: &[EntryKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        let shard = |key: &EntryKey| shard_id(self.genesis.shards.of(key.user_id));
        let query = sqlx::query(SELECT_KEYS)
            .bind(keys.iter().map(shard).collect::<Vec<i16>>())
            .bind(keys.iter().map(|key| key.event_id.get()).collect::<Vec<i64>>())
            .bind(keys.iter().map(|key| key.user_id.get()).collect::<Vec<i64>>())
            .bind(keys.iter().map(|key| i16::from(key.kind.code())).collect::<Vec<i16>>());
        let entries = row::entries(&self.session.rows(query)?)?;
        for entry in &entries {
            self.check_place(entry.entry_id)?;
        }
        let found: HashMap<EntryKey, Entry> = entries.into_iter().map(|entry| (entry.key(), entry)).collect();
        // A key may be asked for twice.
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    fn commits(&mut self, shard: Shard, after: i64, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = sqlx::query(SELECT_COMMITS).bind(shard_id(shard)).bind(after).bind(limit);
        self.session.rows(query)?.iter().map(stored::commit).collect()
    }

    fn wallets(&mut self, users: &[UserId]) -> Result<Vec<Option<StoredWallet>>, StoreError> {
        let query = sqlx::query(SELECT_WALLETS)
            .bind(users.iter().map(|user_id| shard_id(self.genesis.shards.of(*user_id))).collect::<Vec<i16>>())
            .bind(users.iter().map(|user_id| user_id.get()).collect::<Vec<i64>>());
        let rows = self.session.rows(query)?;
        let wallets = rows.iter().map(|row| stored::stored_wallet(row, "account"));
        let found: HashMap<UserId, StoredWallet> =
            wallets.map(|wallet| wallet.map(|wallet| (wallet.wallet.user_id, wallet))).collect::<Result<_, _>>()?;
        Ok(users.iter().map(|user_id| found.get(user_id).copied()).collect())
    }
}
