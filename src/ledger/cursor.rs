//! How far a reader of the feed has come, as a text that it keeps.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use super::{EntryId, Heads, Shard, Shards};

/// How far a reader of the feed has come: in each shard it has dealt with every entry up to a place. Its text is opaque
/// to callers, and has one spelling.
///
/// ```
/// use wallet::ledger::{Cursor, EntryId};
///
/// let cursor = Cursor::after(EntryId::new(17).unwrap());
/// assert_eq!(cursor.to_string(), "v1.17");
/// assert_eq!("v1.17".parse(), Ok(cursor));
/// assert!("17".parse::<Cursor>().is_err() && "v1.017".parse::<Cursor>().is_err());
/// assert_eq!("v2.17.0.5".parse::<Cursor>().unwrap().shards(), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(Ends);

/// The last entry that the reader has dealt with, of each shard.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ends {
    /// Of a ledger that is not divided. Such a cursor costs no allocation.
    One(EntryId),
    /// In the order of the shards.
    Many(Arc<[EntryId]>),
}

impl Cursor {
    /// The form that the text has in a ledger that is not divided: the id of an entry.
    const FORM_ONE: &str = "v1.";
    /// The form that the text has in every other: the place of an entry in each shard, with points between.
    const FORM_MANY: &str = "v2.";

    /// The place behind this entry of a ledger that is not divided.
    #[must_use]
    pub const fn after(entry_id: EntryId) -> Self {
        Self(Ends::One(entry_id))
    }

    /// The place before the first entry of every shard.
    #[must_use]
    pub fn beginning(shards: Shards) -> Self {
        Self::behind(shards.all().map(Shard::base).collect())
    }

    /// The place behind the last entry of every shard.
    #[must_use]
    pub fn end(heads: &Heads) -> Self {
        Self::behind(heads.last_entry_ids().collect())
    }

    /// The place behind these entries, one of each shard.
    fn behind(entry_ids: Vec<EntryId>) -> Self {
        match entry_ids.as_slice() {
            [only] => Self::after(*only),
            _ => Self(Ends::Many(entry_ids.into())),
        }
    }

    fn ends(&self) -> &[EntryId] {
        match &self.0 {
            Ends::One(entry_id) => std::slice::from_ref(entry_id),
            Ends::Many(entry_ids) => entry_ids,
        }
    }

    /// How many shards the ledger has that it is a cursor of.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.ends().len()
    }

    /// The last entry of a shard that the reader has dealt with; the shard's base if there is none.
    ///
    /// # Panics
    /// If the ledger has no such shard.
    #[must_use]
    pub fn of(&self, shard: Shard) -> EntryId {
        self.ends()[shard.place()]
    }

    /// Whether the reader has dealt with this entry.
    #[must_use]
    pub fn covers(&self, entry_id: EntryId) -> bool {
        match &self.0 {
            Ends::One(end) => entry_id <= *end,
            Ends::Many(ends) => ends.get(Shard::of_entry(entry_id).place()).is_some_and(|end| entry_id <= *end),
        }
    }

    /// Whether it is behind `end` in any shard. Both are of the same ledger.
    #[must_use]
    pub fn is_beyond(&self, end: &Self) -> bool {
        self.ends().iter().zip(end.ends()).any(|(own, end)| own > end)
    }

    /// Moves it behind this entry, in the shard of it.
    ///
    /// # Panics
    /// If the ledger has no such shard.
    pub fn advance(&mut self, shard: Shard, entry_id: EntryId) {
        match &mut self.0 {
            Ends::One(end) => *end = entry_id,
            Ends::Many(ends) => Arc::make_mut(ends)[shard.place()] = entry_id,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ends::One(entry_id) => write!(f, "{}{entry_id}", Self::FORM_ONE),
            Ends::Many(entry_ids) => {
                let mut before = Self::FORM_MANY;
                for entry_id in entry_ids.iter() {
                    write!(f, "{before}{}", Shard::of_entry(*entry_id).place_of(*entry_id))?;
                    before = ".";
                }
                Ok(())
            }
        }
    }
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it must be a cursor that was given out")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let cursor = match text.strip_prefix(Self::FORM_MANY) {
            Some(places) => parse_many(places),
            None => text.strip_prefix(Self::FORM_ONE).and_then(number).and_then(EntryId::new).map(Self::after),
        };
        cursor.filter(|cursor| cursor.to_string() == text).ok_or(NotACursor)
    }
}

fn parse_many(places: &str) -> Option<Cursor> {
    let count = u16::try_from(places.split('.').count()).ok()?;
    let shards = Shards::new(count).filter(|shards| *shards != Shards::ONE)?;
    let entry_id = |(shard, place): (Shard, &str)| shard.entry_at(number(place)?);
    let entry_ids: Option<Vec<EntryId>> = shards.all().zip(places.split('.')).map(entry_id).collect();
    entry_ids.map(Cursor::behind)
}

fn number(digits: &str) -> Option<i64> {
    digits.parse().ok()
}

/// Where a reader of the feed begins.
#[derive(Clone, Debug, PartialEq, Eq)]
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
            assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
            assert_eq!(cursor.to_string().parse(), Ok(FeedStart::After(cursor)));
        }
        for text in
            ["1", "v1.", "v1.-1", "v1.+1", "v1.01", "v1.1 ", " v1.1", "V1.1", "v2.1", "v1.1.1", "v1.1e3", "v1.٣"]
        {
            assert_eq!(text.parse::<FeedStart>(), Err(NotACursor), "{text:?}");
        }
        assert_eq!("v1.9223372036854775808".parse::<Cursor>(), Err(NotACursor));
        for text in ["v2.", "v2.1.", "v2..1", "v2.1.+1", "v2.1.01", "v2.1.-1", "v2.1,1", "v2.1.35184372088832"] {
            assert_eq!(text.parse::<Cursor>(), Err(NotACursor), "{text:?}");
        }
        assert_eq!(("".parse::<Cursor>(), "now".parse::<Cursor>()), (Err(NotACursor), Err(NotACursor)));
    }

    #[test]
    fn a_cursor_of_a_divided_ledger_has_a_place_of_each_shard() {
        let shards = Shards::new(3).unwrap();
        let [first, second, third] = [0, 1, 2].map(|index| shards.all().nth(index).unwrap());
        let mut cursor = Cursor::beginning(shards);
        assert_eq!((cursor.to_string().as_str(), cursor.shards()), ("v2.0.0.0", 3));
        let seventh = second.entry_at(7).unwrap();
        assert!(!cursor.covers(seventh));
        let before = cursor.clone();
        cursor.advance(second, seventh);
        assert_eq!(cursor.to_string(), "v2.0.7.0");
        assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
        assert!(cursor.covers(seventh) && !cursor.covers(seventh.next()) && !cursor.covers(third.base().next()));
        assert_eq!((cursor.of(first), cursor.of(second)), (EntryId::ZERO, seventh));
        assert!(cursor.is_beyond(&before) && !before.is_beyond(&cursor) && !before.is_beyond(&before));
        let most = Cursor::beginning(Shards::new(Shards::MAX).unwrap());
        assert_eq!(most.to_string().parse(), Ok(most.clone()));
        assert_eq!(format!("{most}.0").parse::<Cursor>(), Err(NotACursor), "more than a ledger can have");
    }

    #[test]
    fn a_reader_may_begin_without_a_cursor() {
        assert_eq!(("".parse(), "now".parse()), (Ok(FeedStart::Beginning), Ok(FeedStart::Now)));
        assert_eq!("Now".parse::<FeedStart>(), Err(NotACursor));
    }
}
