//! Connections that read what was committed, on the server that takes writes.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use tokio::time;

use super::cluster::{Cluster, timed_out};
use super::durable::Durable;
use super::error::{Failure, sort};
use super::row::{self, select_entry};
use super::scan::scan;
use super::{history, shard_id};
use crate::ledger::{
    Entry, EntryFilter, EntryId, EventKey, Genesis, Heads, Shard, Timestamp, UserId, Wallet, WalletState,
};
use crate::store::row as stored;
use crate::store::{Reader, Scan, ScanLimits, StoreError};

/// Connections that read at the same time.
const CONNECTIONS: u32 = 8;

/// How long a read may take, waiting for a connection included.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

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

/// Locks a row and commits: that waits until everything that was written before is durable. It stands in nobody's way.
const CONFIRM: &str = "begin; select shard_id from shard where shard_id = 0 for key share; commit";

/// Whether there is a standby to wait for. Without one, what can be seen is on disk.
const HAS_STANDBY: &str = "select current_setting('synchronous_standby_names') <> ''";

pub(super) struct PostgresReader {
    cluster: Arc<Cluster>,
    genesis: Genesis,
    durable: Arc<Durable>,
    pool: ArcSwap<Pool>,
}

/// Connections to the server that took writes when they were opened.
struct Pool {
    pool: PgPool,
    /// How many connections had been lost then.
    losses: u64,
}

impl Pool {
    fn new(cluster: &Cluster) -> Arc<Self> {
        let losses = cluster.losses();
        let options = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(READ_TIMEOUT)
            .test_before_acquire(false)
            .max_lifetime(None);
        Arc::new(Self { pool: options.connect_lazy_with(cluster.primary().clone()), losses })
    }
}

/// A read over one connection.
trait Read<T>: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + Sync {}

impl<T, F: for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + Sync> Read<T> for F {}

impl PostgresReader {
    pub(super) fn open(cluster: Arc<Cluster>, genesis: Genesis, durable: Arc<Durable>) -> Self {
        let pool = ArcSwap::new(Pool::new(&cluster));
        Self { cluster, genesis, durable, pool }
    }

    /// Runs a read, and once more if the connection turns out to be lost.
    async fn run<T: Send>(&self, read: impl Read<T>) -> Result<T, StoreError> {
        match self.attempt(&read).await {
            Err(Failure::Lost(_) | Failure::ReadOnly(_)) => self.attempt(&read).await.map_err(Failure::of_read)?,
            Err(failure) => Err(failure.of_read()),
            Ok(result) => result,
        }
    }

    async fn attempt<T: Send>(&self, read: &impl Read<T>) -> Result<Result<T, StoreError>, Failure> {
        let pool = self.pool().await.map_err(sort)?;
        let attempt = async {
            let mut connection = pool.pool.acquire().await?;
            Ok::<_, sqlx::Error>(read(&mut connection).await)
        };
        let attempted = time::timeout(READ_TIMEOUT, attempt).await;
        let failed = match attempted.unwrap_or_else(|_| Err(timed_out("it did not answer in time"))) {
            Ok(Err(StoreError::Unavailable(source))) => match source.downcast::<sqlx::Error>() {
                Ok(error) => sort(*error),
                Err(source) => return Ok(Err(StoreError::Unavailable(source))),
            },
            Ok(result) => return Ok(result),
            Err(error) => Failure::Lost(error),
        };
        if matches!(failed, Failure::Lost(_) | Failure::ReadOnly(_)) {
            self.cluster.lost(pool.losses);
        }
        Err(failed)
    }

    /// The connections to the server that takes writes.
    async fn pool(&self) -> Result<Arc<Pool>, sqlx::Error> {
        let pool = self.pool.load_full();
        if pool.losses == self.cluster.losses() || pool.pool.is_closed() {
            return Ok(pool);
        }
        // Whoever comes first finds the server; those who come meanwhile do the same, which does no harm.
        let found = self.cluster.connect().await?;
        drop(found);
        let new = Pool::new(&self.cluster);
        let old = self.pool.swap(Arc::clone(&new));
        tokio::spawn(async move { old.pool.close().await });
        Ok(new)
    }

    /// Makes sure that an entry that was read is durable, before it is told.
    async fn ensure_durable(&self, entry_id: EntryId) -> Result<(), StoreError> {
        if self.durable.has(entry_id) {
            return Ok(());
        }
        let _confirming = self.durable.confirming.lock().await;
        if self.durable.has(entry_id) {
            return Ok(());
        }
        self.run(|connection| confirm(connection).boxed()).await?;
        self.durable.note(entry_id);
        Ok(())
    }

    fn shard_of(&self, user_id: UserId) -> i16 {
        shard_id(self.genesis.shards.of(user_id))
    }
}

#[async_trait]
impl Reader for PostgresReader {
    async fn wallet(&self, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError> {
        let shard = self.shard_of(user_id);
        let found = self.run(move |connection| wallet(connection, shard, user_id, at).boxed()).await?;
        let Some((wallet, last_entry_id)) = found else { return Ok(None) };
        self.ensure_durable(last_entry_id).await?;
        Ok(wallet)
    }

    async fn entries(
        &self,
        user_id: UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        let shard = self.shard_of(user_id);
        let entries = self.run(move |connection| entries(connection, shard, user_id, before, limit).boxed()).await?;
        if let Some(newest) = entries.as_ref().and_then(|entries| entries.first()) {
            self.ensure_durable(newest.entry_id).await?;
        }
        Ok(entries)
    }

    async fn event(&self, event: EventKey) -> Result<Option<Vec<Entry>>, StoreError> {
        let shard = self.shard_of(event.user_id);
        let entries = self.run(move |connection| self::event(connection, shard, event).boxed()).await?;
        if let Some(newest) = entries.iter().flatten().map(|entry| entry.entry_id).max() {
            self.ensure_durable(newest).await?;
        }
        Ok(entries)
    }

    async fn scan(
        &self,
        shard: Shard,
        after: EntryId,
        filter: &EntryFilter,
        limits: ScanLimits,
    ) -> Result<Scan, StoreError> {
        let found = self.run(|connection| scan(connection, shard, after, filter.clone(), limits).boxed()).await?;
        self.ensure_durable(found.head).await?;
        Ok(found)
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        let genesis = self.genesis;
        let heads = self.run(move |connection| heads(connection, genesis).boxed()).await?;
        for last_entry_id in heads.last_entry_ids() {
            self.ensure_durable(last_entry_id).await?;
        }
        Ok(heads)
    }

    fn poll_interval(&self) -> Option<Duration> {
        Some(POLL_INTERVAL)
    }

    async fn close(&self) {
        self.pool.load().pool.close().await;
    }
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

/// Makes sure that everything that can be seen is durable.
pub(super) async fn confirm(connection: &mut PgConnection) -> Result<(), StoreError> {
    let has_standby = sqlx::query_scalar::<_, bool>(HAS_STANDBY).fetch_one(&mut *connection).await;
    if has_standby.map_err(StoreError::unavailable)? {
        sqlx::raw_sql(CONFIRM).execute(connection).await.map_err(StoreError::unavailable)?;
    }
    Ok(())
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
