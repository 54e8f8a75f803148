//! What a watcher gets at once.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::Entries;
use crate::ledger::{Cursor, Entry, EntryFilter, Shard};

/// A part of the feed: entries, those of a shard in commit order, and the cursor behind them. It shares the entries
/// with other readers.
#[derive(Debug)]
pub struct FeedPage {
    commits: Vec<Entries>,
    filter: EntryFilter,
    /// The page begins behind this place.
    from: Cursor,
    /// How far it looked at entries, wanted or not.
    to: Cursor,
    /// Held until what was read in the store is encoded.
    permit: Option<OwnedSemaphorePermit>,
}

impl FeedPage {
    /// Commits, of which those entries belong to the page that lie between `from` and `to` and that `filter` wants.
    pub(super) const fn of(commits: Vec<Entries>, filter: EntryFilter, from: Cursor, to: Cursor) -> Self {
        Self { commits, filter, from, to, permit: None }
    }

    /// Entries as scans found them.
    pub(super) fn scanned(entries: Vec<Entry>, from: Cursor, to: Cursor) -> Self {
        Self::of(vec![Arc::new(entries)], EntryFilter::default(), from, to)
    }

    /// The same page, which keeps `permit` if it has entries to encode.
    pub(super) fn with_permit(mut self, permit: OwnedSemaphorePermit) -> Self {
        if !self.is_empty() {
            self.permit = Some(permit);
        }
        self
    }

    /// The entries, those of a shard in commit order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.commits.iter().flat_map(|commit| commit.iter());
        let is_within = |entry: &Entry| !self.from.covers(entry.entry_id) && self.to.covers(entry.entry_id);
        entries.filter(move |entry| is_within(entry) && self.filter.matches(entry))
    }

    /// The entries, each with the cursor behind it.
    pub fn entries_with_cursors(&self) -> impl Iterator<Item = (&Entry, Cursor)> {
        let mut cursor = self.from.clone();
        self.entries().map(move |entry| {
            cursor.advance(Shard::of_entry(entry.entry_id), entry.entry_id);
            (entry, cursor.clone())
        })
    }

    /// Whether there is no entry in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().next().is_none()
    }

    /// Where the next page begins: the reader has missed nothing that it wants up to here.
    #[must_use]
    pub const fn cursor(&self) -> &Cursor {
        &self.to
    }
}
