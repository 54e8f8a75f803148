//! The one place that reads the time of day for the ledger, and what notices when that cannot be right.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::time::Instant;

use crate::ledger::Timestamp;

/// How far two clocks may differ before one of them must be wrong, in microseconds.
const DIFFERENCE_MAX_US: i64 = 60 * 1_000_000;

/// Tells the time of day. Tests bring their own.
pub trait Clock: Send + Sync + 'static {
    /// This moment.
    fn now(&self) -> Timestamp;
}

impl<C: Clock> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        self.as_ref().now()
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_microseconds(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

/// The ledger has a commit from the future: from then on every entry would have that commit's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the ledger's last commit is of {head}, but the clock says {now}")]
pub struct ClockBehind {
    head: Timestamp,
    now: Timestamp,
}

/// Compares the clock with the time of the ledger's last commit.
///
/// # Errors
/// [`ClockBehind`] if the commit is more than a minute ahead.
pub fn check_clock(clock: &impl Clock, head: Timestamp) -> Result<(), ClockBehind> {
    let now = clock.now();
    let ahead_us = head.microseconds().saturating_sub(now.microseconds());
    if ahead_us > DIFFERENCE_MAX_US { Err(ClockBehind { head, now }) } else { Ok(()) }
}

/// Notices when the time of day is set while the ledger is served.
#[derive(Debug, Default)]
pub(super) struct StepDetector {
    last: Option<(Timestamp, Instant)>,
}

impl StepDetector {
    /// Takes note of the time of day `wall` at an instant. Returns by how much the time of day was set
    /// since the last call, in microseconds, if that is more than a minute either way.
    pub(super) fn observe(&mut self, wall: Timestamp, instant: Instant) -> Option<i64> {
        let (last_wall, last_instant) = self.last.replace((wall, instant))?;
        let passed = instant.saturating_duration_since(last_instant);
        let passed_us = i64::try_from(passed.as_micros()).unwrap_or(i64::MAX);
        let wall_us = wall.microseconds().saturating_sub(last_wall.microseconds());
        let step_us = wall_us.saturating_sub(passed_us);
        (step_us.unsigned_abs() > DIFFERENCE_MAX_US.unsigned_abs()).then_some(step_us)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A clock that stands still.
    struct Fixed(Timestamp);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_microseconds(seconds * 1_000_000)
    }

    #[test]
    fn a_commit_may_be_a_minute_ahead_of_the_clock() {
        let clock = Fixed(seconds(1_000));
        assert_eq!([check_clock(&clock, seconds(0)), check_clock(&clock, seconds(1_060))], [Ok(()); 2]);
        let behind = check_clock(&clock, seconds(1_061)).unwrap_err();
        let text = "the ledger's last commit is of 1970-01-01T00:17:41.000000Z, \
                    but the clock says 1970-01-01T00:16:40.000000Z";
        assert_eq!(behind.to_string(), text);
    }

    #[test]
    fn a_step_is_what_the_time_of_day_and_a_steady_clock_disagree_by() {
        let (mut steps, start) = (StepDetector::default(), Instant::now());
        let mut observe = |wall, monotonic| steps.observe(seconds(wall), start + Duration::from_secs(monotonic));
        assert_eq!([observe(500, 0), observe(560, 60), observe(4_000, 3_500)], [None; 3], "it goes on as it should");
        assert_eq!([observe(4_060, 3_500), observe(4_000, 3_500)], [None; 2], "a minute is not noticed");
        assert_eq!(observe(4_061 + 5, 3_505), Some(61_000_000));
        assert_eq!(observe(466, 3_505), Some(-3_600_000_000));
        assert_eq!(observe(467, 3_506), None, "a step is noticed once");
    }
}
