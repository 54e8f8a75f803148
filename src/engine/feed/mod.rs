//! The feed: every entry of the ledger, once, in the commit order of its shard, to everyone who watches.
//!
//! A worker hands the entries of each commit to its [`Publisher`]: one message into a bounded queue, or nothing at all
//! when nobody watches. A task takes them from there into the [`Lane`] of the shard: it has the newest commits, which
//! all watchers share, and wakes the watchers that want one of them. A [`Watcher`] that is further back than that reads
//! the store until it has caught up. The entries of a shard are numbered without gaps, so each can tell that it missed
//! none. If other processes commit to the same store, a task looks now and then where it ends, while anybody watches.

mod lane;
mod page;
mod publisher;
mod recent;
mod watcher;

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use super::{EngineError, Queries};
use crate::ledger::{Cursor, Entry, EntryFilter, EntryId, FeedStart, Shard, Shards};
use crate::store::ScanLimits;
use lane::Lane;
pub use page::FeedPage;
pub(super) use publisher::Publisher;
pub use watcher::Watcher;

/// The entries of one commit, shared by all who read them. A vector within, because a slice would be a copy.
type Entries = Arc<Vec<Entry>>;

/// Commits that may wait to be told; watchers read what is more from the store.
const QUEUE_CAPACITY: usize = 64;
/// Entries that one scan of the store looks at: a few milliseconds, also when none of them is wanted.
const SCAN_ROWS_MAX: usize = 16 * 1024;
/// Scans that one page may take. A page that looked so far in vain is empty.
const PAGE_SCANS_MAX: usize = 16;

/// The handle that follows the ledger. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
    queries: Queries,
    watchers_max: usize,
    /// One for each reader that may read the store, and encode what it found, at the same time.
    scans: Arc<Semaphore>,
}

/// What the feed's parts share.
struct Shared {
    shards: Shards,
    /// That of each shard.
    lanes: Vec<Arc<Lane>>,
    /// How many watch.
    watchers: AtomicUsize,
    last_key: AtomicU64,
    /// Notified when somebody begins to watch.
    begun: Notify,
}

impl Shared {
    fn new(shards: Shards) -> Self {
        let lanes = shards.all().map(|shard| Arc::new(Lane::new(shard))).collect();
        let (watchers, last_key) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { shards, lanes, watchers, last_key, begun: Notify::new() }
    }

    /// The shards in which there may be what `filter` wants.
    fn lanes_of(&self, filter: &EntryFilter) -> &[Arc<Lane>] {
        match filter.user_id {
            Some(user_id) => std::slice::from_ref(&self.lanes[self.shards.of(user_id).place()]),
            None => &self.lanes,
        }
    }
}

impl Feed {
    /// The feed, the end of it that each worker has, and the work of its tasks, which ends with the workers' ends.
    pub(super) fn new(
        queries: Queries,
        shards: Shards,
        watchers_max: usize,
    ) -> (Self, Vec<Publisher>, impl Future<Output = ()> + use<>) {
        let shared = Arc::new(Shared::new(shards));
        let (mut publishers, mut tells) = (Vec::new(), Vec::new());
        for lane in &shared.lanes {
            let (sender, commits) = mpsc::channel(QUEUE_CAPACITY);
            publishers.push(Publisher::new(sender, Arc::clone(lane)));
            tells.push(Arc::clone(lane).tell(commits, queries.clone()));
        }
        let polling = queries.poll_interval().map(|interval| poll(Arc::clone(&shared), queries.clone(), interval));
        let work = async move {
            let mut telling: JoinSet<()> = tells.into_iter().collect();
            let told = async { while telling.join_next().await.is_some() {} };
            match polling {
                Some(polling) => tokio::select! { () = told => (), () = polling => () },
                None => told.await,
            }
        };
        let scans = Arc::new(Semaphore::new(scans_max()));
        (Self { shared, queries, watchers_max, scans }, publishers, work)
    }

    /// Follows the ledger from `start` on: the entries that `filter` wants.
    ///
    /// # Errors
    /// [`EngineError::Busy`] if there are as many watchers as may be. [`EngineError::Stopped`] if the feed is closed.
    /// [`EngineError::UnknownCursor`] if `start` is beyond the end of the ledger. [`EngineError::ForeignCursor`] if it
    /// is of a ledger with another number of shards. Those of a read.
    pub async fn watch(
        &self,
        start: FeedStart,
        filter: EntryFilter,
        deadline: Option<Instant>,
    ) -> Result<Watcher, EngineError> {
        Watcher::begin(self.clone(), start, filter, deadline).await
    }

    /// A page of up to `size` entries from `start` on, of those that `filter` wants. If there is none yet, waits up to
    /// `wait` for the first, or until the feed is closed. A page may hold fewer than there are: its cursor says how far
    /// it looked.
    ///
    /// # Errors
    /// As [`watch`](Self::watch); `deadline` is that of the reads.
    pub async fn page(
        &self,
        start: FeedStart,
        filter: EntryFilter,
        size: usize,
        wait: Duration,
        deadline: Option<Instant>,
    ) -> Result<FeedPage, EngineError> {
        let page = self.look(start, &filter, size, deadline).await?;
        if wait.is_zero() || !page.is_empty() {
            return Ok(page);
        }
        let until = Instant::now() + wait;
        let start = FeedStart::After(page.cursor().clone());
        let waited = async { self.watch(start, filter, deadline).await?.next(size, until).await };
        match waited.await {
            Err(EngineError::Stopped) => Ok(page),
            next => next,
        }
    }

    /// The page as it is in the store.
    async fn look(
        &self,
        start: FeedStart,
        filter: &EntryFilter,
        size: usize,
        deadline: Option<Instant>,
    ) -> Result<FeedPage, EngineError> {
        let end = Cursor::end(&self.queries.heads(deadline).await?);
        let from = begin(start, self.shared.shards, &end)?;
        let permit = self.scan_permit(deadline).await?;
        let (mut entries, mut to, mut scans) = (Vec::new(), from.clone(), 0);
        for shard in self.behind(filter, &from, &end) {
            while entries.len() < size && scans < PAGE_SCANS_MAX {
                let limits = ScanLimits { entries_max: size - entries.len(), rows_max: SCAN_ROWS_MAX };
                let scan = self.queries.scan(shard, to.of(shard), filter, limits, deadline).await?;
                entries.extend(scan.entries);
                to.advance(shard, scan.end);
                scans += 1;
                if scan.end >= scan.head {
                    break;
                }
            }
        }
        Ok(FeedPage::scanned(entries, from, to).with_permit(permit))
    }

    /// The shards in which a reader is behind, the one first in which it is so most: no busy shard can keep it from the
    /// others.
    fn behind(&self, filter: &EntryFilter, from: &Cursor, end: &Cursor) -> Vec<Shard> {
        let lag = |shard: &Shard| end.of(*shard).get() - from.of(*shard).get();
        let shards = self.shared.lanes_of(filter).iter().map(|lane| lane.shard());
        let mut behind: Vec<Shard> = shards.filter(|shard| lag(shard) > 0).collect();
        behind.sort_by_key(|shard| Reverse(lag(shard)));
        behind
    }

    /// Waits until this reader may read the store. Few may at the same time, in turn: however many readers are behind,
    /// the commits keep half of the processors.
    async fn scan_permit(&self, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit, EngineError> {
        let permit = Arc::clone(&self.scans).acquire_owned();
        let permit = match deadline {
            Some(deadline) => time::timeout_at(deadline, permit).await.map_err(|_| EngineError::Deadline)?,
            None => permit.await,
        };
        permit.map_err(|_| EngineError::Stopped)
    }

    /// How many watch the ledger at this moment.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.shared.watchers.load(Ordering::Relaxed)
    }

    /// Ends everything that watches, and lets nobody watch any more: the service shuts down.
    pub fn close(&self) {
        self.shared.lanes.iter().for_each(|lane| lane.recent().close());
    }
}

/// How many readers may read the store at the same time: half of the processors.
fn scans_max() -> usize {
    thread::available_parallelism().map_or(1, |processors| processors.get() / 2).max(1)
}

/// Where a reader begins, in a ledger that ends at `end`.
fn begin(start: FeedStart, shards: Shards, end: &Cursor) -> Result<Cursor, EngineError> {
    match start {
        FeedStart::Beginning => Ok(Cursor::beginning(shards)),
        FeedStart::Now => Ok(end.clone()),
        FeedStart::After(cursor) if cursor.shards() != end.shards() => Err(EngineError::ForeignCursor),
        FeedStart::After(cursor) if cursor.is_beyond(end) => Err(EngineError::UnknownCursor),
        FeedStart::After(cursor) => Ok(cursor),
    }
}

/// Looks for what other processes have committed, every `interval` while anybody watches.
async fn poll(shared: Arc<Shared>, queries: Queries, interval: Duration) {
    let mut known = vec![EntryId::ZERO; shared.lanes.len()];
    loop {
        while shared.watchers.load(Ordering::SeqCst) == 0 {
            shared.begun.notified().await;
        }
        time::sleep(interval).await;
        let Ok(heads) = queries.heads(None).await else { continue };
        for ((lane, known), head) in shared.lanes.iter().zip(&mut known).zip(heads.last_entry_ids()) {
            lane.look(known, head);
        }
    }
}
