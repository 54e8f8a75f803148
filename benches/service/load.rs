//! Callers, in a closed loop or at a fixed pace, and what was seen of them.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::process::Usage;

/// Calls one thing at a time, and checks each answer.
pub trait Caller: Send + 'static {
    fn call(&mut self) -> impl Future<Output = ()> + Send;
}

/// When calls count. They begin a little earlier, so that what is cold at first does not.
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

/// What one caller saw.
#[derive(Default)]
pub struct Seen {
    /// Calls that ended in the window.
    operations: u64,
    /// In microseconds; small, because a fast round sees hundreds of thousands.
    latencies: Vec<u32>,
}

impl Seen {
    /// Notes a call. Its latency counts if any part of it lay in the window: of a service that stalls until the window
    /// has passed, nothing else would be seen.
    pub fn note(&mut self, window: Window, started: Instant, ended: Instant) {
        if started < window.ends && ended >= window.begins {
            self.operations += u64::from(ended < window.ends);
            self.latencies.push(u32::try_from((ended - started).as_micros()).unwrap_or(u32::MAX));
        }
    }
}

/// What was seen in one window.
pub struct Sample {
    pub operations: f64,
    pub seconds: f64,
    /// In microseconds; empty if it is not known.
    pub latency: Histogram<u64>,
    /// What the service used meanwhile, if it was the service that worked.
    pub usage: Option<Usage>,
}

impl Sample {
    pub fn new(window: Window, callers: Vec<Seen>) -> Self {
        let operations = callers.iter().map(|seen| seen.operations).sum::<u64>() as f64;
        let mut latency = Histogram::new(3).expect("three digits are allowed");
        for micros in callers.into_iter().flat_map(|seen| seen.latencies) {
            latency.record(u64::from(micros)).expect("it grows");
        }
        let seconds = (window.ends - window.begins).as_secs_f64();
        Self { operations, seconds, latency, usage: None }
    }

    pub fn rate(&self) -> f64 {
        self.operations / self.seconds
    }
}

/// Each caller calls again as soon as it is answered.
pub async fn closed<C: Caller>(callers: Vec<C>, window: Window) -> Sample {
    let mut running = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let mut seen = Seen::default();
            let mut started = Instant::now();
            while started < window.ends {
                caller.call().await;
                let ended = Instant::now();
                seen.note(window, started, ended);
                started = ended;
            }
            seen
        });
    }
    Sample::new(window, running.join_all().await)
}

/// Calls begin at a fixed rate, whatever became of those before, each made by a caller that is free. Latency counts from
/// the moment when a call was due: what waits because the service stalled is not left out.
pub async fn paced<C: Caller>(callers: Vec<C>, rate: f64, window: Window) -> Sample {
    let (tickets, due) = mpsc::unbounded_channel();
    let due = Arc::new(Mutex::new(due));
    let mut running = JoinSet::new();
    for mut caller in callers {
        let due = Arc::clone(&due);
        running.spawn(async move {
            let mut seen = Seen::default();
            loop {
                let Some(ticket) = due.lock().await.recv().await else { return seen };
                caller.call().await;
                seen.note(window, ticket, Instant::now());
            }
        });
    }
    let pacer = thread::spawn(move || pace(rate, window.ends, &tickets));
    let sample = Sample::new(window, running.join_all().await);
    pacer.join().expect("it keeps pace");
    sample
}

/// A thread of its own, because the runtime's timers are as coarse as a whole call takes.
fn pace(rate: f64, ends: Instant, tickets: &mpsc::UnboundedSender<Instant>) {
    let started = Instant::now();
    for number in 0_u32.. {
        let due = started + Duration::from_secs_f64(f64::from(number) / rate);
        if due >= ends {
            return;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if tickets.send(due).is_err() {
            return;
        }
    }
}

/// The sample, with what the process `pid` used in its window.
pub async fn metered(pid: u32, window: Window, load: impl Future<Output = Sample>) -> Sample {
    let meter = async {
        sleep_until(window.begins).await;
        let before = Usage::of(pid);
        sleep_until(window.ends).await;
        Usage::of(pid).since(before)
    };
    let (sample, usage) = tokio::join!(load, meter);
    Sample { usage: Some(usage), ..sample }
}
