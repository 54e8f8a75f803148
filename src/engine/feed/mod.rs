//! The feed: every entry of the ledger, once, in commit order, to everyone who watches.
//!
//! The worker hands the entries of each commit to the [`Publisher`]: one message into a bounded queue, or nothing at
//! all when nobody watches. A task takes them from there into [`Recent`], the newest commits, which all watchers
//! share, and wakes the watchers that want one of them. A [`Watcher`] that is further back than that reads the store
//! until it has caught up. Entries are numbered without gaps, so each can tell that it missed none.

mod page;
mod publisher;
mod recent;
mod watcher;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{self, Instant};

use super::{EngineError, Queries};
use crate::ledger::{Entry, EntryFilter, EntryId, FeedStart, Heads, Shard};
use crate::store::ScanLimits;
pub use page::FeedPage;
pub(super) use publisher::Publisher;
use recent::Recent;
pub use watcher::Watcher;

/// The entries of one commit, shared by all who read them. A vector within, because a slice would be a copy.
type Entries = Arc<Vec<Entry>>;

/// Commits that may wait to be told; watchers read what is more from the store.
const QUEUE_CAPACITY: usize = 64;
/// How long watchers are left alone after they were woken: under load they are woken for many commits at once.
const WAKE_INTERVAL: Duration = Duration::from_millis(10);
/// How long to wait after a read of the head has failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
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
    recent: Mutex<Recent>,
    /// How many watch. The worker looks here after each commit.
    watching: AtomicUsize,
    /// Whether the ledger may hold entries that were not handed over.
    is_incomplete: AtomicBool,
}

impl Shared {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().expect("nothing panics while it holds the newest commits")
    }

    /// Whether anybody watches. A watcher counts before it reads the head of the ledger: a commit that finds nobody
    /// was there before that, so that the watcher finds it in the store.
    fn is_watched(&self) -> bool {
        fence(Ordering::SeqCst);
        self.watching.load(Ordering::SeqCst) > 0
    }
}

impl Feed {
    /// The feed, the worker's end of it, and the work of its task, which ends with the worker's end.
    pub(super) fn new(queries: Queries, watchers_max: usize) -> (Self, Publisher, impl Future<Output = ()> + use<>) {
        let (sender, commits) = mpsc::channel(QUEUE_CAPACITY);
        let shared = Arc::new(Shared {
            recent: Mutex::new(Recent::new()),
            watching: AtomicUsize::new(0),
            is_incomplete: AtomicBool::new(false),
        });
        let publisher = Publisher::new(sender, Arc::clone(&shared));
        let telling = tell(commits, Arc::clone(&shared), queries.clone());
        let scans = Arc::new(Semaphore::new(scans_max()));
        (Self { shared, queries, watchers_max, scans }, publisher, telling)
    }

    /// Follows the ledger from `start` on: the entries that `filter` wants.
    ///
    /// # Errors
    /// [`EngineError::Busy`] if there are as many watchers as may be. [`EngineError::Stopped`] if the feed is closed.
    /// [`EngineError::UnknownCursor`] if `start` is beyond the end of the ledger. Those of a read.
    pub async fn watch(
        &self,
        start: FeedStart,
        filter: EntryFilter,
        deadline: Option<Instant>,
    ) -> Result<Watcher, EngineError> {
        Watcher::begin(self.clone(), start, filter, deadline).await
    }

    /// A page of up to `size` entries from `start` on, of those that `filter` wants. If there is none yet, waits up to
    /// `wait` for the first. A page may hold fewer than there are: its cursor says how far it looked.
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
        let mut watcher = self.watch(FeedStart::After(page.cursor()), filter, deadline).await?;
        match watcher.next(size, until).await {
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
        let begin = self.resolve(start, deadline).await?;
        let permit = self.scan_permit(deadline).await?;
        let (mut entries, mut end) = (Vec::new(), begin);
        for _ in 0..PAGE_SCANS_MAX {
            let limits = ScanLimits { entries_max: size - entries.len(), rows_max: SCAN_ROWS_MAX };
            let scan = self.queries.scan(Shard::FIRST, end, filter, limits, deadline).await?;
            entries.extend(scan.entries);
            end = scan.end;
            if entries.len() >= size || end >= scan.head {
                break;
            }
        }
        Ok(FeedPage::scanned(entries, begin, end).with_permit(permit))
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

    /// The entry that the reader begins behind.
    async fn resolve(&self, start: FeedStart, deadline: Option<Instant>) -> Result<EntryId, EngineError> {
        let head = only(&self.queries.heads(deadline).await?);
        begin(start, head)
    }

    /// How many watch the ledger at this moment.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.shared.watching.load(Ordering::Relaxed)
    }

    /// Ends everything that watches, and lets nobody watch any more: the service shuts down.
    pub fn close(&self) {
        self.shared.recent().close();
    }
}

/// The last entry of the one shard.
fn only(heads: &Heads) -> EntryId {
    heads.last_entry_ids().next().unwrap_or(EntryId::ZERO)
}

/// How many readers may read the store at the same time: half of the processors.
fn scans_max() -> usize {
    thread::available_parallelism().map_or(1, |processors| processors.get() / 2).max(1)
}

/// The entry that a reader begins behind, in a ledger that ends at `head`.
fn begin(start: FeedStart, head: EntryId) -> Result<EntryId, EngineError> {
    match start {
        FeedStart::Beginning => Ok(EntryId::ZERO),
        FeedStart::Now => Ok(head),
        FeedStart::After(cursor) if cursor.entry_id() <= head => Ok(cursor.entry_id()),
        FeedStart::After(_) => Err(EngineError::UnknownCursor),
    }
}

/// Tells watchers what was committed, as it comes. Under load it tells many commits at once.
async fn tell(mut commits: mpsc::Receiver<Entries>, shared: Arc<Shared>, queries: Queries) {
    while let Some(first) = commits.recv().await {
        let mut new = vec![first];
        while let Ok(more) = commits.try_recv() {
            new.push(more);
        }
        while shared.is_incomplete.swap(false, Ordering::SeqCst) {
            match queries.heads(None).await {
                Ok(heads) => shared.recent().skip_to(only(&heads)),
                Err(_) if commits.is_closed() => break,
                Err(_) => {
                    shared.is_incomplete.store(true, Ordering::SeqCst);
                    time::sleep(RETRY_INTERVAL).await;
                }
            }
        }
        let woken = shared.recent().add(&new);
        drop(new);
        for wake in woken {
            wake.notify_one();
        }
        time::sleep(WAKE_INTERVAL).await;
    }
    shared.recent().close();
}
