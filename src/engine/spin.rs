//! Waiting awake, for a caller who is spin.
//!
//! One who sends a command, waits for its answer, and sends the next, waits for one commit and for four threads to wake
//! up; and a processor that went to sleep meanwhile takes a good part of a commit's time to wake up. So both who wait here
//! stay awake a little: the ledger for the next command, after a batch of one; the caller for his answer, while nobody else
//! is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use std::{iter, thread};

use tokio::task;
use tokio::time::Instant;

/// After so many commands in a row that found nobody else waiting, their caller is taken to be spin.
const ALONE_AFTER: u32 = 8;
/// How often to look before sleeping all the same; any other thread may have the processor in between.
const LOOKS: usize = 500;
/// And for how long: where others do take the processor, a look takes its time.
const LOOKS_TIME: Duration = Duration::from_millis(1);

/// Whether whoever sends commands is spin. Clones share what they know.
#[derive(Clone)]
pub(super) struct AdaptiveSpin {
    /// Commands that found nobody else waiting, one after the other.
    in_a_row: Arc<AtomicU32>,
    /// Whether the ledger has a thread of its own: else nothing happens while one looks.
    own_thread: bool,
    /// Whether it has, besides, a processor: else a caller who looks keeps it from working.
    own_processor: bool,
}

impl AdaptiveSpin {
    pub(super) fn new(own_thread: bool) -> Self {
        let own_processor = thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
        Self { in_a_row: Arc::default(), own_thread, own_processor }
    }

    /// Notes that a command comes, and whether others wait.
    pub(super) fn record_arrival(&self, others_wait: bool) {
        let in_a_row = if others_wait { 0 } else { self.in_a_row.load(Relaxed).saturating_add(1) };
        self.in_a_row.store(in_a_row, Relaxed);
    }

    /// What a look of the ledger finds, soon; or `None`. For after a batch of one: where it was not the only one under way,
    /// the others come meanwhile, and share the next.
    pub(super) fn spin_for_work<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        looks(|| self.own_thread).find_map(|()| {
            let found = look();
            if found.is_none() {
                thread::yield_now();
            }
            found
        })
    }

    /// What a look of a caller finds, soon; `None` if that is nothing, and at once when nobody is spin.
    ///
    /// Before each look the runtime's thread does what else there is to do: were others kept from coming, a caller would be
    /// taken to be spin for that very reason.
    pub(super) async fn spin_for_reply<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let spin = || self.own_thread && self.own_processor && self.in_a_row.load(Relaxed) >= ALONE_AFTER;
        for () in looks(spin) {
            task::yield_now().await;
            if let Some(found) = look() {
                return Some(found);
            }
            thread::yield_now();
        }
        None
    }
}

/// A turn for each look, as long as it is `so`.
fn looks(so: impl Fn() -> bool) -> impl Iterator<Item = ()> {
    let began = Instant::now();
    iter::repeat_n((), LOOKS).take_while(move |()| so() && began.elapsed() < LOOKS_TIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a caller looks for what is not there.
    async fn looks(spin: &AdaptiveSpin) -> usize {
        let mut looks = 0;
        let look = || {
            looks += 1;
            None::<()>
        };
        assert_eq!(spin.spin_for_reply(look).await, None);
        looks
    }

    fn spin(own_thread: bool, own_processor: bool) -> AdaptiveSpin {
        AdaptiveSpin { in_a_row: Arc::default(), own_thread, own_processor }
    }

    #[tokio::test]
    async fn only_who_was_alone_for_a_while_waits_awake() {
        let spin = spin(true, true);
        for _ in 0..ALONE_AFTER {
            assert_eq!(looks(&spin).await, 0);
            spin.record_arrival(false);
        }
        assert!(looks(&spin).await > 0);
        assert_eq!(spin.spin_for_reply(|| Some(7)).await, Some(7));
        spin.record_arrival(true);
        assert_eq!(looks(&spin).await, 0);
    }

    #[tokio::test]
    async fn who_comes_meanwhile_ends_the_looking() {
        let spin = spin(true, true);
        (0..ALONE_AFTER).for_each(|_| spin.record_arrival(false));
        let other = spin.clone();
        // On one thread: it runs only if the caller lets it.
        let comes = tokio::spawn(async move { other.record_arrival(true) });
        assert!(looks(&spin).await <= 1);
        comes.await.unwrap();
    }

    #[tokio::test]
    async fn where_the_ledger_has_no_thread_or_processor_nobody_waits_awake() {
        for spin in [spin(false, true), spin(true, false)] {
            (0..=ALONE_AFTER).for_each(|_| spin.record_arrival(false));
            assert_eq!(looks(&spin).await, 0);
        }
        assert_eq!(spin(false, true).spin_for_work(|| Some(7)), None);
        assert_eq!(spin(true, false).spin_for_work(|| Some(7)), Some(7));
    }
}
