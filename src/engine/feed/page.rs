//! What a watcher gets at once.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::Entries;
use crate::ledger::{Cursor, Entry, EntryFilter, EntryId};

/// A part of the feed: entries in commit order, and the cursor behind them. It shares the entries with other readers.
#[derive(Debug)]
pub struct FeedPage {
    commits: Vec<Entries>,
    filter: EntryFilter,
    /// The page begins behind this entry.
    after: EntryId,
    /// The last entry that was looked at, wanted or not.
    end: EntryId,
    /// Held until what was read in the store is encoded.
    permit: Option<OwnedSemaphorePermit>,
}

impl FeedPage {
    /// Commits, of which those entries belong to the page that lie between `after` and `end` and that `filter` wants.
    pub(super) const fn of(commits: Vec<Entries>, filter: EntryFilter, after: EntryId, end: EntryId) -> Self {
        Self { commits, filter, after, end, permit: None }
    }

    /// Entries as a scan found them.
    pub(super) fn scanned(entries: Vec<Entry>, after: EntryId, end: EntryId) -> Self {
        Self::of(vec![Arc::new(entries)], EntryFilter::default(), after, end)
    }

    /// The same page, which keeps `permit` if it has entries to encode.
    pub(super) fn with_permit(mut self, permit: OwnedSemaphorePermit) -> Self {
        if !self.is_empty() {
            self.permit = Some(permit);
        }
        self
    }

    /// The entries, in commit order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let range = self.after.next()..=self.end;
        let entries = self.commits.iter().flat_map(|commit| commit.iter());
        entries.filter(move |entry| range.contains(&entry.entry_id) && self.filter.matches(entry))
    }

    /// Whether there is no entry in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().next().is_none()
    }

    /// Where the next page begins: the reader has missed nothing that it wants up to here.
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        Cursor::after(self.end)
    }
}
