//! Reads of what was committed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{self, Instant};

use super::EngineError;
use crate::ledger::{Entry, EntryFilter, EntryId, Event, EventKey, Heads, Shard, Timestamp, UserId, Wallet};
use crate::store::{Reader, Scan, ScanLimits, StoreError};
use crate::telemetry::{Throttle, chain};

/// The handle that reads the ledger. Cheap to clone. It never waits for a command.
#[derive(Clone)]
pub struct Queries {
    reader: Arc<dyn Reader>,
    failures: Arc<Mutex<Throttle>>,
}

/// A page of a wallet's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub entries: Vec<Entry>,
    /// The last entry of this page, when there are older ones: what the next page comes before.
    pub next_before: Option<EntryId>,
}

impl Page {
    /// The number of entries in a page when the caller does not say.
    pub const SIZE_DEFAULT: usize = 50;
    /// The most entries in a page.
    pub const SIZE_MAX: usize = 1000;

    /// The size that a caller asks for; `None` if no page may have it.
    #[must_use]
    pub fn size(asked: i64) -> Option<usize> {
        usize::try_from(asked).ok().filter(|size| (1..=Self::SIZE_MAX).contains(size))
    }
}

impl Queries {
    pub(super) fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader, failures: Arc::default() }
    }

    /// The user's wallet as it is, or as it was at a moment; `None` if there is, or was, no such user.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`], [`EngineError::Corrupt`], [`EngineError::Deadline`].
    pub async fn wallet(
        &self,
        user_id: UserId,
        at: Option<Timestamp>,
        deadline: Option<Instant>,
    ) -> Result<Option<Wallet>, EngineError> {
        self.read(self.reader.wallet(user_id, at), deadline).await
    }

    /// A page of the user's entries before `before`, newest first; `None` if there is no such user.
    ///
    /// A `size` above [`Page::SIZE_MAX`] is cut to that.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`], [`EngineError::Corrupt`], [`EngineError::Deadline`].
    pub async fn entries(
        &self,
        user_id: UserId,
        before: Option<EntryId>,
        size: usize,
        deadline: Option<Instant>,
    ) -> Result<Option<Page>, EngineError> {
        let size = size.min(Page::SIZE_MAX);
        // One more than asked for tells whether there is a next page.
        let read = self.reader.entries(user_id, before, size + 1);
        let Some(mut entries) = self.read(read, deadline).await? else { return Ok(None) };
        let more = entries.len() > size;
        entries.truncate(size);
        let next_before = if more { entries.last().map(|entry| entry.entry_id) } else { None };
        Ok(Some(Page { entries, next_before }))
    }

    /// What became of the user's event; `None` if there is no such user.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`], [`EngineError::Corrupt`], [`EngineError::Deadline`].
    pub async fn event(&self, event: EventKey, deadline: Option<Instant>) -> Result<Option<Event>, EngineError> {
        let entries = self.read(self.reader.event(event), deadline).await?;
        Ok(entries.map(|entries| Event::new(event, entries)))
    }

    /// Reads a shard in commit order from behind the entry `after`, as far as `limits` allow: the entries that
    /// `filter` wants.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`], [`EngineError::Corrupt`], [`EngineError::Deadline`].
    pub(super) async fn scan(
        &self,
        shard: Shard,
        after: EntryId,
        filter: &EntryFilter,
        limits: ScanLimits,
        deadline: Option<Instant>,
    ) -> Result<Scan, EngineError> {
        self.read(self.reader.scan(shard, after, filter, limits), deadline).await
    }

    /// How often to look for what other processes have committed; `None` if no other process can.
    pub(super) fn poll_interval(&self) -> Option<Duration> {
        self.reader.poll_interval()
    }

    /// The head of each shard's chain.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`], [`EngineError::Corrupt`], [`EngineError::Deadline`].
    pub async fn heads(&self, deadline: Option<Instant>) -> Result<Heads, EngineError> {
        self.read(self.reader.heads(), deadline).await
    }

    /// Waits for a read until its deadline.
    async fn read<T>(
        &self,
        read: impl Future<Output = Result<T, StoreError>>,
        deadline: Option<Instant>,
    ) -> Result<T, EngineError> {
        let answered = match deadline {
            Some(deadline) => time::timeout_at(deadline, read).await.map_err(|_| EngineError::Deadline)?,
            None => read.await,
        };
        answered.map_err(|error| self.failed(error))
    }

    /// Logs a failure of the store, if it is not one of many.
    fn failed(&self, error: StoreError) -> EngineError {
        let suppressed = self.failures.lock().ok().and_then(|mut failures| failures.pass());
        if let Some(suppressed) = suppressed {
            tracing::error!(error = %chain(&error), suppressed, "a read failed");
        }
        error.into()
    }
}
