//! Whether the ledger can commit: what the last attempt showed, unless an attempt is stuck.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{self, Instant};

use super::EngineError;
use crate::ledger::Timestamp;
use crate::telemetry::{Throttle, chain};

/// How often an attempt that may be stuck is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Whether the ledger can commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Serving,
    NotServing,
}

/// The two ends: the worker reports, everybody else watches.
pub(super) fn watch(stall_timeout: Duration) -> (HealthReporter, HealthWatch) {
    let (sender, receiver) = watch::channel(Health::Serving);
    let watchdog = Arc::new(Watchdog::new());
    let watch = HealthWatch { reported: receiver, watchdog: Arc::clone(&watchdog), stall_timeout };
    (
        HealthReporter {
            sender,
            watchdog,
            outage: None,
            outages: Throttle::default(),
            undecided: Throttle::default(),
            clock_steps: Throttle::default(),
        },
        watch,
    )
}

/// What others can see of the worker while it is inside the store, where it may be stuck and report nothing.
struct Watchdog {
    start: Instant,
    /// When the attempt under way began, in microseconds after `start`, plus one; 0 between attempts.
    busy_since: AtomicU64,
    panics: AtomicU64,
    clock_steps: AtomicU64,
}

impl Watchdog {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            busy_since: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            clock_steps: AtomicU64::new(0),
        }
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

/// The worker's end: runs its attempts on the store, and logs and reports what becomes of them.
pub(super) struct HealthReporter {
    sender: watch::Sender<Health>,
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

    pub(super) fn is_up(&self) -> bool {
        *self.sender.borrow() == Health::Serving
    }

    /// Reports that the ledger can commit.
    pub(super) fn up(&mut self) {
        if let Some(Outage { began, failed_commands, logged: Some(_) }) = self.outage.take() {
            let down_ms = millis(began.elapsed());
            tracing::warn!(down_ms, failed_commands, "health is up: the ledger can commit");
        }
        self.report(Health::Serving);
    }

    /// Reports that the ledger cannot commit: after so long, `error` failed so many commands (none, if it was found
    /// without one).
    pub(super) fn down(&mut self, error: &EngineError, batch_size: usize, elapsed: Duration) {
        let (error, elapsed_ms) = (chain(error), millis(elapsed));
        let new = || Outage { began: Instant::now(), failed_commands: 0, logged: None };
        let outage = self.outage.get_or_insert_with(new);
        outage.failed_commands += batch_size;
        if outage.is_news(&error)
            && let Some(suppressed) = self.outages.pass()
        {
            let failed_commands = outage.failed_commands;
            if outage.logged.is_none() {
                let batch_size = (batch_size > 0).then_some(batch_size);
                tracing::error!(error, batch_size, elapsed_ms, suppressed, "health is down: the ledger cannot commit");
            } else {
                tracing::error!(error, elapsed_ms, suppressed, failed_commands, "the ledger still cannot commit");
            }
            outage.logged = Some((error, Instant::now()));
        }
        self.report(Health::NotServing);
    }

    /// Logs that a command could not be decided.
    pub(super) fn undecided(&mut self, error: &EngineError) {
        if let Some(suppressed) = self.undecided.pass() {
            tracing::error!(error = chain(error), suppressed, "a command could not be decided");
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

    fn report(&self, health: Health) {
        self.sender.send_if_modified(|current| std::mem::replace(current, health) != health);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Tells whether the ledger can commit. It does not keep the engine going.
#[derive(Clone)]
pub struct HealthWatch {
    reported: watch::Receiver<Health>,
    watchdog: Arc<Watchdog>,
    stall_timeout: Duration,
}

impl HealthWatch {
    /// Whether the ledger can commit: no failure was reported since the last commit, no attempt is stuck, and there is
    /// a worker to make the next.
    #[must_use]
    pub fn now(&self) -> Health {
        if self.has_ended() || self.is_stuck() { Health::NotServing } else { *self.reported.borrow() }
    }

    fn has_ended(&self) -> bool {
        self.reported.has_changed().is_err()
    }

    fn is_stuck(&self) -> bool {
        self.watchdog.busy_for() > self.stall_timeout
    }

    /// Logs when an attempt is stuck, since the worker cannot, and when it no longer is. Ends with the engine.
    pub(super) async fn log_stalls(self) {
        let (mut stalls, mut began) = (Throttle::default(), None);
        while !self.has_ended() {
            time::sleep(CHECK_INTERVAL).await;
            match began {
                None if self.is_stuck() => {
                    if let Some(suppressed) = stalls.pass() {
                        let stuck_ms = millis(self.watchdog.busy_for());
                        tracing::error!(stuck_ms, suppressed, "the store does not answer");
                        began = Some(Instant::now());
                    }
                }
                Some(at) if !self.is_stuck() => {
                    tracing::warn!(stuck_ms = millis(at.elapsed() + self.stall_timeout), "the store answers again");
                    began = None;
                }
                _ => (),
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
        self.watchdog.panics.load(Ordering::Relaxed)
    }

    /// How often the time of day was set by more than a minute.
    #[must_use]
    pub fn clock_steps(&self) -> u64 {
        self.watchdog.clock_steps.load(Ordering::Relaxed)
    }
}
