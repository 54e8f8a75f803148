//! The pool of connections that read. In WAL mode they never wait for the writer.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::row::{self, CommitRow, EntryRow, SELECT_HEAD, entry_columns};
use crate::ledger::{Balance, Commit, Entry, EntryId, Timestamp, UserId, Wallet};
use crate::store::{Reader, StoreError};

/// Connections that read at the same time. Each is a thread that sleeps while it is not asked.
const CONNECTIONS_MAX: u32 = 4;

/// How long a read waits for a connection, or for a lock (which in WAL mode only recovery takes).
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How far one statement walks back: a reader that stays longer keeps the WAL from being reused.
const STRIDE: i64 = 20_000;

pub(super) struct SqliteReader {
    pool: SqlitePool,
}

impl SqliteReader {
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(WAIT_MAX)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            // All are open from the start, so that none is missing when file descriptors have become scarce. And while
            // one is open the index of the WAL lives, which tells a writer that opens again after a failed sync how far
            // commits reach.
            .min_connections(CONNECTIONS_MAX)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(WAIT_MAX)
            .test_before_acquire(false)
            .connect_with(options)
            .await
            .map_err(StoreError::unavailable)?;
        Ok(Self { pool })
    }

    async fn entry(&self, entry_id: EntryId) -> Result<Option<Entry>, StoreError> {
        let found: Option<EntryRow> =
            sqlx::query_as(concat!("select ", entry_columns!(), " from entry where entry_id = ?1"))
                .bind(entry_id.get())
                .fetch_optional(&self.pool)
                .await
                .map_err(StoreError::unavailable)?;
        found.map(row::entry).transpose()
    }

    /// Walks a wallet's history back from `from` to its newest entry that is not after `last` and not later than `at`.
    async fn walk(&self, from: EntryId, last: EntryId, at: Timestamp) -> Result<Option<EntryId>, StoreError> {
        let mut from = Some(from.get());
        while let Some(start) = from {
            let (entry_id, previous, arrived): (i64, Option<i64>, bool) = sqlx::query_as(
                "with recursive step (entry_id, previous_entry_id, arrived) as (
                     select entry_id, previous_entry_id, entry_id <= ?2 and created_at <= ?3
                     from entry where entry_id = ?1
                     union all
                     select entry.entry_id, entry.previous_entry_id, entry.entry_id <= ?2 and entry.created_at <= ?3
                     from step join entry on entry.entry_id = step.previous_entry_id
                     where not step.arrived
                     limit ?4
                 )
                 select entry_id, previous_entry_id, arrived from step order by entry_id limit 1",
            )
            .bind(start)
            .bind(last.get())
            .bind(at.microseconds())
            .bind(STRIDE)
            .fetch_optional(&self.pool)
            .await
            .map_err(StoreError::unavailable)?
            .ok_or_else(|| missing_entry(start))?;
            if arrived {
                return Ok(EntryId::new(entry_id));
            }
            from = previous;
        }
        Ok(None)
    }
}

#[async_trait]
impl Reader for SqliteReader {
    async fn wallet(&self, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError> {
        let found: Option<(Vec<u8>, i64, i64, i64, i64)> = sqlx::query_as(
            "select user.wallet_id, user.created_at, wallet.balance, wallet.sequence, wallet.last_entry_id
             from user join wallet using (user_id) where user_id = ?1",
        )
        .bind(user_id.get())
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::unavailable)?;
        let Some((wallet_id, created_at, balance, sequence, last_entry_id)) = found else { return Ok(None) };
        let wallet_id = row::wallet_id(user_id.get(), &wallet_id)?;
        let created_at = Timestamp::from_microseconds(created_at);
        let state = row::state(user_id.get(), (balance, sequence, last_entry_id))?;
        let wallet = |balance: Balance, sequence| Wallet { user_id, wallet_id, balance, sequence, created_at };
        let Some(at) = at else { return Ok(Some(wallet(state.balance, state.sequence))) };
        let Some(entry_id) = self.walk(state.last_entry_id, EntryId::MAX, at).await? else { return Ok(None) };
        let entry = self.entry(entry_id).await?.ok_or_else(|| missing_entry(entry_id.get()))?;
        Ok(Some(wallet(entry.balance_after, entry.sequence)))
    }

    async fn entries(
        &self,
        user_id: UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        let newest: Option<i64> = sqlx::query_scalar("select last_entry_id from wallet where user_id = ?1")
            .bind(user_id.get())
            .fetch_optional(&self.pool)
            .await
            .map_err(StoreError::unavailable)?;
        let Some(newest) = newest.and_then(EntryId::new) else { return Ok(None) };
        let start = match before {
            None => Some(newest),
            Some(before) => match self.entry(before).await? {
                // The usual case, a page after another: `before` is the user's own entry and knows the one before it.
                Some(entry) if entry.user_id == user_id => entry.previous_entry_id,
                _ => match before.previous() {
                    Some(last) => self.walk(newest, last, Timestamp::MAX).await?,
                    None => None,
                },
            },
        };
        let Some(start) = start else { return Ok(Some(Vec::new())) };
        let rows: Vec<EntryRow> = sqlx::query_as(
            "with recursive history as (
                 select * from entry where entry_id = ?1
                 union all
                 select entry.* from history join entry on entry.entry_id = history.previous_entry_id
                 limit ?2
             )
             select entry_id, user_id, sequence, kind, event_id, amount, balance_after, previous_entry_id, created_at
             from history order by entry_id desc",
        )
        .bind(start.get())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::unavailable)?;
        rows.into_iter().map(row::entry).collect::<Result<_, _>>().map(Some)
    }

    async fn head(&self) -> Result<Commit, StoreError> {
        let head: Option<CommitRow> =
            sqlx::query_as(SELECT_HEAD).fetch_optional(&self.pool).await.map_err(StoreError::unavailable)?;
        head.map_or(Ok(Commit::GENESIS), row::commit)
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// A wallet's history has a gap.
fn missing_entry(entry_id: i64) -> StoreError {
    StoreError::Corrupt { table: "entry", column: "entry_id", row: entry_id, found: "missing".to_owned() }
}
