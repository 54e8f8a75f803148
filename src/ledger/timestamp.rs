//! Moments, and how they are written.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};
use thiserror::Error;

/// A moment in UTC, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Later than any entry.
    pub const MAX: Self = Self(i64::MAX);

    /// The moment `microseconds` after (or, negative, before) 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_microseconds(microseconds: i64) -> Self {
        Self(microseconds)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn microseconds(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC, always with microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_micros(self.0) {
            Some(moment) => f.write_str(&moment.to_rfc3339_opts(SecondsFormat::Micros, true)),
            None => write!(f, "{} microseconds after 1970", self.0),
        }
    }
}

/// A text that is no RFC 3339 time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it must be an RFC 3339 time, such as 2026-01-02T03:04:05Z")]
pub struct NotATime;

impl FromStr for Timestamp {
    type Err = NotATime;

    /// Reads an RFC 3339 time. Digits finer than a microsecond are cut off.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let moment = DateTime::parse_from_rfc3339(text).map_err(|_| NotATime)?;
        Ok(Self::from_microseconds(moment.timestamp_micros()))
    }
}

/// A span of time: from a moment on, up to another; all time, unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first moment in it.
    pub from: Option<Timestamp>,
    /// The first moment after it.
    pub to: Option<Timestamp>,
}

impl Span {
    /// Whether the span has a moment.
    #[must_use]
    pub fn contains(self, moment: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= moment) && self.to.is_none_or(|to| moment < to)
    }

    /// Whether the span ends before it begins.
    #[must_use]
    pub fn is_reversed(self) -> bool {
        self.from.zip(self.to).is_some_and(|(from, to)| to < from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_to_the_microsecond_and_read_back() {
        for (microseconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_767_323_045_000_006, "2026-01-02T03:04:05.000006Z"),
            (1_767_323_045_000_000, "2026-01-02T03:04:05.000000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            let timestamp = Timestamp::from_microseconds(microseconds);
            assert_eq!(timestamp.to_string(), text);
            assert_eq!(text.parse(), Ok(timestamp));
        }
        let elsewhere = "2026-01-02T04:04:05.0000069+01:00".parse();
        assert_eq!(elsewhere, Ok(Timestamp::from_microseconds(1_767_323_045_000_006)));
    }

    #[test]
    fn what_is_no_moment_is_not_read() {
        let date_time = "2026-01-02T03:04:05";
        for zone in ["", "+01", "+0100", "+01:00:30", "+24:00", "+01:00[Europe/Paris]", ",5Z"] {
            assert_eq!(format!("{date_time}{zone}").parse::<Timestamp>(), Err(NotATime), "{zone}");
        }
        for text in
            ["", "now", "1767323045", "2026-01-02", "20260102T030405Z", "2026-01-02T03Z", "2026-02-30T00:00:00Z"]
        {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime), "{text}");
        }
    }

    #[test]
    fn a_span_has_its_first_moment_and_not_its_last() {
        let at = Timestamp::from_microseconds;
        let span = Span { from: Some(at(2)), to: Some(at(4)) };
        assert_eq!([1, 2, 3, 4].map(|moment| span.contains(at(moment))), [false, true, true, false]);
        assert!(Span::default().contains(at(i64::MIN)) && Span::default().contains(Timestamp::MAX));
        let reversed = |from, to| Span { from: Some(at(from)), to: Some(at(to)) }.is_reversed();
        assert_eq!((reversed(2, 1), reversed(1, 1), Span::default().is_reversed()), (true, false, false));
    }
}
