//! Where the ledger is kept. A store transacts and reads; it knows no rule.
//!
//! A store has two halves: one [`Writer`], owned by the engine's thread, and a [`Reader`] that many share and that never
//! waits for the writer. SQLite is the first pair; another database brings another pair and the same contract tests.

mod error;
pub mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;

use crate::ledger::{Command, Commit, Entry, EntryId, Outcome, Timestamp, UserId, Wallet};
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

    /// Takes the write lock and lets go of it: whether a commit could begin now.
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
