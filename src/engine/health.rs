//! Whether the ledger can commit: as its last attempt tells, as long as no attempt stands still.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{self, Instant};

/// How often an attempt that may stand still is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Whether the ledger can commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Serving,
    NotServing,
}

/// What others can see of the worker while it is inside the store, where it may be stuck and tell nothing.
pub(super) struct Watchdog {
    start: Instant,
    /// When the attempt that goes on began, in microseconds after `start`, and one; 0 between attempts.
    busy_since: AtomicU64,
    panics: AtomicU64,
}

impl Watchdog {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), busy_since: AtomicU64::new(0), panics: AtomicU64::new(0) }
    }

    /// Runs one attempt on the store. A panic is caught, logged, counted, and returned as `None`.
    pub(super) fn attempt<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        self.busy_since.store(self.micros() + 1, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(work));
        self.busy_since.store(0, Ordering::Relaxed);
        result
            .inspect_err(|panic| {
                self.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(panic = panic_message(panic.as_ref()), "the ledger's worker panicked");
            })
            .ok()
    }

    fn busy_for(&self) -> Duration {
        match self.busy_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_micros(self.micros().saturating_sub(since - 1)),
        }
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX - 1)
    }
}

/// Tells whether the ledger can commit. It does not keep the engine going.
#[derive(Clone)]
pub struct HealthWatch {
    told: watch::Receiver<Health>,
    watchdog: Arc<Watchdog>,
    stall_timeout: Duration,
}

impl HealthWatch {
    pub(super) const fn new(told: watch::Receiver<Health>, watchdog: Arc<Watchdog>, stall_timeout: Duration) -> Self {
        Self { told, watchdog, stall_timeout }
    }

    /// Whether the ledger can commit: the last attempt did, none stands still, and there is a worker to make the next.
    #[must_use]
    pub fn now(&self) -> Health {
        let gone = self.told.has_changed().is_err();
        if gone || self.watchdog.busy_for() > self.stall_timeout { Health::NotServing } else { *self.told.borrow() }
    }

    /// Waits until it is no longer as is `known`, and returns what it is then; `None` when the engine has ended.
    pub async fn change(&mut self, known: Health) -> Option<Health> {
        loop {
            let now = self.now();
            if now != known {
                return Some(now);
            }
            // A worker that is stuck tells nothing: hence the look now and then.
            if let Ok(Err(_)) = time::timeout(LOOK_INTERVAL, self.told.changed()).await {
                return None;
            }
        }
    }

    /// How often the worker has panicked.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.watchdog.panics.load(Ordering::Relaxed)
    }
}

/// What a panic said, as far as it can be read.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
