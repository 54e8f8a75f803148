//! Limits how often an event that repeats is logged.

use std::time::{Duration, Instant};

/// Lets eight events be logged in each interval of five seconds, and counts the others.
#[derive(Debug, Default)]
pub struct Throttle {
    /// When the five seconds began.
    since: Option<Instant>,
    logged: u32,
    suppressed: u64,
}

impl Throttle {
    /// How long a limit of [`EVENTS_MAX`](Self::EVENTS_MAX) holds.
    pub const INTERVAL: Duration = Duration::from_secs(5);

    /// Events that are logged in one interval.
    pub const EVENTS_MAX: u32 = 8;

    /// Whether the event that happens now is to be logged. If so: how many since the last one that was logged were not.
    pub fn pass(&mut self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= Self::INTERVAL) {
            (self.since, self.logged) = (Some(now), 0);
        }
        if self.logged == Self::EVENTS_MAX {
            self.suppressed += 1;
            return None;
        }
        self.logged += 1;
        Some(std::mem::take(&mut self.suppressed))
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
