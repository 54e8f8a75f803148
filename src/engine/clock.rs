//! The one place that reads the time of day for the ledger.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::ledger::Timestamp;

/// Tells the time of day. Tests bring their own.
pub trait Clock: Send + 'static {
    /// This moment.
    fn now(&self) -> Timestamp;
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
