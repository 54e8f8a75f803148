//! The newest commits, and what each watcher has not seen of them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::sync::Notify;

use super::{EngineError, Entries};
use crate::ledger::{EntryFilter, EntryId, UserId};

/// The most entries that are kept: a few megabytes, a second's work under full load.
const ENTRIES_MAX: usize = 32 * 1024;

/// The newest commits of a shard without a gap, as far as they are known here, and those who watch.
pub struct Recent {
    /// In commit order.
    commits: VecDeque<Entries>,
    /// How many entries are in them.
    size: usize,
    /// The last entry that is known. Those behind the last of `commits` are in the store.
    head: EntryId,
    watches: HashMap<u64, Watch, RandomState>,
    is_closed: bool,
}

/// What is known of one watcher.
struct Watch {
    filter: EntryFilter,
    /// Every entry behind this one is looked at for the watcher. Nothing is, until it has read the head of the shard.
    since: EntryId,
    /// The first entry behind `since` that it may want, and has not taken.
    first: Option<EntryId>,
    wake: Arc<Notify>,
}

impl Watch {
    /// Remembers that the watcher may want this entry. Whom to wake for it, if that is news.
    fn offer(&mut self, entry_id: EntryId) -> Option<Arc<Notify>> {
        if self.first.is_some() {
            return None;
        }
        self.first = Some(entry_id);
        Some(Arc::clone(&self.wake))
    }
}

/// What there is for a watcher behind a place of the shard.
pub enum Taken {
    /// These commits: it wants some of the entries in them that are behind `after`, and not behind `end`.
    Commits { commits: Vec<Entries>, after: EntryId, end: EntryId },
    /// Nothing that it wants, up to this entry.
    UpToDate(EntryId),
    /// What comes behind this entry is in the store, and not here.
    Behind(EntryId),
    /// Nothing will ever come.
    Closed,
}

impl Recent {
    /// Nothing is known yet.
    pub fn new() -> Self {
        let (commits, watches) = (VecDeque::new(), HashMap::default());
        Self { commits, size: 0, head: EntryId::ZERO, watches, is_closed: false }
    }

    /// The last entry that is known.
    pub const fn head(&self) -> EntryId {
        self.head
    }

    /// Adds a watcher, who is woken by `wake`. Returns how many there are then.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] if it is closed.
    pub fn register(&mut self, key: u64, filter: EntryFilter, wake: Arc<Notify>) -> Result<usize, EngineError> {
        if self.is_closed {
            return Err(EngineError::Stopped);
        }
        self.watches.insert(key, Watch { filter, since: EntryId::MAX, first: None, wake });
        Ok(self.watches.len())
    }

    /// The watcher has read that the shard ended here, after it was added.
    pub fn begin(&mut self, key: u64, head: EntryId) {
        if let Some(watch) = self.watches.get_mut(&key) {
            watch.since = head;
        }
    }

    /// Removes a watcher. Nothing is kept for nobody. Returns how many are left.
    pub fn remove(&mut self, key: u64) -> usize {
        self.watches.remove(&key);
        if self.watches.is_empty() {
            self.forget();
        }
        self.watches.len()
    }

    fn forget(&mut self) {
        self.commits.clear();
        self.size = 0;
    }

    /// Adds new commits, in order. Whom to wake for them.
    pub fn add(&mut self, new: &[Entries]) -> Vec<Arc<Notify>> {
        let (mut woken, mut offered) = (Vec::new(), 0);
        for (index, entries) in new.iter().enumerate() {
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else { continue };
            if last.entry_id <= self.head {
                continue;
            }
            if first.entry_id != self.head.next() {
                // What is before the gap comes first: a watcher wants nothing of what is before its first.
                woken.extend(self.offer(&new[offered..index]));
                offered = index;
                self.miss();
            }
            self.head = last.entry_id;
            self.size += entries.len();
            self.commits.push_back(Arc::clone(entries));
        }
        while self.size > ENTRIES_MAX
            && let Some(oldest) = self.commits.pop_front()
        {
            self.size -= oldest.len();
        }
        woken.extend(self.offer(&new[offered..]));
        woken
    }

    /// Offers each watcher the first of the new entries that it wants. Costs the same for each that has no interest in
    /// them, however many there are.
    fn offer(&mut self, new: &[Entries]) -> Vec<Arc<Notify>> {
        let entries = || new.iter().flat_map(|entries| entries.iter());
        let users: HashSet<UserId, RandomState> = entries().map(|entry| entry.user_id).collect();
        let offer = |watch: &mut Watch| {
            let is_missing = watch.filter.user_id.is_some_and(|user_id| !users.contains(&user_id));
            if is_missing || watch.first.is_some() {
                return None;
            }
            let wanted = entries().find(|entry| watch.filter.matches(entry))?;
            watch.offer(wanted.entry_id)
        };
        self.watches.values_mut().filter_map(offer).collect()
    }

    /// The shard has entries up to here that were not added. Watchers find them in the store.
    pub fn skip_to(&mut self, head: EntryId) {
        if head > self.head {
            self.miss();
            self.head = head;
        }
    }

    /// Entries behind the head are missing here.
    fn miss(&mut self) {
        self.forget();
        for watch in self.watches.values_mut() {
            if let Some(wake) = watch.offer(self.head.next()) {
                wake.notify_one();
            }
        }
    }

    /// What there is for this watcher behind `position`: up to `entries_max` entries.
    pub fn take(&mut self, key: u64, position: EntryId, entries_max: usize) -> Taken {
        let Some(watch) = self.watches.get_mut(&key).filter(|_| !self.is_closed) else { return Taken::Closed };
        if position < watch.since {
            return Taken::Behind(position);
        }
        let head = self.head;
        let Some(first) = watch.first else { return Taken::UpToDate(position.max(head)) };
        // It wants nothing of what is before the first.
        let position = first.previous().map_or(position, |before| position.max(before));
        let begin = self.commits.front().and_then(|oldest| oldest.first()).map_or(head.next(), |entry| entry.entry_id);
        if position >= head {
            // It has read them in the store.
            watch.first = None;
            return Taken::UpToDate(position);
        }
        if begin > position.next() {
            return Taken::Behind(position);
        }
        let reach = position.get().saturating_add(i64::try_from(entries_max).unwrap_or(i64::MAX));
        let end = EntryId::new(reach).map_or(head, |reach| reach.min(head));
        watch.first = (end < head).then(|| end.next());
        let is_past = |commit: &Entries| commit.last().is_some_and(|last| last.entry_id <= position);
        let is_within = |commit: &&Entries| commit.first().is_some_and(|first| first.entry_id <= end);
        let start = self.commits.partition_point(is_past);
        let commits = self.commits.range(start..).take_while(is_within).cloned().collect();
        Taken::Commits { commits, after: position, end }
    }

    /// Ends what watches.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.watches.values().for_each(|watch| watch.wake.notify_one());
    }
}
