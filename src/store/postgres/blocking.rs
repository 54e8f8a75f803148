//! A connection for whoever may block: with or without a runtime around.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, Postgres};
use sqlx::query::Query;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time;

use super::cluster::{Cluster, timed_out};
use super::open;
use super::url::PostgresUrl;
use crate::ledger::Genesis;
use crate::store::StoreError;

/// How long one statement may take. Each reads one page.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// What the session is told besides what every session is: whoever reads a whole ledger holds no lock that a writer waits
/// for, and may take its time between two statements of a transaction.
const SESSION: &str = "set idle_in_transaction_session_timeout = '60s'";

/// A connection to the server that takes writes, and what it lives on.
pub(super) struct Blocking {
    runtime: Runtime,
    cluster: Arc<Cluster>,
    /// `Some` until this is dropped.
    connection: Option<PgConnection>,
}

impl Blocking {
    /// Connects.
    ///
    /// # Errors
    /// [`StoreError::Incompatible`] if no server answers that takes writes.
    pub(super) fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StoreError::unavailable)?;
        let cluster = Arc::new(Cluster::new(url));
        let connected = block(|| runtime.block_on(cluster.connect()));
        let connection = Some(connected.map_err(|error| open::cannot_open(&cluster, &error))?.connection);
        let mut session = Self { runtime, cluster, connection };
        session.batch(SESSION)?;
        Ok(session)
    }

    /// The ledger that must be there.
    ///
    /// # Errors
    /// [`StoreError::Incompatible`] if there is none.
    pub(super) fn genesis(&mut self) -> Result<Genesis, StoreError> {
        let cluster = Arc::clone(&self.cluster);
        self.run(async |connection| open::genesis(connection, &cluster).await)
    }

    /// The URL, for whoever reads it.
    pub(super) fn shown(&self) -> &str {
        self.cluster.shown()
    }

    /// Runs a read to its end, unless that takes too long.
    pub(super) fn run<T: Send>(
        &mut self,
        read: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let (runtime, connection) = (&self.runtime, self.connection.as_mut().expect("it is open until it is dropped"));
        let timed = || runtime.block_on(async { time::timeout(STATEMENT_TIMEOUT, read(connection)).await });
        block(timed).unwrap_or_else(|_| Err(StoreError::unavailable(timed_out("it did not answer in time"))))
    }

    /// The rows that a query finds.
    pub(super) fn rows(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, StoreError> {
        self.run(async |connection| query.fetch_all(connection).await.map_err(StoreError::unavailable))
    }

    /// Runs statements that take no parameters and find nothing.
    pub(super) fn batch(&mut self, sql: &'static str) -> Result<(), StoreError> {
        self.run(async |connection| {
            sqlx::raw_sql(sql).execute(connection).await.map(drop).map_err(StoreError::unavailable)
        })
    }
}

impl Drop for Blocking {
    /// Takes leave of the server, which would log a connection that ends without a word.
    fn drop(&mut self) {
        let (Some(connection), runtime) = (self.connection.take(), &self.runtime) else { return };
        let _ = block(|| runtime.block_on(async { time::timeout(STATEMENT_TIMEOUT, connection.close()).await }));
    }
}

/// Does what blocks. Where there is a runtime, that is done on a thread of its own: the caller may be on one that must not
/// block.
pub(super) fn block<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if Handle::try_current().is_err() {
        return work();
    }
    let done = thread::scope(|threads| threads.spawn(work).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
