//! The connection itself: opened, lost, given up.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnection, PgRow};
use tokio::runtime::Runtime;
use tokio::time;

use super::PostgresWriter;
use crate::store::postgres::cluster::{Opened, Primary, timed_out};
use crate::store::postgres::error::{Failure, sort};
use crate::store::{StoreError, WriterCount};

/// How long one statement may take. A server that vanishes without a word is given up after that, and so is a commit
/// that waits for a standby that is not there.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that may be lost in a row before it is told. A batch that has sent nothing to be written is decided
/// again on the next.
const LOSSES_MAX: u32 = 1;

/// A process of the server that serves one connection: its id, and when it began, as text.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pid: i32,
    began: String,
}

const SELECT_BACKEND: &str = "select pid, backend_start::text from pg_stat_activity where pid = pg_backend_pid()";
/// Ends a backend, and waits until it has ended. No row if there is no such backend any more, which is also so on
/// another server.
const END_BACKEND: &str = "select pg_terminate_backend(pid, 1000) from pg_stat_activity
     where pid = $1 and backend_start::text = $2";

/// A connection, and what is known over it.
pub(super) struct Session {
    pub(super) connection: PgConnection,
    pub(super) number: u64,
    /// When it was opened.
    pub(super) opened: Opened,
    /// The process that serves it.
    pub(super) backend: Backend,
    /// The number of the last commit, as far as this writer knows.
    pub(super) head: Option<i64>,
}

impl PostgresWriter {
    /// The connection, which is opened if there is none.
    pub(super) fn session(&mut self) -> Result<&mut Session, Failure> {
        if self.session.is_none() {
            let connected = block_on(self.runtime.as_ref(), self.cluster.connect());
            let connected = connected.map_err(|error| Failure::Refused(StoreError::unavailable(error)))?;
            let Primary { mut connection, opened, host } = connected;
            let identify = sqlx::query_as(SELECT_BACKEND).fetch_one(&mut connection);
            let identified =
                block_on(self.runtime.as_ref(), async { time::timeout(STATEMENT_TIMEOUT, identify).await });
            let identified = identified.unwrap_or_else(|_| Err(timed_out("it did not answer in time")));
            let (pid, began) = identified.map_err(|error| Failure::Refused(StoreError::unavailable(error)))?;
            let backend = Backend { pid, began };
            self.session = Some(Session { connection, number: self.sessions, opened, backend, head: None });
            self.sessions += 1;
            self.counts.add(WriterCount::Sessions);
            let (database, shard, timeline) = (self.cluster.shown(), self.shard.index(), opened.timeline);
            tracing::info!(database, shard, host, timeline, "connected to write");
        }
        Ok(self.session.as_mut().expect("it was just opened"))
    }

    /// Gives up a connection to a primary that was replaced, as others have found out. It must not be in the middle of
    /// a transaction.
    pub(super) fn leave_replaced(&mut self) {
        self.session.take_if(|session| !self.cluster.is_newest(session.opened));
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
        self.session()?;
        let Some(Session { connection, opened, .. }) = &mut self.session else { unreachable!("it is open") };
        let opened = *opened;
        let timed = async { time::timeout(STATEMENT_TIMEOUT, work(connection)).await };
        let runtime = self.runtime.as_ref();
        let (result, warned) = self.warnings.catch(|| block_on(runtime, timed));
        let result = result.unwrap_or_else(|_| Err(timed_out("it did not answer in time")));
        result.map(|result| (result, warned)).map_err(|error| {
            let failure = sort(error);
            if let Failure::Lost(error) | Failure::ReadOnly(error) = &failure {
                tracing::warn!(%error, shard = self.shard.index(), "the connection that writes was lost");
                self.session = None;
                self.losses += 1;
                self.cluster.lost(opened);
            }
            failure
        })
    }

    /// Runs a statement whose success is acknowledged to callers: with a warning, it is none.
    pub(super) fn run_to_commit<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Failure> {
        let (result, warned) = self.run_and_listen(work)?;
        if warned {
            self.session = None;
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
            self.session = None;
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
                failure.of_read()
            }
        }
    }

    /// Makes sure that a statement that was given up cannot be carried out any more. Else it could be after its callers
    /// were told that they must send it again, and what they are answered then would not be true.
    pub(super) fn end_backend(&mut self, backend: &Backend) -> Result<(), StoreError> {
        let Backend { pid, began } = backend.clone();
        let ended = self.run(async |connection| {
            sqlx::query_scalar::<_, bool>(END_BACKEND).bind(pid).bind(began).fetch_optional(connection).await
        });
        match ended.map_err(Failure::of_read)? {
            None | Some(true) => Ok(()),
            Some(false) => Err(StoreError::unavailable("the connection that was given up does not end")),
        }
    }
}

/// Runs a future on the writer's runtime.
pub(super) fn block_on<F: Future>(runtime: Option<&Runtime>, future: F) -> F::Output {
    runtime.expect("it is there until the writer is dropped").block_on(future)
}
