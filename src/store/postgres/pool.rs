//! Connections to the primary that are kept for the next read.
//!
//! The library's pool belongs to one host, and insists on it for as long as a caller waits when it is not there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::Connection as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::cluster::{Cluster, Primary, timed_out};

/// Connections at the same time.
const CONNECTIONS_MAX: usize = 8;

pub(super) struct Pool {
    cluster: Arc<Cluster>,
    permits: Semaphore,
    idle: Mutex<Vec<Primary>>,
}

/// A connection in use. It is closed when dropped: a read may have ended in the middle of an answer.
pub(super) struct Borrowed<'p> {
    pool: &'p Pool,
    pub(super) primary: Primary,
    /// Whether nothing was read over it yet.
    pub(super) is_new: bool,
    _permit: SemaphorePermit<'p>,
}

impl Pool {
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, permits: Semaphore::new(CONNECTIONS_MAX), idle: Mutex::default() }
    }

    /// A connection to the host that takes writes; waits for one that is in use if there are too many.
    pub(super) async fn borrow(&self) -> Result<Borrowed<'_>, sqlx::Error> {
        let permit = self.permits.acquire().await.map_err(|_| timed_out("the database was closed"))?;
        let (primary, is_new) = match self.idle_one() {
            Some(primary) => (primary, false),
            None => (self.cluster.connect().await?, true),
        };
        Ok(Borrowed { pool: self, primary, is_new, _permit: permit })
    }

    /// One that may be used again. Those that may not are closed.
    fn idle_one(&self) -> Option<Primary> {
        let mut idle = self.idle();
        while let Some(primary) = idle.pop() {
            if self.cluster.trusts(primary.opened) {
                return Some(primary);
            }
        }
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Primary>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes those that are not in use, and lends none any more.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for Primary { connection, .. } in idle {
            let _ = connection.close().await;
        }
    }
}

impl Borrowed<'_> {
    /// Gives it back, to be used again.
    pub(super) fn give_back(self) {
        if !self.pool.permits.is_closed() {
            self.pool.idle().push(self.primary);
        }
    }
}
