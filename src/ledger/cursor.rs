//! How far a reader of the feed has come, as a text that it keeps.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::EntryId;

/// How far a reader of the feed has come: it has dealt with every entry up to here. Its text is opaque to callers, and
/// has one spelling.
///
/// ```
/// use wallet::ledger::{Cursor, EntryId};
///
/// let cursor = Cursor::after(EntryId::new(17).unwrap());
/// assert_eq!(cursor.to_string(), "v1.17");
/// assert_eq!("v1.17".parse(), Ok(cursor));
/// assert!("17".parse::<Cursor>().is_err() && "v1.017".parse::<Cursor>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(EntryId);

impl Cursor {
    /// The form that the text has. A ledger of several shards will need another, with a number for each of them.
    const FORM: &str = "v1.";

    /// The place behind this entry.
    #[must_use]
    pub const fn after(entry_id: EntryId) -> Self {
        Self(entry_id)
    }

    /// The last entry that the reader has dealt with; [`EntryId::ZERO`] if there is none.
    #[must_use]
    pub const fn entry_id(self) -> EntryId {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::FORM, self.0)
    }
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it must be a cursor that was given out")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let number = text.strip_prefix(Self::FORM).and_then(|digits| digits.parse().ok());
        let cursor = number.and_then(EntryId::new).map(Self);
        cursor.filter(|cursor| cursor.to_string() == text).ok_or(NotACursor)
    }
}

/// Where a reader of the feed begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedStart {
    /// At the first entry of the ledger. Its text is empty.
    Beginning,
    /// Behind the last entry that there is. Its text is `now`.
    Now,
    /// Where it stopped. Its text is the cursor's.
    After(Cursor),
}

impl FromStr for FeedStart {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        match text {
            "" => Ok(Self::Beginning),
            "now" => Ok(Self::Now),
            cursor => cursor.parse().map(Self::After),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_one_spelling() {
        for number in [0, 1, i64::MAX] {
            let cursor = Cursor::after(EntryId::new(number).unwrap());
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
            assert_eq!(cursor.to_string().parse(), Ok(FeedStart::After(cursor)));
        }
        for text in
            ["1", "v1.", "v1.-1", "v1.+1", "v1.01", "v1.1 ", " v1.1", "V1.1", "v2.1", "v1.1.1", "v1.1e3", "v1.٣"]
        {
            assert_eq!(text.parse::<FeedStart>(), Err(NotACursor), "{text:?}");
        }
        assert_eq!("v1.9223372036854775808".parse::<Cursor>(), Err(NotACursor));
        assert_eq!(("".parse::<Cursor>(), "now".parse::<Cursor>()), (Err(NotACursor), Err(NotACursor)));
    }

    #[test]
    fn a_reader_may_begin_without_a_cursor() {
        assert_eq!(("".parse(), "now".parse()), (Ok(FeedStart::Beginning), Ok(FeedStart::Now)));
        assert_eq!("Now".parse::<FeedStart>(), Err(NotACursor));
    }
}
