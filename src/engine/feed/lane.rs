//! The feed of one shard.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time;

use super::recent::Recent;
use super::{EngineError, Entries, Queries};
use crate::ledger::{Cursor, EntryFilter, EntryId, Shard};

/// How long watchers are left alone after they were woken: under load they are woken for many commits at once.
const WAKE_INTERVAL: Duration = Duration::from_millis(10);
/// How long to wait after a read of the head has failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// What is known of one shard's newest commits, and who watches it.
pub struct Lane {
    shard: Shard,
    recent: Mutex<Recent>,
    /// How many watch. The worker looks here after each commit.
    watching: AtomicUsize,
    /// Whether the shard may hold entries that were not handed over.
    is_incomplete: AtomicBool,
}

impl Lane {
    pub fn new(shard: Shard) -> Self {
        let (recent, watching, is_incomplete) =
            (Mutex::new(Recent::new()), AtomicUsize::new(0), AtomicBool::new(false));
        Self { shard, recent, watching, is_incomplete }
    }

    pub const fn shard(&self) -> Shard {
        self.shard
    }

    pub fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().expect("nothing panics while it holds the newest commits")
    }

    /// Adds a watcher, who is woken by `wake`. What is committed from now on is handed over.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] if the feed is closed.
    pub fn add(&self, key: u64, filter: EntryFilter, wake: Arc<Notify>) -> Result<(), EngineError> {
        let mut recent = self.recent();
        let watching = recent.register(key, filter, wake)?;
        self.watching.store(watching, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Removes a watcher, if it is here.
    pub fn remove(&self, key: u64) {
        let mut recent = self.recent();
        self.watching.store(recent.remove(key), Ordering::SeqCst);
    }

    /// Whether anybody watches. A watcher counts before it reads the head of the shard: a commit that finds nobody was
    /// there before that, so that the watcher finds it in the store.
    pub fn is_watched(&self) -> bool {
        fence(Ordering::SeqCst);
        self.watching.load(Ordering::SeqCst) > 0
    }

    /// The shard may hold entries that were not handed over. Whoever takes what is handed over looks in the store.
    pub fn set_incomplete(&self) {
        self.is_incomplete.store(true, Ordering::SeqCst);
    }

    /// Tells watchers what was committed, as it comes. Under load it tells many commits at once.
    pub async fn tell(self: Arc<Self>, mut commits: mpsc::Receiver<Entries>, queries: Queries) {
        while let Some(first) = commits.recv().await {
            let mut new = vec![first];
            while let Ok(more) = commits.try_recv() {
                new.push(more);
            }
            self.complete(&commits, &queries).await;
            let woken = self.recent().add(&new);
            drop(new);
            for wake in woken {
                wake.notify_one();
            }
            time::sleep(WAKE_INTERVAL).await;
        }
        self.recent().close();
    }

    /// If the shard may hold entries that were not handed over, reads where it ends.
    async fn complete(&self, commits: &mpsc::Receiver<Entries>, queries: &Queries) {
        while self.is_incomplete.swap(false, Ordering::SeqCst) {
            match queries.heads(None).await {
                Ok(heads) => self.recent().skip_to(Cursor::end(&heads).of(self.shard)),
                Err(_) if commits.is_closed() => break,
                Err(_) => {
                    self.set_incomplete();
                    time::sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    /// The shard ended at `head` just now. Watchers are told if that is news, and if `known`, the last entry that was
    /// known here when this was called before, still is: else own commits come, and show what is missing between
    /// them. What an own commit has written and not yet handed over need not be read from the store.
    pub fn look(&self, known: &mut EntryId, head: EntryId) {
        let mut recent = self.recent();
        if recent.head() == *known {
            recent.skip_to(head);
        }
        *known = recent.head();
    }
}
