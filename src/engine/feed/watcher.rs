//! One reader that follows the ledger.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;
use tokio::time::{self, Instant};

use super::lane::Lane;
use super::recent::Taken;
use super::{EngineError, Feed, FeedPage, SCAN_ROWS_MAX};
use crate::ledger::{Cursor, EntryFilter, EntryId, FeedStart, Shard};
use crate::store::ScanLimits;

/// A reader that follows the ledger: from the newest commits if it keeps up, from the store if not. It holds no more
/// than one page of entries, and counts as a watcher until it is dropped.
pub struct Watcher {
    feed: Feed,
    key: u64,
    filter: EntryFilter,
    wake: Arc<Notify>,
    /// The last entry that it has looked at, in each shard.
    position: Cursor,
    /// The lane to look at next, among those that it watches: each has its turn.
    turn: usize,
}

/// What one look at a lane has given.
enum Looked {
    Page(FeedPage),
    /// Nothing so far: there is more to look at.
    Again,
    /// Nothing that the watcher wants.
    Nothing,
}

impl Watcher {
    /// Watches from `start` on.
    pub(super) async fn begin(
        feed: Feed,
        start: FeedStart,
        filter: EntryFilter,
        deadline: Option<Instant>,
    ) -> Result<Self, EngineError> {
        let (shared, max) = (&feed.shared, feed.watchers_max);
        let one_more = |watchers| (watchers < max).then_some(watchers + 1);
        let reserved = shared.watchers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        reserved.map_err(|_| EngineError::Busy)?;
        let key = shared.last_key.fetch_add(1, Ordering::Relaxed);
        let (wake, position) = (Arc::default(), Cursor::beginning(shared.shards));
        let mut watcher = Self { feed, key, filter, wake, position, turn: 0 };
        for lane in watcher.lanes() {
            lane.add(key, watcher.filter.clone(), Arc::clone(&watcher.wake))?;
        }
        watcher.feed.shared.begun.notify_one();
        // What is committed from now on is handed over. So the heads are read now, and not before.
        let end = Cursor::end(&watcher.feed.queries.heads(deadline).await?);
        watcher.position = super::begin(start, watcher.feed.shared.shards, &end)?;
        for lane in watcher.lanes() {
            lane.recent().begin(key, end.of(lane.shard()));
        }
        Ok(watcher)
    }

    /// The lanes that it watches.
    fn lanes(&self) -> &[Arc<Lane>] {
        self.feed.shared.lanes_of(&self.filter)
    }

    /// Waits for the next entries, up to `entries_max`. The page is empty when none came until then: its cursor says
    /// how far it looked. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] when the feed is closed. Those of a read.
    pub async fn next(&mut self, entries_max: usize, until: Instant) -> Result<FeedPage, EngineError> {
        loop {
            let mut looked_in_vain = 0;
            while looked_in_vain < self.lanes().len() {
                let lane = Arc::clone(&self.lanes()[self.turn]);
                self.turn = (self.turn + 1) % self.lanes().len();
                match self.look(&lane, entries_max, until).await? {
                    Looked::Page(page) => return Ok(page),
                    Looked::Again => looked_in_vain = 0,
                    Looked::Nothing => looked_in_vain += 1,
                }
            }
            if time::timeout_at(until, self.wake.notified()).await.is_err() {
                return Ok(self.here());
            }
        }
    }

    /// An empty page: where the watcher is.
    #[must_use]
    pub fn here(&self) -> FeedPage {
        FeedPage::scanned(Vec::new(), self.position.clone(), self.position.clone())
    }

    /// Looks for what one lane has for it.
    async fn look(&mut self, lane: &Lane, entries_max: usize, until: Instant) -> Result<Looked, EngineError> {
        let shard = lane.shard();
        let taken = lane.recent().take(self.key, self.position.of(shard), entries_max);
        match taken {
            Taken::Commits { commits, after, end } => {
                let from = self.moved_to(shard, after);
                self.position.advance(shard, end);
                let page = FeedPage::of(commits, self.filter.clone(), from, self.position.clone());
                Ok(if page.is_empty() { Looked::Again } else { Looked::Page(page) })
            }
            Taken::Behind(after) => {
                self.position.advance(shard, after);
                let page = self.scan(shard, entries_max).await?;
                if !page.is_empty() || Instant::now() >= until {
                    return Ok(Looked::Page(page));
                }
                let has_moved = self.position.of(shard) > after;
                Ok(if has_moved { Looked::Again } else { Looked::Nothing })
            }
            Taken::UpToDate(end) => {
                self.position.advance(shard, end);
                Ok(Looked::Nothing)
            }
            Taken::Closed => Err(EngineError::Stopped),
        }
    }

    /// Where it would be if it had looked at this entry of a shard.
    fn moved_to(&self, shard: Shard, entry_id: EntryId) -> Cursor {
        let mut moved = self.position.clone();
        moved.advance(shard, entry_id);
        moved
    }

    /// Reads on in the store.
    async fn scan(&mut self, shard: Shard, entries_max: usize) -> Result<FeedPage, EngineError> {
        let permit = self.feed.scan_permit(None).await?;
        let limits = ScanLimits { entries_max, rows_max: SCAN_ROWS_MAX };
        let after = self.position.of(shard);
        let scan = self.feed.queries.scan(shard, after, &self.filter, limits, None).await?;
        if scan.head < after {
            return Err(EngineError::UnknownCursor);
        }
        let from = self.position.clone();
        self.position.advance(shard, scan.end);
        Ok(FeedPage::scanned(scan.entries, from, self.position.clone()).with_permit(permit))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        for lane in self.lanes() {
            lane.remove(self.key);
        }
        self.feed.shared.watchers.fetch_sub(1, Ordering::SeqCst);
    }
}
