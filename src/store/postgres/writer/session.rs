//! The connection itself: opened, lost, given up.

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnection, PgRow};
use tokio::runtime::Runtime;
use tokio::time;

use super::PostgresWriter;
use crate::store::postgres::backend::{self, Backend};
use crate::store::postgres::cluster::{Opened, Primary, timed_out};
use crate::store::postgres::error::{Failure, sort};
use crate::store::{StoreError, WriterCount};

/// Connections that may be lost in a row before it is told. A batch that has sent nothing to be written is decided
/// again on the next.
const LOSSES_MAX: u32 = 1;

/// A connection, and what is known over it.
pub(super) struct Session {
    pub(super) connection: PgConnection,
    pub(super) number: u64,
    /// When it was opened.
    pub(super) opened: Opened,
    /// The process that serves it.
    backend: Backend,
    /// The number of the last commit, as far as this writer knows.
    pub(super) head: Option<i64>,
}

impl PostgresWriter {
    /// Takes the connection, which is opened if there is none. Until it is put back it counts as given up: so it is if
    /// a panic ends what was begun on it.
    fn take_session(&mut self) -> Result<Session, Failure> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.connect()?,
        };
        self.given_up = Some(session.backend.clone());
        Ok(session)
    }

    fn put_back(&mut self, session: Session) {
        self.session = Some(session);
        self.given_up = None;
    }

    fn connect(&mut self) -> Result<Session, Failure> {
        let connect = backend::connect(&self.cluster, &mut self.given_up);
        let connected = block_on(self.runtime.as_ref(), connect);
        let (primary, backend) = connected.map_err(|error| Failure::Refused(StoreError::unavailable(error)))?;
        let Primary { connection, opened, host } = primary;
        let session = Session { connection, number: self.sessions, opened, backend, head: None };
        self.sessions += 1;
        self.counts.add(WriterCount::Sessions);
        let (database, shard, timeline) = (self.cluster.shown(), self.shard.index(), opened.timeline);
        tracing::info!(database, shard, host, timeline, "connected to write");
        Ok(session)
    }

    /// Closes the connection, and takes note that what it was told may not have ended on the server.
    pub(super) fn give_up(&mut self) {
        self.given_up = self.session.take().map(|session| session.backend).or(self.given_up.take());
    }

    /// Gives up a connection to a primary that was replaced, as others have found out. It must not be in the middle of
    /// a transaction.
    pub(super) fn leave_replaced(&mut self) {
        if self.session.as_ref().is_some_and(|session| !self.cluster.is_newest(session.opened)) {
            self.give_up();
        }
    }

    /// Runs a statement. A connection that fails is closed.
    pub(super) fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Failure> {
        self.run_and_listen(work).map(|(result, _)| result)
    }

    /// The same. Says also whether the server added a warning to its answer.
    pub(super) fn run_and_listen<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<(T, bool), Failure> {
        let mut session = self.take_session()?;
        let timed = async { time::timeout(self.cluster.statement_timeout(), work(&mut session.connection)).await };
        let (result, warned) = block_on(self.runtime.as_ref(), self.warnings.catch(timed));
        let result = result.unwrap_or_else(|_| Err(timed_out("it did not answer in time"))).map_err(sort);
        if let Err(Failure::Lost(error) | Failure::ReadOnly(error)) = &result {
            tracing::warn!(%error, shard = self.shard.index(), "the connection that writes was lost");
            self.losses += 1;
            self.cluster.lost(session.opened);
        } else {
            self.put_back(session);
        }
        result.map(|result| (result, warned))
    }

    /// Runs a statement whose success is acknowledged to callers: with a warning, it is none.
    pub(super) fn run_to_commit<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Failure> {
        let (result, warned) = self.run_and_listen(work)?;
        if warned {
            self.give_up();
            self.losses += 1;
            return Err(Failure::Lost(timed_out("the commit was not replicated")));
        }
        Ok(result)
    }

    /// Runs statements that take no parameters, and returns the rows of all.
    pub(super) fn run_raw(&mut self, sql: String) -> Result<Vec<PgRow>, Failure> {
        self.run_to_commit(async |connection| sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await)
    }

    /// Ends a transaction without a trace. If that fails, so does the connection.
    pub(super) fn roll_back(&mut self) {
        if self.session.is_some() && self.run_raw("rollback".to_owned()).is_err() {
            self.give_up();
        }
    }

    /// A failure after which nothing was done: another connection may have more luck, but not for ever.
    pub(super) fn redo(&mut self, error: sqlx::Error) -> StoreError {
        if self.losses <= LOSSES_MAX { StoreError::Stale } else { StoreError::unavailable(error) }
    }

    /// The same for a statement that writes nothing, or whose transaction has not ended.
    pub(super) fn undone(&mut self, failure: Failure) -> StoreError {
        match failure {
            Failure::Lost(error) | Failure::ReadOnly(error) => self.redo(error),
            failure => {
                self.roll_back();
                failure.into_error()
            }
        }
    }
}

/// Runs a future on the writer's runtime.
pub(super) fn block_on<F: Future>(runtime: Option<&Runtime>, future: F) -> F::Output {
    runtime.expect("it is there until the writer is dropped").block_on(future)
}
