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
use super::confirm::confirm;
use super::error::cannot_open;
use super::open;
use super::url::PostgresUrl;
use super::warning::Warnings;
use crate::ledger::Genesis;
use crate::store::StoreError;

/// How long one statement may take. Each reads one page.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// What the session is told besides what every session is: whoever reads a whole ledger holds no lock that a writer
/// waits for, and may take its time between two statements of a transaction.
const SESSION: &str = "set idle_in_transaction_session_timeout = '60s'";

/// A connection to the server that takes writes, and what it lives on.
pub(super) struct Blocking {
    cluster: Arc<Cluster>,
    /// `Some` until this is dropped.
    open: Option<(Runtime, PgConnection)>,
}

impl Blocking {
    /// Connects.
    ///
    /// # Errors
    /// [`StoreError::Incompatible`] if no server answers that takes writes.
    pub(super) fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StoreError::unavailable)?;
        let cluster = Arc::new(Cluster::new(url));
        match block(|| runtime.block_on(cluster.connect())) {
            Ok(primary) => {
                let mut session = Self { cluster, open: Some((runtime, primary.connection)) };
                session.batch(SESSION)?;
                Ok(session)
            }
            Err(error) => {
                // To wait for its end would not be allowed everywhere.
                runtime.shutdown_background();
                Err(cannot_open(cluster.shown(), &error))
            }
        }
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
        let (runtime, connection) = self.open.as_mut().expect("it is open until it is dropped");
        let timed = || runtime.block_on(async { time::timeout(STATEMENT_TIMEOUT, read(connection)).await });
        block(timed).unwrap_or_else(|_| Err(StoreError::unavailable(timed_out("it did not answer in time"))))
    }

    /// The rows that a query finds.
    pub(super) fn rows(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, StoreError> {
        self.run(async |connection| query.fetch_all(connection).await.map_err(StoreError::unavailable))
    }

    /// Makes sure that everything that can be seen is durable.
    pub(super) fn confirm(&mut self) -> Result<(), StoreError> {
        let warnings = Warnings::new();
        self.run(async |connection| confirm(connection, &warnings).await.map_err(StoreError::unavailable))
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
        let Some((runtime, connection)) = self.open.take() else { return };
        let _ = block(|| runtime.block_on(async { time::timeout(STATEMENT_TIMEOUT, connection.close()).await }));
        // To wait for its end would not be allowed everywhere.
        runtime.shutdown_background();
    }
}

/// Does what blocks. Where there is a runtime, that is done on a thread of its own: the caller may be on one that must
/// not block.
pub(super) fn block<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if Handle::try_current().is_err() {
        return work();
    }
    let done = thread::scope(|threads| threads.spawn(work).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
