//! Connections that read what was committed, on the server that takes writes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::postgres::PgConnection;
use tokio::time;

use super::cluster::{Cluster, Opened, timed_out};
use super::confirm::Confirmer;
use super::durable::Durable;
use super::error::{Failure, sort};
use super::pool::Pool;
use super::row::{self, select_entry};
use super::scan::scan;
use super::{OLDER_STATE, history, shard_id};
use crate::ledger::{
    Entry, EntryFilter, EntryId, EventKey, Genesis, Heads, Shard, Timestamp, UserId, Wallet, WalletState,
};
use crate::store::row as stored;
use crate::store::{Reader, Scan, ScanLimits, StoreError};

/// How often a read is made at the most, because the primary is replaced meanwhile.
const READS_MAX: u32 = 3;

/// How often to look for what other processes have committed, while somebody watches.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

const SELECT_WALLET: &str = "select account.wallet_id, wallet.balance, wallet.sequence, wallet.last_entry_id,
         wallet.frozen, account.created_at
     from account join wallet on wallet.shard_id = account.shard_id and wallet.user_id = account.user_id
     where account.shard_id = $1 and account.user_id = $2";
const SELECT_EVENT: &str =
    select_entry!("entry", "where entry.shard_id = $1 and entry.event_id = $2 and entry.user_id = $3");
const SELECT_HEADS: &str = "select head.commit_id, head.form, head.last_entry_id, head.hash, head.created_at,
         shard.shard_id
     from shard left join lateral (
         select * from ledger_commit where ledger_commit.shard_id = shard.shard_id order by commit_id desc limit 1
     ) as head on true
     order by shard.shard_id";

pub(super) struct PostgresReader {
    cluster: Arc<Cluster>,
    genesis: Genesis,
    durable: Arc<Durable>,
    confirmer: Confirmer,
    pool: Pool,
}

/// A read over one connection.
trait Read<T>: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + Sync {}

impl<T, F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + Sync> Read<T> for F {}

impl PostgresReader {
    pub(super) fn open(cluster: Arc<Cluster>, genesis: Genesis, durable: Arc<Durable>) -> Self {
        let (confirmer, pool) = (Confirmer::new(Arc::clone(&cluster)), Pool::new(Arc::clone(&cluster)));
        Self { cluster, genesis, durable, confirmer, pool }
    }

    /// Runs a read, and makes sure that what it found is durable before it is told. `newest` names the newest entry of
    /// each shard that it saw.
    async fn run<T: Send>(
        &self,
        read: impl Read<T>,
        newest: impl Fn(&T) -> Vec<EntryId> + Send + Sync,
    ) -> Result<T, StoreError> {
        for _ in 0..READS_MAX {
            let (found, opened) = self.read(&read).await?;
            if self.is_durable(&newest(&found), opened).await? {
                return Ok(found);
            }
        }
        Err(StoreError::unavailable("the primary was replaced while it was read"))
    }

    /// Runs a read, and once more if the connection turns out to be lost. Returns also when that was opened.
    async fn read<T: Send>(&self, read: &impl Read<T>) -> Result<(T, Opened), StoreError> {
        match self.attempt(read).await {
            Err(Failure::Lost(_) | Failure::ReadOnly(_)) => self.attempt(read).await.map_err(Failure::into_error)?,
            Err(failure) => Err(failure.into_error()),
            Ok(result) => result,
        }
    }

    async fn attempt<T: Send>(&self, read: &impl Read<T>) -> Result<Result<(T, Opened), StoreError>, Failure> {
        let limit = self.cluster.statement_timeout();
        let timed = time::timeout(limit, self.pool.borrow()).await;
        let borrowed = timed.unwrap_or_else(|_| Err(timed_out("no connection was free in time")));
        let mut borrowed = borrowed.map_err(sort)?;
        let opened = borrowed.primary.opened;
        let (is_new, connection) = (borrowed.is_new, &mut borrowed.primary.connection);
        let work = async {
            if is_new {
                self.check_age(connection).await?;
            }
            read(connection).await
        };
        let timed = time::timeout(limit, work).await;
        match timed.unwrap_or_else(|_| Err(StoreError::unavailable(timed_out("it did not answer in time")))) {
            Ok(found) => {
                borrowed.give_back();
                Ok(Ok((found, opened)))
            }
            Err(StoreError::Unavailable(source)) => match source.downcast::<sqlx::Error>() {
                Ok(error) => {
                    let failed = sort(*error);
                    if matches!(failed, Failure::Lost(_) | Failure::ReadOnly(_)) {
                        self.cluster.lost(opened);
                    }
                    Err(failed)
                }
                Err(source) => Ok(Err(StoreError::Unavailable(source))),
            },
            Err(error) => Ok(Err(error)),
        }
    }

    /// Makes sure that everything is there which this process knows to be durable.
    async fn check_age(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let known = self.durable.last();
        let heads = heads(connection, self.genesis).await?;
        match known.into_iter().zip(heads.last_entry_ids()).find(|(known, last)| last.get() < *known) {
            Some((known, _)) => Err(StoreError::unavailable(format!("entry {known} is gone: {OLDER_STATE}"))),
            None => Ok(()),
        }
    }

    /// Makes sure that entries are durable which were read over a connection that was opened then. False if that is not
    /// to be known, because the primary was replaced: an entry may be lost, and another have its number.
    async fn is_durable(&self, entries: &[EntryId], opened: Opened) -> Result<bool, StoreError> {
        let is_known = || entries.iter().all(|entry_id| self.durable.has(*entry_id));
        if !is_known()
            && let Some(confirmed) = self.confirmer.confirm(is_known).await?
        {
            if confirmed.timeline != opened.timeline {
                return Ok(false);
            }
            for entry_id in entries {
                self.durable.note(*entry_id);
            }
        }
        // A newer primary is known before anything that it has written is known to be durable.
        Ok(self.cluster.is_newest(opened))
    }

    fn shard_of(&self, user_id: UserId) -> i16 {
        shard_id(self.genesis.shards.of(user_id))
    }
}

#[async_trait]
impl Reader for PostgresReader {
    async fn wallet(&self, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError> {
        let shard = self.shard_of(user_id);
        let newest = |found: &Option<(_, EntryId)>| found.iter().map(|(_, newest)| *newest).collect();
        let found = self.run(move |connection| wallet(connection, shard, user_id, at).boxed(), newest).await?;
        Ok(found.and_then(|(wallet, _)| wallet))
    }

    async fn entries(
        &self,
        user_id: UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        let shard = self.shard_of(user_id);
        let newest = |found: &Option<Vec<Entry>>| found.as_deref().map(newest).unwrap_or_default();
        self.run(move |connection| entries(connection, shard, user_id, before, limit).boxed(), newest).await
    }

    async fn event(&self, event: EventKey) -> Result<Option<Vec<Entry>>, StoreError> {
        let shard = self.shard_of(event.user_id);
        let newest = |found: &Option<Vec<Entry>>| found.as_deref().map(newest).unwrap_or_default();
        self.run(move |connection| self::event(connection, shard, event).boxed(), newest).await
    }

    async fn scan(
        &self,
        shard: Shard,
        after: EntryId,
        filter: &EntryFilter,
        limits: ScanLimits,
    ) -> Result<Scan, StoreError> {
        let newest = |scan: &Scan| vec![scan.head];
        self.run(|connection| scan(connection, shard, after, filter.clone(), limits).boxed(), newest).await
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        let genesis = self.genesis;
        let newest = |heads: &Heads| heads.last_entry_ids().collect();
        self.run(move |connection| heads(connection, genesis).boxed(), newest).await
    }

    fn poll_interval(&self) -> Option<Duration> {
        Some(POLL_INTERVAL)
    }

    async fn close(&self) {
        self.confirmer.close().await;
        self.pool.close().await;
    }
}

/// The newest of these entries, which are all of one shard.
fn newest(entries: &[Entry]) -> Vec<EntryId> {
    entries.iter().map(|entry| entry.entry_id).max().into_iter().collect()
}

/// A user's wallet, as it is or as it was, and the newest entry that there is of it.
async fn wallet(
    connection: &mut PgConnection,
    shard: i16,
    user_id: UserId,
    at: Option<Timestamp>,
) -> Result<Option<(Option<Wallet>, EntryId)>, StoreError> {
    let found = sqlx::query(SELECT_WALLET).bind(shard).bind(user_id.get()).fetch_optional(&mut *connection).await;
    let Some(found) = found.map_err(StoreError::unavailable)? else { return Ok(None) };
    let state = stored::wallet_state(&found, 1, user_id)?;
    let created_at = stored::Source::of(&found, "account", user_id.get());
    let created_at = created_at.get(5, "created_at", |time| Some(Timestamp::from_microseconds(time)))?;
    let wallet_id = stored::wallet_id(&found, 0, "account", user_id)?;
    let WalletState { balance, sequence, last_entry_id, frozen } = state;
    let wallet = Wallet { user_id, wallet_id, balance, sequence, created_at, frozen };
    let Some(at) = at else { return Ok(Some((Some(wallet), last_entry_id))) };
    if at < created_at {
        return Ok(Some((None, last_entry_id)));
    }
    let entry = history::entry_at(connection, shard, user_id, last_entry_id, at).await?;
    let Some(entry) = entry else { return Ok(Some((None, last_entry_id))) };
    let frozen = history::was_frozen(connection, shard, user_id, entry.entry_id).await?;
    let wallet = Wallet { balance: entry.balance_after, sequence: entry.sequence, frozen, ..wallet };
    Ok(Some((Some(wallet), last_entry_id)))
}

async fn entries(
    connection: &mut PgConnection,
    shard: i16,
    user_id: UserId,
    before: Option<EntryId>,
    limit: usize,
) -> Result<Option<Vec<Entry>>, StoreError> {
    let Some(newest) = history::newest(connection, shard, user_id).await? else { return Ok(None) };
    history::page(connection, shard, user_id, newest, before, limit).await.map(Some)
}

async fn event(connection: &mut PgConnection, shard: i16, event: EventKey) -> Result<Option<Vec<Entry>>, StoreError> {
    let EventKey { event_id, user_id } = event;
    let select = sqlx::query(SELECT_EVENT).bind(shard).bind(event_id.get()).bind(user_id.get());
    let entries = row::entries(&select.fetch_all(&mut *connection).await.map_err(StoreError::unavailable)?)?;
    if entries.is_empty() && history::newest(connection, shard, user_id).await?.is_none() {
        return Ok(None);
    }
    Ok(Some(entries))
}

/// The head of each shard's chain.
pub(super) async fn heads(connection: &mut PgConnection, genesis: Genesis) -> Result<Heads, StoreError> {
    let rows = sqlx::query(SELECT_HEADS).fetch_all(connection).await.map_err(StoreError::unavailable)?;
    if rows.len() != usize::from(genesis.shards.count()) {
        let found = format!("one of {} rows", rows.len());
        return Err(StoreError::Corrupt { table: "shard", column: "shard_id", row: 0, found });
    }
    let head =
        |(shard, found)| match stored::Source::of(found, "ledger_commit", 0).get_optional(0, "commit_id", Some)? {
            Some(_) => stored::commit(found),
            None => Ok(genesis.commit(shard)),
        };
    Ok(Heads::new(genesis.shards.all().zip(&rows).map(head).collect::<Result<_, _>>()?))
}
