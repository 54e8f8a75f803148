//! Callers, in a closed loop or at a fixed rate.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::sample::{Recorder, Sample, Window};
use super::usage::Usage;

/// Makes one call at a time, and checks each answer.
pub trait Caller: Send + 'static {
    fn call(&mut self) -> impl Future<Output = ()> + Send;
}

/// Each caller calls again as soon as it is answered.
pub async fn closed<C: Caller>(callers: Vec<C>, window: Window) -> Sample {
    let mut running = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let mut recorder = Recorder::default();
            let mut started = Instant::now();
            while started < window.ends {
                caller.call().await;
                let ended = Instant::now();
                recorder.record(window, started, ended);
                started = ended;
            }
            recorder
        });
    }
    Sample::new(window, running.join_all().await)
}

/// Calls become due at a fixed rate, whether or not earlier ones were answered. The next free caller makes each. A
/// latency counts from the moment when the call was due, so it includes the time that the call waited for a caller.
pub async fn paced<C: Caller>(callers: Vec<C>, rate: f64, window: Window) -> Sample {
    let (sender, due) = mpsc::unbounded_channel();
    let due = Arc::new(Mutex::new(due));
    let mut running = JoinSet::new();
    for mut caller in callers {
        let due = Arc::clone(&due);
        running.spawn(async move {
            let mut recorder = Recorder::default();
            loop {
                let Some(due_at) = due.lock().await.recv().await else { return recorder };
                caller.call().await;
                recorder.record(window, due_at, Instant::now());
            }
        });
    }
    let pacer = thread::spawn(move || pace(rate, window.ends, &sender));
    let sample = Sample::new(window, running.join_all().await);
    pacer.join().expect("the pacer ends");
    sample
}

/// Sends the moments when calls are due. It has a thread of its own, because the runtime's timers are as coarse as a
/// whole call takes.
fn pace(rate: f64, ends: Instant, sender: &mpsc::UnboundedSender<Instant>) {
    let started = Instant::now();
    for number in 0_u32.. {
        let due = started + Duration::from_secs_f64(f64::from(number) / rate);
        if due >= ends {
            return;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if sender.send(due).is_err() {
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
