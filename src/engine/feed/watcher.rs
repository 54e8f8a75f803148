//! One reader that follows the ledger.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use tokio::sync::Notify;
use tokio::time::{self, Instant};

use super::recent::Taken;
use super::{EngineError, Feed, FeedPage, SCAN_ROWS_MAX};
use crate::ledger::{EntryFilter, EntryId, FeedStart, Shard};
use crate::store::ScanLimits;

/// A reader that follows the ledger: from the newest commits if it keeps up, from the store if not. It holds no more
/// than one page of entries, and counts as a watcher until it is dropped.
pub struct Watcher {
    feed: Feed,
    key: u64,
    filter: EntryFilter,
    wake: Arc<Notify>,
    /// The last entry that it has looked at.
    position: EntryId,
}

impl Watcher {
    /// Watches from `start` on.
    pub(super) async fn begin(
        feed: Feed,
        start: FeedStart,
        filter: EntryFilter,
        deadline: Option<Instant>,
    ) -> Result<Self, EngineError> {
        let registered = feed.shared.recent().register(filter.clone(), feed.watchers_max);
        let (key, wake) = registered?;
        feed.shared.watching.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let mut watcher = Self { feed, key, filter, wake, position: EntryId::ZERO };
        // What is committed from now on is handed over. So the head is read now, and not before.
        let head = super::only(&watcher.feed.queries.heads(deadline).await?);
        watcher.position = super::begin(start, head)?;
        watcher.feed.shared.recent().begin(key, head);
        Ok(watcher)
    }

    /// Waits for the next entries, up to `entries_max`. The page is empty when none came until then: its cursor says
    /// how far it looked. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] when the feed is closed. Those of a read.
    pub async fn next(&mut self, entries_max: usize, until: Instant) -> Result<FeedPage, EngineError> {
        loop {
            let taken = self.feed.shared.recent().take(self.key, self.position, entries_max);
            match taken {
                Taken::Page(page) => {
                    self.position = page.cursor().entry_id();
                    if !page.is_empty() {
                        return Ok(page);
                    }
                    continue;
                }
                Taken::Behind(position) => {
                    self.position = position;
                    let page = self.scan(entries_max).await?;
                    let has_moved = page.cursor().entry_id() > position;
                    if !page.is_empty() || Instant::now() >= until {
                        return Ok(page);
                    }
                    if has_moved {
                        continue;
                    }
                }
                Taken::UpToDate(position) => self.position = position,
                Taken::Closed => return Err(EngineError::Stopped),
            }
            if time::timeout_at(until, self.wake.notified()).await.is_err() {
                return Ok(self.here());
            }
        }
    }

    /// An empty page: where the watcher is.
    #[must_use]
    pub fn here(&self) -> FeedPage {
        FeedPage::scanned(Vec::new(), self.position, self.position)
    }

    /// Reads on in the store.
    async fn scan(&mut self, entries_max: usize) -> Result<FeedPage, EngineError> {
        let permit = self.feed.scan_permit(None).await?;
        let limits = ScanLimits { entries_max, rows_max: SCAN_ROWS_MAX };
        let after = self.position;
        let scan = self.feed.queries.scan(Shard::FIRST, after, &self.filter, limits, None).await?;
        if scan.head < after {
            return Err(EngineError::UnknownCursor);
        }
        self.position = scan.end;
        Ok(FeedPage::scanned(scan.entries, after, scan.end).with_permit(permit))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.feed.shared.watching.fetch_sub(1, Ordering::SeqCst);
        self.feed.shared.recent().remove(self.key);
    }
}
