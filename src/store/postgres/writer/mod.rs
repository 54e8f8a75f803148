//! The connection that writes one shard.

mod commit;
mod session;
mod transaction;

use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Row as _};
use tokio::runtime::{Builder, Runtime};
use tokio::time;

use self::commit::InDoubt;
use self::session::Session;
use self::transaction::PostgresTransaction;
use super::backend::Backend;
use super::blocking::block;
use super::cluster::Cluster;
use super::durable::Durable;
use super::error::Failure;
use super::row::select_commit;
use super::warning::Warnings;
use super::{OLDER_STATE, shard_id};
use crate::ledger::{Changes, Commit, EntryId, Genesis, Shard};
use crate::store::row as stored;
use crate::store::{MARK_COPY, StoreError, Transaction, UNMARK_COPY, Version, Writer, WriterCount, WriterCounts};

/// For how many batches the shard is locked first, after another process was faster: they would only be decided again.
const LOCKED_BATCHES: u32 = 100;

/// The writer of one shard.
pub(super) struct PostgresWriter {
    /// What the connection lives on: the thread of whoever uses the writer. `None` once the writer is dropped.
    runtime: Option<Runtime>,
    cluster: Arc<Cluster>,
    genesis: Genesis,
    shard: Shard,
    durable: Arc<Durable>,
    counts: Arc<WriterCounts>,
    warnings: Warnings,
    session: Option<Session>,
    /// Who served the connection before, if that was given up.
    given_up: Option<Backend>,
    /// How many sessions there were.
    sessions: u64,
    /// The last commit that is known to be durable.
    known: Commit,
    /// For how many batches more the shard is locked first.
    locked_batches: u32,
    /// Connections that were lost since something was last committed.
    losses: u32,
    in_doubt: Option<InDoubt>,
}

impl PostgresWriter {
    pub(super) fn open(
        cluster: Arc<Cluster>,
        genesis: Genesis,
        shard: Shard,
        durable: Arc<Durable>,
    ) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StoreError::unavailable)?;
        Ok(Self {
            runtime: Some(runtime),
            cluster,
            genesis,
            shard,
            durable,
            counts: Arc::default(),
            warnings: Warnings::new(),
            session: None,
            given_up: None,
            sessions: 0,
            known: genesis.commit(shard),
            locked_batches: 0,
            losses: 0,
            in_doubt: None,
        })
    }

    /// Runs `begin`, the lock on the shard, and what comes behind it, in one message. Returns the rows behind the
    /// lock's.
    fn locked(&mut self, sql: &str) -> Result<Vec<PgRow>, Failure> {
        let shard = self.shard.index();
        let lock = format!("begin; select shard_id from shard where shard_id = {shard} for no key update; ");
        let mut rows = self.run_raw(lock + sql)?;
        let is_shard = rows.first().is_some_and(|row| row.len() == 1);
        if !is_shard {
            let found = "missing".to_owned();
            let corrupt = StoreError::Corrupt { table: "shard", column: "shard_id", row: shard.into(), found };
            return Err(Failure::Refused(corrupt));
        }
        rows.remove(0);
        Ok(rows)
    }

    /// Begins a transaction that holds the lock on the shard, and reads the head in it.
    fn begin_locked(&mut self) -> Result<Commit, StoreError> {
        let (shard, known) = (self.shard.index(), self.known.commit_id);
        let select = format!(
            concat!(
                "(",
                select_commit!("where shard_id = "),
                "{} order by commit_id desc limit 1) union all ",
                select_commit!("where shard_id = "),
                "{} and commit_id = {}"
            ),
            shard, shard, known
        );
        loop {
            match self.locked(&select) {
                Ok(rows) => {
                    return self.head_of(&rows).inspect_err(|_| self.roll_back());
                }
                Err(failure) => match self.undone(failure) {
                    StoreError::Stale => (),
                    error => return Err(error),
                },
            }
        }
    }

    /// The head, of rows that have it and the commit that is known to be durable. That must still be there.
    fn head_of(&self, rows: &[PgRow]) -> Result<Commit, StoreError> {
        let genesis = self.genesis.commit(self.shard);
        let commits = rows.iter().map(stored::commit).chain([Ok(genesis)]).collect::<Result<Vec<Commit>, _>>()?;
        let is_known = |commit: &Commit| (commit.commit_id, commit.hash) == (self.known.commit_id, self.known.hash);
        if !commits.iter().any(is_known) {
            return Err(self.gone());
        }
        Ok(commits.into_iter().max_by_key(|commit| commit.commit_id).unwrap_or(genesis))
    }

    /// A commit is not there any more that was durable.
    fn gone(&self) -> StoreError {
        let (shard, Commit { commit_id, .. }) = (self.shard, self.known);
        StoreError::unavailable(format!("commit {commit_id} of shard {} is gone: {OLDER_STATE}", shard.index()))
    }

    /// The version with this head.
    fn version(&self, number: i64) -> Version {
        Version { session: self.session.as_ref().map_or(self.sessions, |session| session.number), number }
    }

    /// Another process was faster. What is known of the head does not hold.
    fn lost_race(&mut self) -> StoreError {
        self.counts.add(WriterCount::LostRaces);
        self.locked_batches = LOCKED_BATCHES;
        if let Some(session) = &mut self.session {
            session.head = None;
        }
        StoreError::Stale
    }

    /// Something is committed, and durable up to this entry.
    fn committed(&mut self, commit: &Commit) -> Version {
        self.known = *commit;
        self.confirmed(commit.commit_id, commit.last_entry_id)
    }

    /// The same of what others have committed.
    fn confirmed(&mut self, number: i64, last_entry_id: EntryId) -> Version {
        self.losses = 0;
        self.durable.note(last_entry_id);
        if let Some(session) = &mut self.session {
            session.head = Some(number);
        }
        self.version(number)
    }

    /// Ends a probe that failed. It is told as it is, and not tried again on another connection.
    fn unprobed(&mut self, failure: Failure) -> StoreError {
        if matches!(failure, Failure::Busy | Failure::Refused(_)) {
            self.roll_back();
        }
        failure.into_error()
    }
}

impl Writer for PostgresWriter {
    fn begin(&mut self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        self.leave_replaced();
        // Who does not ask what became of it decides anew, on what the chain says by then. What was to make it is ended
        // before the next connection is used.
        self.in_doubt = None;
        let believed = self.session.as_ref().and_then(|session| session.head).filter(|_| self.locked_batches == 0);
        if let Some(number) = believed {
            return Ok(Box::new(PostgresTransaction::unlocked(self, number)));
        }
        self.locked_batches = self.locked_batches.saturating_sub(1);
        let head = self.begin_locked()?;
        Ok(Box::new(PostgresTransaction::locked(self, head)))
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.leave_replaced();
        let head = self.begin_locked()?;
        let shard = shard_id(self.shard);
        let last = self.run(async |connection| {
            sqlx::query_scalar::<_, Option<i64>>("select max(entry_id) from entry where shard_id = $1")
                .bind(shard)
                .fetch_one(connection)
                .await
        });
        let last = last.map_err(|failure| self.unprobed(failure))?.unwrap_or(self.shard.base().get());
        if last != head.last_entry_id.get() {
            self.roll_back();
            let found = format!("{}, but the last entry is {last}", head.last_entry_id);
            let (table, column) = ("ledger_commit", "last_entry_id");
            return Err(StoreError::Corrupt { table, column, row: head.commit_id, found });
        }
        self.run_raw("commit".to_owned()).map_err(|failure| self.unprobed(failure))?;
        self.committed(&head);
        Ok(())
    }

    fn check(&mut self) -> Result<(), StoreError> {
        // Only a commit shows that a standby is there which it would have to wait for.
        self.probe()
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn resolve(&mut self) -> Result<Option<Version>, StoreError> {
        self.leave_replaced();
        let InDoubt { commit, writer } =
            self.in_doubt.ok_or_else(|| StoreError::unavailable("no commit is in doubt"))?;
        let select = format!(
            "select writer from ledger_commit where shard_id = {} and commit_id = {}; commit",
            self.shard.index(),
            commit.commit_id
        );
        // What was read is believed when the commit behind it is answered.
        let rows = self.locked(&select).map_err(|failure| {
            if !matches!(failure, Failure::Lost(_) | Failure::ReadOnly(_)) {
                self.roll_back();
            }
            failure.into_error()
        })?;
        let found = rows.first().map(|row| row.try_get::<i64, _>(0)).transpose().map_err(StoreError::unavailable)?;
        self.in_doubt = None;
        Ok((found == Some(writer)).then(|| self.committed(&commit)))
    }

    fn copy(&mut self, commits: &[Changes]) -> Result<(), StoreError> {
        let head = self.begin_locked()?;
        self.write_all(head, commits).map_err(|failure| {
            self.roll_back();
            failure.into_error()
        })
    }

    fn mark_copy(&mut self, is_whole: bool) -> Result<(), StoreError> {
        let sql = if is_whole { UNMARK_COPY } else { MARK_COPY };
        self.run_raw(sql.to_owned()).map(drop).map_err(Failure::into_error)
    }

    fn counts(&self) -> Arc<WriterCounts> {
        Arc::clone(&self.counts)
    }
}

impl Drop for PostgresWriter {
    /// Takes leave of the server, which would log a connection that ends without a word.
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if let Some(Session { connection, .. }) = self.session.take() {
            let close = || {
                runtime.block_on(async { time::timeout(self.cluster.statement_timeout(), connection.close()).await })
            };
            let _ = block(close);
        }
        // A runtime that is dropped waits for its end, which it may not where others run.
        runtime.shutdown_background();
    }
}
