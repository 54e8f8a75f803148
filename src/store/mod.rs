//! Where the ledger is kept. A store transacts and reads; it knows no rule.
//!
//! A store has two halves: one [`Writer`], owned by the engine's thread, and a [`Reader`] that many share and that never
//! waits for the writer. SQLite is the first pair; another database brings another pair and the same contract tests.

mod error;
pub mod sqlite;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;

use crate::ledger::{
    AuditReport, Checkpoint, Command, Commit, Currency, Entry, EntryId, Finding, Outcome, Timestamp, UserId, Wallet,
};
pub use error::StoreError;

/// The half of a store that writes.
///
/// It blocks: it belongs on a thread of its own.
pub trait Writer: Send {
    /// Decides a batch of commands in order, in one transaction, and makes what they did durable.
    ///
    /// When this returns the outcomes, they are on disk. When it returns an error, none of the batch can be told to
    /// have been done, and the writer can be used again.
    ///
    /// # Errors
    /// [`StoreError::Locked`] and [`StoreError::Corrupt`]: nothing was done. [`StoreError::Unavailable`]: not known.
    fn transact(&mut self, batch: &[Command], now: Timestamp) -> Result<Vec<Outcome>, StoreError>;

    /// Commits something that changes nothing: whether a batch could be committed now.
    ///
    /// # Errors
    /// As [`transact`](Self::transact).
    fn probe(&mut self) -> Result<(), StoreError>;
}

/// The half of a store that reads what was committed.
#[async_trait]
pub trait Reader: Send + Sync {
    /// The user's wallet as it stands, or as it stood at a moment; `None` if there is, or was, no such user.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn wallet(&self, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError>;

    /// The newest `limit` of the user's entries that come before `before`; `None` if there is no such user.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn entries(
        &self,
        user_id: UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, StoreError>;

    /// The head of the commit chain; [`Commit::GENESIS`] if nothing was committed yet.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn head(&self) -> Result<Commit, StoreError>;

    /// Lets go of the database.
    async fn close(&self);
}

/// A store, open: both halves.
pub struct Store {
    pub writer: Box<dyn Writer>,
    pub reader: Arc<dyn Reader>,
}

/// Where a ledger is kept, as a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// An SQLite file: `sqlite://wallet.db`, `sqlite:///data/wallet.db`.
    Sqlite(PathBuf),
}

impl FromStr for Location {
    type Err = StoreError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let incompatible = |why: &str| Err(StoreError::Incompatible(why.to_owned()));
        let Some(path) = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) else {
            return incompatible("it must begin with sqlite://");
        };
        match path {
            "" => incompatible("the path is missing"),
            _ if path.contains(":memory:") => incompatible("money must be on disk"),
            _ if path.contains('?') => incompatible("it takes no parameters"),
            path => Ok(Self::Sqlite(PathBuf::from(path))),
        }
    }
}

impl Location {
    /// Opens the ledger there, which is made if it is missing.
    ///
    /// # Errors
    /// As [`sqlite::open`].
    pub async fn open(&self, currency: Currency) -> Result<Store, StoreError> {
        match self {
            Self::Sqlite(path) => sqlite::open(path, currency).await,
        }
    }

    /// Walks the whole ledger there; blocks until that is done. An earlier `checkpoint` must be met.
    ///
    /// # Errors
    /// As [`sqlite::audit`].
    pub fn audit(&self, checkpoint: Option<Checkpoint>) -> Result<Result<AuditReport, Finding>, StoreError> {
        match self {
            Self::Sqlite(path) => sqlite::audit(path, checkpoint),
        }
    }

    /// Copies the ledger there to a new file, as one moment saw it, while it may be served; blocks until that is done.
    ///
    /// # Errors
    /// As [`sqlite::backup`].
    pub fn backup(
        &self,
        file: &Path,
        progress: &mut dyn FnMut(CopyStep),
    ) -> Result<Result<AuditReport, Finding>, StoreError> {
        match self {
            Self::Sqlite(path) => sqlite::backup(path, file, progress),
        }
    }

    /// Makes the ledger there from a backup; blocks until that is done.
    ///
    /// # Errors
    /// As [`sqlite::restore`].
    pub fn restore(
        &self,
        file: &Path,
        progress: &mut dyn FnMut(CopyStep),
    ) -> Result<Result<AuditReport, Finding>, StoreError> {
        match self {
            Self::Sqlite(path) => sqlite::restore(file, path, progress),
        }
    }
}

/// How far a copy of a ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStep {
    /// So many pages of the database are copied.
    Copying { done: u32, of: u32 },
    /// Everything is copied, and is now walked and recomputed.
    Verifying,
}
