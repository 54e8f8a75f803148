//! What is recorded of the calls within one window of time.

use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::usage::Usage;

/// Latencies are kept in ticks of 100 ns. A microsecond would be almost a percent of what one caller waits for.
const TICK_NS: u128 = 100;
const TICKS_PER_MS: f64 = 10_000.0;

/// When calls count. They begin earlier, so that the first, slow ones do not.
#[derive(Clone, Copy)]
pub struct Window {
    pub begins: Instant,
    pub ends: Instant,
}

impl Window {
    pub fn of(time: Duration) -> Self {
        let begins = Instant::now() + time / 4;
        Self { begins, ends: begins + time }
    }
}

/// Records the calls of one caller.
#[derive(Default)]
pub struct Recorder {
    /// Calls that ended in the window.
    operations: u64,
    /// In ticks; four bytes each, because a fast round records hundreds of thousands.
    latencies: Vec<u32>,
}

impl Recorder {
    /// Records a call. Its latency counts if any part of the call lay in the window. If only calls that ended in the
    /// window counted, a service that stalled until the end of it would have no slow calls.
    pub fn record(&mut self, window: Window, started: Instant, ended: Instant) {
        if started < window.ends && ended >= window.begins {
            self.operations += u64::from(ended < window.ends);
            self.latencies.push(u32::try_from((ended - started).as_nanos() / TICK_NS).unwrap_or(u32::MAX));
        }
    }
}

/// All latencies of one or more samples.
#[derive(Clone)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Self {
        Self(Histogram::new(3).expect("three digits are allowed"))
    }

    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("it grows");
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A percentile, in milliseconds.
    pub fn percentile(&self, percentile: f64) -> f64 {
        self.0.value_at_percentile(percentile) as f64 / TICKS_PER_MS
    }
}

/// What was recorded in one window.
pub struct Sample {
    pub operations: f64,
    pub seconds: f64,
    /// Empty if they are not known.
    pub latencies: Latencies,
    /// What the service used in the window, if it was the service that worked.
    pub usage: Option<Usage>,
}

impl Sample {
    pub fn new(window: Window, recorders: Vec<Recorder>) -> Self {
        let operations = recorders.iter().map(|recorder| recorder.operations).sum::<u64>() as f64;
        let mut latencies = Latencies::new();
        for ticks in recorders.into_iter().flat_map(|recorder| recorder.latencies) {
            latencies.0.record(u64::from(ticks)).expect("it grows");
        }
        let seconds = (window.ends - window.begins).as_secs_f64();
        Self { operations, seconds, latencies, usage: None }
    }

    /// Both, which were taken in the same window.
    pub fn and(mut self, other: &Self) -> Self {
        self.operations += other.operations;
        self.latencies.add(&other.latencies);
        self
    }

    pub fn rate(&self) -> f64 {
        self.operations / self.seconds
    }
}
