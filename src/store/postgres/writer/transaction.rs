//! One batch's transaction.

use std::collections::HashMap;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Row as _, ValueRef as _};

use super::PostgresWriter;
use crate::ledger::{Changes, Commit, Entry, EventId, EventKey, Fetched, Head, Keys, UserId, WalletState};
use crate::store::postgres::error::Failure;
use crate::store::postgres::row::{self, select_commit, select_entry};
use crate::store::postgres::shard_id;
use crate::store::row as stored;
use crate::store::{StoreError, Transaction, Version};

const SELECT_HEAD: &str = select_commit!("where shard_id = $1 order by commit_id desc limit 1");

/// Selects what is found, with the number of the head in the last column: a row of nulls before it, if nothing is.
///
/// It is read without a lock. So the head is that of the same snapshot, and what is found belongs to that head.
macro_rules! select_with_head {
    ($found:expr) => {
        concat!(
            "select found.*, head.commit_id from (
                 select coalesce(max(commit_id), 0) as commit_id from ledger_commit where shard_id = $1
             ) as head left join (",
            $found,
            ") as found on true"
        )
    };
}

// Their keys hold the shard as well, as those of the write statement do.
const SELECT_LAST_EVENT: &str = select_with_head!("select max(event_id) as event_id from entry where shard_id = $1");
const SELECT_WALLETS: &str = select_with_head!(
    "select key.user_id, wallet.balance, wallet.sequence, wallet.last_entry_id, wallet.frozen
     from unnest($2::bigint[], array_fill($1::smallint, array[cardinality($2::bigint[])])) as key (user_id, shard_id)
     join wallet on wallet.shard_id = key.shard_id and wallet.user_id = key.user_id"
);
const SELECT_EVENTS: &str = select_with_head!(select_entry!(
    "entry",
    "join unnest($2::bigint[], $3::bigint[], array_fill($1::smallint, array[cardinality($2::bigint[])]))
             as key (event_id, user_id, shard_id)
         on entry.shard_id = key.shard_id and entry.event_id = key.event_id and entry.user_id = key.user_id"
));

/// One batch's transaction. Most begin without a word to the server: what they fetch and what they write belongs to one
/// state of the ledger, because they write only if nobody else has committed since.
pub(super) struct PostgresTransaction<'w> {
    writer: &'w mut PostgresWriter,
    /// The number of the head, as it is believed or, behind the lock, known.
    number: i64,
    /// The head, if it was read.
    head: Option<Commit>,
    /// Whether the lock is held.
    is_locked: bool,
}

impl<'w> PostgresTransaction<'w> {
    /// One that believes in this head.
    pub(super) const fn unlocked(writer: &'w mut PostgresWriter, number: i64) -> Self {
        Self { writer, number, head: None, is_locked: false }
    }

    /// One that holds the lock, and has read the head behind it.
    pub(super) const fn locked(writer: &'w mut PostgresWriter, head: Commit) -> Self {
        Self { writer, number: head.commit_id, head: Some(head), is_locked: true }
    }
}

impl PostgresTransaction<'_> {
    /// Reads rows that have the head of their snapshot in the last column. If that is not the head that this
    /// transaction sees, another process has committed. A row that has nothing else is left out.
    fn read_at_head(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<Vec<PgRow>, sqlx::Error>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let mut rows = self.read(work)?;
        let head_of = |row: &PgRow| row.try_get::<i64, _>(row.len() - 1).map_err(StoreError::unavailable);
        let head = rows.first().map(head_of).transpose()?;
        if head != Some(self.number) {
            return Err(self.lost_race());
        }
        rows.retain(|row| row.try_get_raw(0).is_ok_and(|value| !value.is_null()));
        Ok(rows)
    }

    /// The head, if it still is the one that this transaction sees.
    fn select_head(&mut self) -> Result<Commit, StoreError> {
        let shard = shard_id(self.writer.shard);
        let select =
            async |connection: &mut PgConnection| sqlx::query(SELECT_HEAD).bind(shard).fetch_optional(connection).await;
        let found = self.read(select)?.as_ref().map(stored::commit).transpose()?;
        let head = found.unwrap_or_else(|| self.writer.genesis.commit(self.writer.shard));
        if head.commit_id == self.number { Ok(head) } else { Err(self.lost_race()) }
    }

    /// Another process was faster. The lock, if it is held, is let go.
    fn lost_race(&mut self) -> StoreError {
        if std::mem::take(&mut self.is_locked) {
            self.writer.roll_back();
        }
        self.writer.lost_race()
    }

    /// Reads over the connection.
    fn read<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        self.writer.run(work).map_err(|failure| {
            let was_locked = std::mem::take(&mut self.is_locked);
            match failure {
                Failure::Lost(error) | Failure::ReadOnly(error) => self.writer.redo(error),
                failure => {
                    if was_locked {
                        self.writer.roll_back();
                    }
                    failure.into_error()
                }
            }
        })
    }
}

impl Transaction for PostgresTransaction<'_> {
    fn version(&self) -> Version {
        self.writer.version(self.number)
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        let shard = shard_id(self.writer.shard);
        let head = if let Some(head) = self.head { head } else { self.select_head()? };
        let select = async |connection: &mut PgConnection| {
            sqlx::query(SELECT_LAST_EVENT).bind(shard).fetch_all(connection).await
        };
        let rows = self.read_at_head(select)?;
        let last = rows.first().map(|row| row.try_get(0).map_err(StoreError::unavailable)).transpose()?;
        Ok(Head { commit: head, last_event_id: last.and_then(EventId::new) })
    }

    fn fetch(&mut self, keys: &Keys) -> Result<Fetched, StoreError> {
        let Keys { wallets, events } = keys;
        let (wallets, events) = (self.wallets(wallets)?, self.events(events)?);
        Ok(Fetched { wallets, events })
    }

    fn commit(mut self: Box<Self>, changes: &Changes) -> Result<Version, StoreError> {
        // From here on it is the writer that ends the transaction.
        let (is_locked, number) = (std::mem::take(&mut self.is_locked), self.number);
        match (&changes.commit, is_locked) {
            (Some(commit), false) => self.writer.write(changes, commit),
            (Some(commit), true) => self.writer.write_locked(changes, commit),
            (None, false) => self.writer.confirm(number),
            (None, true) => self.writer.end_locked(&self.head.expect("it was read behind the lock")),
        }
    }
}

impl PostgresTransaction<'_> {
    fn wallets(&mut self, keys: &[UserId]) -> Result<Vec<(UserId, Option<WalletState>)>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (shard, ids) = (shard_id(self.writer.shard), keys.iter().map(|key| key.get()).collect::<Vec<i64>>());
        let rows = self.read_at_head(async |connection| {
            sqlx::query(SELECT_WALLETS).bind(shard).bind(ids).fetch_all(connection).await
        })?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let user_id = stored::user_id(row, 0, "wallet")?;
            found.insert(user_id, stored::wallet_state(row, 1, user_id)?);
        }
        Ok(keys.iter().map(|key| (*key, found.get(key).copied())).collect())
    }

    fn events(&mut self, keys: &[EventKey]) -> Result<Vec<(EventKey, Vec<Entry>)>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let shard = shard_id(self.writer.shard);
        let events = keys.iter().map(|key| key.event_id.get()).collect::<Vec<i64>>();
        let users = keys.iter().map(|key| key.user_id.get()).collect::<Vec<i64>>();
        let rows = self.read_at_head(async |connection| {
            sqlx::query(SELECT_EVENTS).bind(shard).bind(events).bind(users).fetch_all(connection).await
        })?;
        let mut found: HashMap<EventKey, Vec<Entry>> = HashMap::new();
        for entry in row::entries(&rows)? {
            found.entry(entry.key().event()).or_default().push(entry);
        }
        Ok(keys.iter().map(|key| (*key, found.remove(key).unwrap_or_default())).collect())
    }
}

impl Drop for PostgresTransaction<'_> {
    fn drop(&mut self) {
        if self.is_locked {
            self.writer.roll_back();
        }
    }
}
