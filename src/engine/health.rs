//! Whether the ledger can commit: what the last attempt showed, unless an attempt is stuck.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{self, Instant};
use tracing::field::{DisplayValue, display};

use super::EngineError;
use crate::ledger::{Shard, Shards, Timestamp};
use crate::telemetry::{Throttle, chain};

/// How often an attempt that may be stuck is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Whether the ledger can commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Serving,
    NotServing,
}

/// The two ends: the worker of each shard reports, everybody else watches.
pub(super) fn watch(shards: Shards, stall_timeout: Duration) -> (Vec<HealthReporter>, HealthWatch) {
    let (sender, reported) = watch::channel(0);
    let watchdogs: Vec<Arc<Watchdog>> = shards.all().map(|shard| Arc::new(Watchdog::new(shards, shard))).collect();
    let reporters = watchdogs.iter().map(|watchdog| HealthReporter::new(sender.clone(), watchdog)).collect();
    (reporters, HealthWatch { reported, watchdogs: watchdogs.into(), stall_timeout })
}

/// What others can see of the worker while it is inside the store, where it may be stuck and report nothing.
struct Watchdog {
    /// The worker's shard, if there is more than one.
    shard: Option<Shard>,
    start: Instant,
    /// When the attempt under way began, in microseconds after `start`, plus one; 0 between attempts.
    busy_since: AtomicU64,
    panics: AtomicU64,
    clock_steps: AtomicU64,
}

impl Watchdog {
    fn new(shards: Shards, shard: Shard) -> Self {
        Self {
            shard: (shards != Shards::ONE).then_some(shard),
            start: Instant::now(),
            busy_since: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            clock_steps: AtomicU64::new(0),
        }
    }

    /// The shard, as logs have it.
    fn shard(&self) -> Option<DisplayValue<Shard>> {
        self.shard.map(display)
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

/// A worker's end: runs its attempts on the store, and logs and reports what becomes of them.
pub(super) struct HealthReporter {
    /// How many workers cannot commit.
    down: watch::Sender<usize>,
    /// Whether this is one of them.
    is_down: bool,
    watchdog: Arc<Watchdog>,
    outage: Option<Outage>,
    outages: Throttle,
    undecided: Throttle,
    clock_steps: Throttle,
}

/// A time in which the ledger could not commit.
struct Outage {
    began: Instant,
    failed_commands: usize,
    /// What was logged of it last, and when.
    logged: Option<(String, Instant)>,
}

impl Outage {
    /// Whether `error` says something new, or nothing was logged for a while.
    fn is_news(&self, error: &str) -> bool {
        let is_known = |(known, at): &(String, Instant)| known == error && at.elapsed() < Throttle::INTERVAL;
        !self.logged.as_ref().is_some_and(is_known)
    }
}

impl HealthReporter {
    fn new(down: watch::Sender<usize>, watchdog: &Arc<Watchdog>) -> Self {
        Self {
            down,
            is_down: false,
            watchdog: Arc::clone(watchdog),
            outage: None,
            outages: Throttle::default(),
            undecided: Throttle::default(),
            clock_steps: Throttle::default(),
        }
    }

    /// Runs one attempt on the store. A panic is caught, counted, and returned as `None`. The panic hook logs it.
    pub(super) fn attempt<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        self.watchdog.busy_since.store(self.watchdog.micros() + 1, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(work));
        self.watchdog.busy_since.store(0, Ordering::Relaxed);
        if result.is_err() {
            self.watchdog.panics.fetch_add(1, Ordering::Relaxed);
        }
        result.ok()
    }

    pub(super) const fn is_up(&self) -> bool {
        !self.is_down
    }

    /// Reports that the worker can commit.
    pub(super) fn up(&mut self) {
        if let Some(Outage { began, failed_commands, logged: Some(_) }) = self.outage.take() {
            let (down_ms, shard) = (millis(began.elapsed()), self.watchdog.shard());
            tracing::warn!(shard, down_ms, failed_commands, "health is up: the ledger can commit");
        }
        self.report(false);
    }

    /// Reports that the worker cannot commit: after so long, `error` failed so many commands (none, if it was found
    /// without one).
    pub(super) fn down(&mut self, error: &EngineError, batch_size: usize, elapsed: Duration) {
        let (error, elapsed_ms, shard) = (chain(error), millis(elapsed), self.watchdog.shard());
        let new = || Outage { began: Instant::now(), failed_commands: 0, logged: None };
        let outage = self.outage.get_or_insert_with(new);
        outage.failed_commands += batch_size;
        if outage.is_news(&error)
            && let Some(suppressed) = self.outages.pass()
        {
            let failed_commands = outage.failed_commands;
            if outage.logged.is_none() {
                let batch_size = (batch_size > 0).then_some(batch_size);
                let message = "health is down: the ledger cannot commit";
                tracing::error!(shard, error, batch_size, elapsed_ms, suppressed, "{message}");
            } else {
                tracing::error!(
                    shard,
                    error,
                    elapsed_ms,
                    suppressed,
                    failed_commands,
                    "the ledger still cannot commit"
                );
            }
            outage.logged = Some((error, Instant::now()));
        }
        self.report(true);
    }

    /// Logs that a command could not be decided.
    pub(super) fn undecided(&mut self, error: &EngineError) {
        if let Some(suppressed) = self.undecided.pass() {
            let shard = self.watchdog.shard();
            tracing::error!(shard, error = chain(error), suppressed, "a command could not be decided");
        }
    }

    /// Counts and logs that the time of day was set, by so many microseconds, at `now`.
    pub(super) fn clock_stepped(&mut self, step_us: i64, now: Timestamp) {
        self.watchdog.clock_steps.fetch_add(1, Ordering::Relaxed);
        if let Some(suppressed) = self.clock_steps.pass() {
            let step_seconds = step_us / 1_000_000;
            tracing::warn!(step_seconds, %now, suppressed, "the clock was set by more than a minute");
        }
    }

    fn report(&mut self, is_down: bool) {
        if std::mem::replace(&mut self.is_down, is_down) != is_down {
            self.down.send_modify(|down| *down = if is_down { *down + 1 } else { *down - 1 });
        }
    }
}

/// A worker that dies of a panic commits nothing any more, while others may go on.
impl Drop for HealthReporter {
    fn drop(&mut self) {
        if thread::panicking() {
            self.report(true);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Tells whether the ledger can commit. It does not keep the engine going.
#[derive(Clone)]
pub struct HealthWatch {
    /// How many workers cannot commit.
    reported: watch::Receiver<usize>,
    /// That of each worker.
    watchdogs: Arc<[Arc<Watchdog>]>,
    stall_timeout: Duration,
}

impl HealthWatch {
    /// Whether the ledger can commit: of no worker a failure was reported since its last commit, no attempt is stuck,
    /// and there are workers to make the next.
    #[must_use]
    pub fn now(&self) -> Health {
        let is_serving = *self.reported.borrow() == 0 && !self.has_ended() && !self.is_stuck();
        if is_serving { Health::Serving } else { Health::NotServing }
    }

    fn has_ended(&self) -> bool {
        self.reported.has_changed().is_err()
    }

    fn is_stuck(&self) -> bool {
        self.watchdogs.iter().any(|watchdog| watchdog.busy_for() > self.stall_timeout)
    }

    /// Logs when an attempt is stuck, since the worker cannot, and when it no longer is. Ends with the engine.
    pub(super) async fn log_stalls(self) {
        let mut stalls: Vec<Stalls> = self.watchdogs.iter().map(|_| Stalls::default()).collect();
        while !self.has_ended() {
            time::sleep(CHECK_INTERVAL).await;
            for (stalls, watchdog) in stalls.iter_mut().zip(self.watchdogs.iter()) {
                stalls.log(watchdog, self.stall_timeout);
            }
        }
    }

    /// Waits until health is no longer as `known`, and returns what it is then; `None` when the engine has ended.
    pub async fn change(&mut self, known: Health) -> Option<Health> {
        loop {
            let now = self.now();
            if now != known {
                return Some(now);
            }
            // A worker that is stuck reports nothing: hence the check now and then.
            if let Ok(Err(_)) = time::timeout(CHECK_INTERVAL, self.reported.changed()).await {
                return None;
            }
        }
    }

    /// How often the worker has panicked.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.watchdogs.iter().map(|watchdog| watchdog.panics.load(Ordering::Relaxed)).sum()
    }

    /// How often the time of day was set by more than a minute.
    #[must_use]
    pub fn clock_steps(&self) -> u64 {
        self.watchdogs.iter().map(|watchdog| watchdog.clock_steps.load(Ordering::Relaxed)).sum()
    }
}

/// What was logged of the attempts of one worker that were stuck.
#[derive(Default)]
struct Stalls {
    throttle: Throttle,
    /// When it was logged that the attempt under way is stuck.
    began: Option<Instant>,
}

impl Stalls {
    /// Logs if the worker has become stuck, or no longer is.
    fn log(&mut self, watchdog: &Watchdog, stall_timeout: Duration) {
        let (busy_for, shard) = (watchdog.busy_for(), watchdog.shard());
        let is_stuck = busy_for > stall_timeout;
        match self.began {
            None if is_stuck => {
                if let Some(suppressed) = self.throttle.pass() {
                    tracing::error!(shard, stuck_ms = millis(busy_for), suppressed, "the store does not answer");
                    self.began = Some(Instant::now());
                }
            }
            Some(at) if !is_stuck => {
                tracing::warn!(shard, stuck_ms = millis(at.elapsed() + stall_timeout), "the store answers again");
                self.began = None;
            }
            _ => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::store::StoreError;

    fn two_workers() -> ([HealthReporter; 2], HealthWatch) {
        let (reporters, health) = watch(Shards::new(2).unwrap(), Duration::from_secs(1));
        (reporters.try_into().ok().unwrap(), health)
    }

    #[tokio::test(start_paused = true)]
    async fn the_ledger_serves_as_long_as_every_worker_can_commit() {
        let ([mut one, mut other], health) = two_workers();
        let failed = EngineError::from(StoreError::unavailable("planted"));
        assert_eq!(health.now(), Health::Serving);
        other.down(&failed, 1, Duration::ZERO);
        other.down(&failed, 1, Duration::ZERO);
        one.up();
        assert_eq!((health.now(), one.is_up(), other.is_up()), (Health::NotServing, true, false));
        one.down(&failed, 1, Duration::ZERO);
        other.up();
        assert_eq!(health.now(), Health::NotServing);
        one.up();
        assert_eq!(health.now(), Health::Serving);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_of_one_worker_is_a_stall() {
        let ([one, _other], health) = two_workers();
        let stuck = one.attempt(|| {
            let _ = time::advance(Duration::from_secs(2)).now_or_never();
            health.now()
        });
        assert_eq!((stuck, health.now()), (Some(Health::NotServing), Health::Serving));
    }

    #[tokio::test]
    async fn a_worker_that_dies_of_a_panic_serves_no_more_and_one_that_ends_says_nothing() {
        let ([one, other], health) = two_workers();
        drop(one);
        assert_eq!(health.now(), Health::Serving);
        let died = catch_unwind(AssertUnwindSafe(move || {
            let _worker = other;
            std::panic::resume_unwind(Box::new("planted"));
        }));
        assert!(died.is_err());
        assert_eq!(health.now(), Health::NotServing);
    }
}
