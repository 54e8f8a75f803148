//! Waiting awake, for a caller who is alone.
//!
//! One who sends a command, waits for its answer, and sends the next, waits for one commit and for four threads to wake
//! up; and a processor that went to sleep meanwhile takes a good part of a commit's time to wake up. So while nobody else
//! is there, both who wait here, the ledger for the next command and the caller for its answer, stay awake a little.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

/// After so many commands in a row that found nobody else waiting, their caller is taken to be alone.
const ALONE_AFTER: u32 = 8;
/// How often to look before sleeping all the same: for a few hundred microseconds, in which any other thread may have the
/// processor.
const LOOKS: usize = 500;

/// Whether whoever sends commands is alone. Clones share what they know.
#[derive(Clone)]
pub(super) struct Alone {
    /// Commands that found nobody else waiting, one after the other.
    in_a_row: Arc<AtomicU32>,
    own_thread: bool,
}

impl Alone {
    /// `own_thread` says whether the ledger has a thread of its own: else nothing happens while a caller looks.
    pub(super) fn new(own_thread: bool) -> Self {
        Self { in_a_row: Arc::default(), own_thread }
    }

    /// Notes that a command comes, and whether others wait.
    pub(super) fn note(&self, others_wait: bool) {
        let in_a_row = if others_wait { 0 } else { self.in_a_row.load(Relaxed).saturating_add(1) };
        self.in_a_row.store(in_a_row, Relaxed);
    }

    /// What a look finds, soon; `None` if that is nothing, and at once where nobody is alone.
    pub(super) fn look_out<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let alone = self.own_thread && self.in_a_row.load(Relaxed) >= ALONE_AFTER;
        (0..if alone { LOOKS } else { 0 }).find_map(|_| {
            let found = look();
            if found.is_none() {
                thread::yield_now();
            }
            found
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it looks for what is not there.
    fn looks(alone: &Alone) -> usize {
        let mut looks = 0;
        let found: Option<()> = alone.look_out(|| {
            looks += 1;
            None
        });
        assert_eq!(found, None);
        looks
    }

    #[test]
    fn only_who_was_alone_for_a_while_is_waited_for_awake() {
        let alone = Alone::new(true);
        for _ in 0..ALONE_AFTER {
            assert_eq!(looks(&alone), 0);
            alone.note(false);
        }
        assert_eq!(looks(&alone), LOOKS);
        assert_eq!(alone.look_out(|| Some(7)), Some(7));
        alone.note(true);
        assert_eq!(looks(&alone), 0);
    }

    #[test]
    fn where_the_ledger_has_no_thread_nobody_waits_awake() {
        let alone = Alone::new(false);
        (0..=ALONE_AFTER).for_each(|_| alone.note(false));
        assert_eq!(looks(&alone), 0);
    }
}
