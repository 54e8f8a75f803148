//! Counts the commands that were refused because the ledger could not keep up, and logs the counts now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time;

/// How often what was counted is logged, if anything was.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The counts. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Overload(Arc<Counts>);

#[derive(Default)]
struct Counts {
    busy: AtomicU64,
    expired: AtomicU64,
}

impl Overload {
    /// Counts a command that found the queue full.
    pub(super) fn record_busy(&self) {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts commands whose deadline passed while they waited.
    pub(super) fn record_expired(&self, commands: usize) {
        self.0.expired.fetch_add(u64::try_from(commands).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Logs what is counted, every few seconds. Ends with the engine.
    pub(super) fn log(&self) -> impl Future<Output = ()> + use<> {
        let counts = Arc::downgrade(&self.0);
        async move {
            while let Some(()) = counts.upgrade().map(|counts| counts.log()) {
                time::sleep(LOG_INTERVAL).await;
            }
        }
    }
}

impl Counts {
    /// Logs what was counted since this was called last.
    fn log(&self) {
        let (busy, deadline) = (self.busy.swap(0, Ordering::Relaxed), self.expired.swap(0, Ordering::Relaxed));
        if busy + deadline > 0 {
            tracing::warn!(busy, deadline, "commands were refused: the ledger cannot keep up");
        }
    }
}

/// What was counted last is logged as well.
impl Drop for Counts {
    fn drop(&mut self) {
        self.log();
    }
}
