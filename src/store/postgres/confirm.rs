//! Makes sure that what can be seen is durable.

use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;
use tokio::time;

use super::backend::{self, Backend};
use super::cluster::{Cluster, Opened, Primary, timed_out};
use super::error::{Failure, sort};
use super::warning::Warnings;
use crate::store::StoreError;

/// How often it is tried at the most: the connection that was left open may have been lost.
const ATTEMPTS_MAX: u32 = 2;

/// Locks a row and commits: that waits until everything that was written before is durable. It stands in nobody's way.
const CONFIRM: &str = "begin; select shard_id from shard where shard_id = 0 for key share; commit";

/// Whether there is a standby to wait for. Without one, what can be seen is on disk.
const HAS_STANDBY: &str = "select current_setting('synchronous_standby_names') <> ''";

/// Makes sure that everything that can be seen is durable.
pub(super) async fn confirm(connection: &mut PgConnection, warnings: &Warnings) -> Result<(), sqlx::Error> {
    if !sqlx::query_scalar::<_, bool>(HAS_STANDBY).fetch_one(&mut *connection).await? {
        return Ok(());
    }
    let (confirmed, warned) = warnings.catch(sqlx::raw_sql(CONFIRM).execute(connection)).await;
    confirmed?;
    if warned { Err(timed_out("the commit was not replicated")) } else { Ok(()) }
}

/// The connection over which a process confirms what it has read. There is one, so that no more than one confirmation
/// waits for a standby that is away.
#[derive(Clone)]
pub(super) struct Confirmer {
    cluster: Arc<Cluster>,
    line: Arc<Mutex<Line>>,
}

struct Line {
    warnings: Warnings,
    open: Option<(Primary, Backend)>,
    given_up: Option<Backend>,
}

impl Confirmer {
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        let line = Line { warnings: Warnings::new(), open: None, given_up: None };
        Self { cluster, line: Arc::new(Mutex::new(line)) }
    }

    /// Confirms everything that could be seen when this was called, unless `is_known` to be durable by the time that it
    /// would begin. Says when the connection was opened over which it was confirmed.
    pub(super) async fn confirm(&self, is_known: impl Fn() -> bool) -> Result<Option<Opened>, StoreError> {
        let line = time::timeout(self.cluster.statement_timeout(), Arc::clone(&self.line).lock_owned()).await;
        let Ok(mut line) = line else {
            return Err(StoreError::unavailable(timed_out("it is not known in time whether the standby has it")));
        };
        if is_known() {
            return Ok(None);
        }
        let cluster = Arc::clone(&self.cluster);
        // A task of its own: others wait for the same, also if this caller does not any more.
        let confirmed = tokio::spawn(async move { line.confirm(&cluster).await }).await;
        confirmed.map_err(StoreError::unavailable)?.map(Some)
    }

    pub(super) async fn close(&self) {
        let limit = self.cluster.statement_timeout();
        let line = time::timeout(limit, self.line.lock()).await;
        if let Some((primary, _)) = line.ok().and_then(|mut line| line.open.take()) {
            let _ = time::timeout(limit, primary.connection.close()).await;
        }
    }
}

impl Line {
    async fn confirm(&mut self, cluster: &Cluster) -> Result<Opened, StoreError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (mut primary, backend) = match self.open.take().filter(|(open, _)| cluster.trusts(open.opened)) {
                Some(open) => open,
                None => backend::connect(cluster, &mut self.given_up).await.map_err(StoreError::unavailable)?,
            };
            let confirming = confirm(&mut primary.connection, &self.warnings);
            let confirmed = time::timeout(cluster.statement_timeout(), confirming).await;
            let opened = primary.opened;
            let Ok(confirmed) = confirmed else {
                // The primary may be as it should, and wait for its standby.
                self.given_up = Some(backend);
                return Err(StoreError::unavailable(timed_out("the standby did not answer in time")));
            };
            match confirmed.map_err(sort) {
                Ok(()) => {
                    self.open = Some((primary, backend));
                    return Ok(opened);
                }
                Err(failure @ (Failure::Lost(_) | Failure::ReadOnly(_))) => {
                    self.given_up = Some(backend);
                    cluster.lost(opened);
                    if attempts == ATTEMPTS_MAX {
                        return Err(failure.into_error());
                    }
                }
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }
}
