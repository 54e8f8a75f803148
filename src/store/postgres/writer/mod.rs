//! The connection that writes one shard.

mod session;
mod transaction;

use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{Connection as _, Row as _};
use tokio::runtime::{Builder, Runtime};
use tokio::time;

use self::session::{Backend, STATEMENT_TIMEOUT, Session};
use self::transaction::PostgresTransaction;
use super::blocking::block;
use super::cluster::Cluster;
use super::durable::Durable;
use super::error::Failure;
use super::row::select_commit;
use super::warning::Warnings;
use super::{shard_id, write};
use crate::ledger::{Changes, Commit, EntryId, Genesis, Shard};
use crate::store::row as stored;
use crate::store::{StoreError, Transaction, Version, Writer, WriterCount, WriterCounts};

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
    /// How many sessions there were.
    sessions: u64,
    /// For how many batches more the shard is locked first.
    locked_batches: u32,
    /// Connections that were lost since something was last committed.
    losses: u32,
    in_doubt: Option<InDoubt>,
}

/// A commit whose answer was lost.
#[derive(Clone)]
struct InDoubt {
    commit_id: i64,
    /// The random number that it has if it was made.
    writer: i64,
    /// What was to make it, and may still be about to.
    backend: Backend,
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
            sessions: 0,
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
        let select = format!(
            concat!(select_commit!("where shard_id = "), "{} order by commit_id desc limit 1"),
            self.shard.index()
        );
        loop {
            match self.locked(&select) {
                Ok(rows) => {
                    let head = rows.first().map(stored::commit).transpose()?;
                    return Ok(head.unwrap_or_else(|| self.genesis.commit(self.shard)));
                }
                Err(failure) => match self.undone(failure) {
                    StoreError::Stale => (),
                    error => return Err(error),
                },
            }
        }
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
    fn committed(&mut self, number: i64, last_entry_id: EntryId) -> Version {
        self.losses = 0;
        self.durable.note(last_entry_id);
        if let Some(session) = &mut self.session {
            session.head = Some(number);
        }
        self.version(number)
    }

    /// The answer to a commit was lost.
    fn doubt(&mut self, in_doubt: InDoubt, error: sqlx::Error) -> StoreError {
        self.counts.add(WriterCount::InDoubt);
        self.in_doubt = Some(in_doubt);
        StoreError::InDoubt(error.into())
    }

    /// What is to be found out of a commit that is about to be sent, should its answer be lost.
    fn about_to(&mut self, commit: &Commit) -> Result<InDoubt, StoreError> {
        let random = getrandom::u64().map_err(|error| StoreError::unavailable(error.to_string()))?;
        let backend = self.session().map_err(Failure::of_read)?.backend.clone();
        Ok(InDoubt { commit_id: commit.commit_id, writer: random.cast_signed(), backend })
    }

    /// Writes a batch in one statement that is a transaction of its own.
    fn write(&mut self, changes: &Changes, commit: &Commit) -> Result<Version, StoreError> {
        let (shard, in_doubt) = (self.shard, self.about_to(commit)?);
        let writer = in_doubt.writer;
        let written =
            self.run_to_commit(async |connection| write::write(connection, shard, changes, commit, writer).await);
        match written {
            Ok(true) => {
                self.counts.add(WriterCount::Fast);
                Ok(self.committed(commit.commit_id, commit.last_entry_id))
            }
            Ok(false) => Err(self.lost_race()),
            Err(Failure::Lost(error)) => Err(self.doubt(in_doubt, error)),
            Err(Failure::ReadOnly(error)) => Err(self.redo(error)),
            Err(failure) => Err(failure.of_read()),
        }
    }

    /// Writes a batch, and commits, in the transaction that holds the lock.
    fn write_locked(&mut self, changes: &Changes, commit: &Commit) -> Result<Version, StoreError> {
        let (shard, in_doubt) = (self.shard, self.about_to(commit)?);
        let writer = in_doubt.writer;
        let written = self.run(async |connection| write::write(connection, shard, changes, commit, writer).await);
        match written {
            Ok(true) => match self.run_raw("commit".to_owned()) {
                Ok(_) => {
                    self.counts.add(WriterCount::Locked);
                    Ok(self.committed(commit.commit_id, commit.last_entry_id))
                }
                Err(Failure::Lost(error)) => Err(self.doubt(in_doubt, error)),
                Err(failure) => Err(self.undone(failure)),
            },
            Ok(false) => {
                self.roll_back();
                Err(self.lost_race())
            }
            Err(failure) => Err(self.undone(failure)),
        }
    }

    /// Writes commits as they are, and commits, in the transaction that holds the lock.
    fn write_all(&mut self, head: Commit, commits: &[Changes]) -> Result<(), Failure> {
        let (shard, links) = (self.shard, commits.iter().filter_map(|changes| changes.commit).collect::<Vec<_>>());
        let follow = (head.commit_id + 1..).zip(&links).all(|(number, commit)| commit.commit_id == number);
        let Some((last, before)) = links.split_last().filter(|_| follow) else {
            return Err(Failure::Refused(StoreError::Stale));
        };
        let writer = self.about_to(last).map_err(Failure::Refused)?.writer;
        self.run(async |connection| write::write_commits(connection, shard, before, writer).await)?;
        // One statement for all: each would write its wallets once more.
        let changes = Changes::joined(commits);
        if !self.run(async |connection| write::write(connection, shard, &changes, last, writer).await)? {
            return Err(Failure::Refused(StoreError::Stale));
        }
        self.run_raw("commit".to_owned())?;
        self.committed(last.commit_id, last.last_entry_id);
        Ok(())
    }

    /// Commits a batch that writes nothing, while the lock is held. It is no rollback: what the batch has read must be
    /// durable before it is told, and a commit behind a lock waits for that.
    fn end_locked(&mut self, number: i64) -> Result<Version, StoreError> {
        match self.run_raw("commit".to_owned()) {
            Ok(_) => {
                self.counts.add(WriterCount::Locked);
                Ok(self.committed(number, EntryId::ZERO))
            }
            Err(failure) => Err(self.undone(failure)),
        }
    }

    /// Makes sure that the head is still the one on which a batch was decided that writes nothing, and that it is
    /// durable.
    fn confirm(&mut self, number: i64) -> Result<Version, StoreError> {
        let select = format!(
            "select commit_id, last_entry_id from ledger_commit where shard_id = {} order by commit_id desc limit 1; \
             commit",
            self.shard.index()
        );
        let rows = self.locked(&select).map_err(|failure| self.undone(failure))?;
        let head = rows.first().map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?)));
        let (found, last): (i64, i64) = head.transpose().map_err(StoreError::unavailable)?.unwrap_or((0, 0));
        if found != number {
            return Err(self.lost_race());
        }
        self.counts.add(WriterCount::Fast);
        Ok(self.committed(number, EntryId::new(last).unwrap_or(EntryId::ZERO)))
    }
}

impl Writer for PostgresWriter {
    fn begin(&mut self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        self.leave_replaced();
        if let Some(InDoubt { backend, .. }) = self.in_doubt.clone() {
            self.end_backend(&backend)?;
            self.in_doubt = None;
        }
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
        let last = last.map_err(|failure| self.undone(failure))?.unwrap_or(self.shard.base().get());
        if last != head.last_entry_id.get() {
            self.roll_back();
            let found = format!("{}, but the last entry is {last}", head.last_entry_id);
            let (table, column) = ("ledger_commit", "last_entry_id");
            return Err(StoreError::Corrupt { table, column, row: head.commit_id, found });
        }
        self.end_locked(head.commit_id).map(|_| ())
    }

    fn check(&mut self) -> Result<(), StoreError> {
        self.probe()
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn resolve(&mut self) -> Result<Option<Version>, StoreError> {
        self.leave_replaced();
        let InDoubt { commit_id, writer, backend } =
            self.in_doubt.clone().ok_or_else(|| StoreError::unavailable("no commit is in doubt"))?;
        self.end_backend(&backend)?;
        let select = format!(
            "select writer, last_entry_id from ledger_commit where shard_id = {} and commit_id = {commit_id}; commit",
            self.shard.index()
        );
        // What was read is believed when the commit behind it is answered.
        let rows = self.locked(&select).map_err(|failure| {
            if !matches!(failure, Failure::Lost(_) | Failure::ReadOnly(_)) {
                self.roll_back();
            }
            failure.of_read()
        })?;
        let found = rows.first().map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?)));
        let found: Option<(i64, i64)> = found.transpose().map_err(StoreError::unavailable)?;
        self.in_doubt = None;
        match found {
            Some((by, last)) if by == writer => {
                Ok(Some(self.committed(commit_id, EntryId::new(last).unwrap_or(EntryId::ZERO))))
            }
            _ => Ok(None),
        }
    }

    fn copy(&mut self, commits: &[Changes]) -> Result<(), StoreError> {
        let head = self.begin_locked()?;
        self.write_all(head, commits).map_err(|failure| {
            self.roll_back();
            failure.of_read()
        })
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
            let close = || runtime.block_on(async { time::timeout(STATEMENT_TIMEOUT, connection.close()).await });
            let _ = block(close);
        }
        // And for the same reason it is not waited for.
        runtime.shutdown_background();
    }
}
