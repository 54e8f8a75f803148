//! What a writer has done, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the writer of one shard has done since it was opened.
#[derive(Debug, Default)]
pub struct WriterCounts {
    fast: AtomicU64,
    locked: AtomicU64,
    lost_races: AtomicU64,
    in_doubt: AtomicU64,
    errors: AtomicU64,
    sessions: AtomicU64,
}

/// One of the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriterCount {
    /// Batches that were committed without a lock, in one statement.
    Fast,
    /// Batches that were committed while the shard was locked.
    Locked,
    /// Batches that another process was faster than. They were decided again.
    LostRaces,
    /// Commits whose answer was lost, so that it had to be found out whether they were made.
    InDoubt,
    /// Attempts that failed.
    Errors,
    /// Connections that were opened to write.
    Sessions,
}

impl WriterCounts {
    /// Counts one.
    pub fn add(&self, count: WriterCount) {
        self.of(count).fetch_add(1, Ordering::Relaxed);
    }

    /// How many there are.
    #[must_use]
    pub fn get(&self, count: WriterCount) -> u64 {
        self.of(count).load(Ordering::Relaxed)
    }

    const fn of(&self, count: WriterCount) -> &AtomicU64 {
        match count {
            WriterCount::Fast => &self.fast,
            WriterCount::Locked => &self.locked,
            WriterCount::LostRaces => &self.lost_races,
            WriterCount::InDoubt => &self.in_doubt,
            WriterCount::Errors => &self.errors,
            WriterCount::Sessions => &self.sessions,
        }
    }
}
