//! How a batch is committed, in each of the ways.

use sqlx::Row as _;

use super::PostgresWriter;
use crate::ledger::{Changes, Commit, EntryId};
use crate::store::postgres::error::Failure;
use crate::store::postgres::write;
use crate::store::{StoreError, Version, WriterCount};

/// A commit whose answer was lost.
#[derive(Clone, Copy)]
pub(super) struct InDoubt {
    pub(super) commit: Commit,
    /// The random number that it has if it was made.
    pub(super) writer: i64,
}

impl InDoubt {
    /// What is to be found out of a commit that is about to be sent, should its answer be lost.
    fn about_to(commit: &Commit) -> Result<Self, StoreError> {
        let random = getrandom::u64().map_err(|error| StoreError::unavailable(error.to_string()))?;
        Ok(Self { commit: *commit, writer: random.cast_signed() })
    }
}

impl PostgresWriter {
    /// The answer to a commit was lost.
    fn doubt(&mut self, in_doubt: InDoubt, error: sqlx::Error) -> StoreError {
        self.counts.add(WriterCount::InDoubt);
        self.in_doubt = Some(in_doubt);
        StoreError::InDoubt(error.into())
    }

    /// Writes a batch in one statement that is a transaction of its own.
    pub(super) fn write(&mut self, changes: &Changes, commit: &Commit) -> Result<Version, StoreError> {
        let in_doubt = InDoubt::about_to(commit)?;
        let (shard, writer) = (self.shard, in_doubt.writer);
        let written =
            self.run_to_commit(async |connection| write::write(connection, shard, changes, commit, writer).await);
        match written {
            Ok(true) => {
                self.counts.add(WriterCount::Fast);
                Ok(self.committed(commit))
            }
            Ok(false) => Err(self.lost_race()),
            Err(Failure::Lost(error)) => Err(self.doubt(in_doubt, error)),
            Err(Failure::ReadOnly(error)) => Err(self.redo(error)),
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// Writes a batch, and commits, in the transaction that holds the lock.
    pub(super) fn write_locked(&mut self, changes: &Changes, commit: &Commit) -> Result<Version, StoreError> {
        let in_doubt = InDoubt::about_to(commit).inspect_err(|_| self.roll_back())?;
        let (shard, writer) = (self.shard, in_doubt.writer);
        let written = self.run(async |connection| write::write(connection, shard, changes, commit, writer).await);
        match written {
            Ok(true) => match self.run_raw("commit".to_owned()) {
                Ok(_) => {
                    self.counts.add(WriterCount::Locked);
                    Ok(self.committed(commit))
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
    pub(super) fn write_all(&mut self, head: Commit, commits: &[Changes]) -> Result<(), Failure> {
        let (shard, links) = (self.shard, commits.iter().filter_map(|changes| changes.commit).collect::<Vec<_>>());
        let follow = (head.commit_id + 1..).zip(&links).all(|(number, commit)| commit.commit_id == number);
        let Some((last, before)) = links.split_last().filter(|_| follow) else {
            return Err(Failure::Refused(StoreError::Stale));
        };
        let writer = InDoubt::about_to(last).map_err(Failure::Refused)?.writer;
        self.run(async |connection| write::write_commits(connection, shard, before, writer).await)?;
        // One statement for all: each would write its wallets once more.
        let changes = Changes::joined(commits);
        if !self.run(async |connection| write::write(connection, shard, &changes, last, writer).await)? {
            return Err(Failure::Refused(StoreError::Stale));
        }
        self.run_raw("commit".to_owned())?;
        self.committed(last);
        Ok(())
    }

    /// Commits a batch that writes nothing, while the lock is held. It is no rollback: what the batch has read must be
    /// durable before it is told, and a commit behind a lock waits for that.
    pub(super) fn end_locked(&mut self, head: &Commit) -> Result<Version, StoreError> {
        match self.run_raw("commit".to_owned()) {
            Ok(_) => {
                self.counts.add(WriterCount::Locked);
                Ok(self.committed(head))
            }
            Err(failure) => Err(self.undone(failure)),
        }
    }

    /// Makes sure that the head is still the one on which a batch was decided that writes nothing, and that it is
    /// durable.
    pub(super) fn confirm(&mut self, number: i64) -> Result<Version, StoreError> {
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
        Ok(self.confirmed(number, EntryId::new(last).unwrap_or(EntryId::ZERO)))
    }
}
