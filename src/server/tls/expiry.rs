//! Warns before the service's certificate ends.

use std::time::Duration;

use tokio::time;

use super::Tls;
use super::certificate::Validity;
use crate::engine::{Clock as _, SystemClock};
use crate::ledger::Timestamp;

/// How often the log is warned.
const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long before the end it is warned, in seconds.
const WARNING_SECONDS: i64 = 14 * 24 * 60 * 60;
const MICROSECONDS: i64 = 1_000_000;

/// What is to be said of a certificate at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Warning {
    EndsSoon { seconds: i64 },
    HasEnded,
    NotYetValid,
}

impl Validity {
    /// How many seconds are left at this time; negative if none are.
    fn seconds_left(self, now: Timestamp) -> i64 {
        self.not_after.microseconds().saturating_sub(now.microseconds()).div_euclid(MICROSECONDS)
    }

    fn warning(self, now: Timestamp) -> Option<Warning> {
        match self.seconds_left(now) {
            ..0 => Some(Warning::HasEnded),
            _ if now < self.not_before => Some(Warning::NotYetValid),
            seconds @ 0..WARNING_SECONDS => Some(Warning::EndsSoon { seconds }),
            _ => None,
        }
    }
}

impl Tls {
    /// How long the certificate, and each that vouches for it, is still valid, in seconds; negative if it is no more.
    #[must_use]
    pub fn expiry_seconds(&self) -> i64 {
        self.identity.borrow().validity.seconds_left(SystemClock.now())
    }

    /// Warns in the log if the certificate ends soon, or is not valid. A start is not refused for it: whoever talks to
    /// the service without verifying it is still served.
    pub(super) fn warn_of_expiry(&self) {
        let validity = self.identity.borrow().validity;
        let (file, ends) = (self.files.cert.display(), validity.not_after);
        match validity.warning(SystemClock.now()) {
            None => (),
            Some(Warning::EndsSoon { seconds }) => {
                let days = seconds / (24 * 60 * 60);
                tracing::warn!(certificate = %file, %ends, days, "the TLS certificate ends soon: replace the file");
            }
            Some(Warning::HasEnded) => {
                tracing::error!(certificate = %file, %ends, "the TLS certificate has ended: clients refuse it; replace \
                                                             the file");
            }
            Some(Warning::NotYetValid) => {
                let begins = validity.not_before;
                tracing::error!(certificate = %file, %begins, "the TLS certificate is not valid yet: clients refuse \
                                                               it; set the clock right, or replace the file");
            }
        }
    }

    /// Warns once a day, for ever.
    pub(in crate::server) async fn watch_expiry(&self) {
        daily(|| self.warn_of_expiry()).await;
    }
}

async fn daily(mut act: impl FnMut()) {
    loop {
        time::sleep(INTERVAL).await;
        act();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_weeks_are_warned_of() {
        let day = 24 * 60 * 60;
        let at = |seconds| Timestamp::from_microseconds(seconds * MICROSECONDS);
        let validity = Validity { not_before: at(10 * day), not_after: at(100 * day) };
        for (now, warning) in [
            (10 * day - 1, Some(Warning::NotYetValid)),
            (10 * day, None),
            (86 * day, None),
            (86 * day + 1, Some(Warning::EndsSoon { seconds: 14 * day - 1 })),
            (100 * day, Some(Warning::EndsSoon { seconds: 0 })),
            (100 * day + 1, Some(Warning::HasEnded)),
        ] {
            assert_eq!(validity.warning(at(now)), warning, "{now}");
        }
        assert_eq!(validity.seconds_left(at(101 * day)), -day);
    }

    #[tokio::test(start_paused = true)]
    async fn a_day_passes_between_two_warnings() {
        let mut count = 0;
        let days = time::timeout(10 * INTERVAL + Duration::from_secs(1), daily(|| count += 1));
        assert!(days.await.is_err());
        assert_eq!(count, 10);
    }
}
