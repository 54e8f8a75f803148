//! Limits how often an event that repeats is logged.

use std::time::{Duration, Instant};

/// Lets a few events be logged in each interval of five seconds, and counts the others.
#[derive(Debug)]
pub struct Throttle {
    /// How many.
    events_max: u32,
    /// When the five seconds began.
    since: Option<Instant>,
    logged: u32,
    suppressed: u64,
}

impl Throttle {
    /// How long a limit holds.
    pub const INTERVAL: Duration = Duration::from_secs(5);

    /// Events that are logged in one interval, unless another limit is given.
    pub const EVENTS_MAX: u32 = 8;

    /// A throttle that lets so many events be logged in one interval.
    #[must_use]
    pub const fn new(events_max: u32) -> Self {
        Self { events_max, since: None, logged: 0, suppressed: 0 }
    }

    /// Whether the event that happens now is to be logged. If so: how many since the last one that was logged were not.
    pub fn pass(&mut self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= Self::INTERVAL) {
            (self.since, self.logged) = (Some(now), 0);
        }
        if self.logged == self.events_max {
            self.suppressed += 1;
            return None;
        }
        self.logged += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new(Self::EVENTS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_counted_until_the_interval_is_over() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..Throttle::EVENTS_MAX {
            assert_eq!(throttle.pass_at(start), Some(0));
        }
        for _ in 0..1_000 {
            assert_eq!(throttle.pass_at(start + Throttle::INTERVAL / 2), None);
        }
        assert_eq!(throttle.pass_at(start + Throttle::INTERVAL), Some(1_000));
        assert_eq!(throttle.pass_at(start + 3 * Throttle::INTERVAL), Some(0));
    }
}
