//! What can go wrong with a store.

use std::error::Error as StdError;

use thiserror::Error;

/// A store failed. None of these is the ledger's "no": that is an [`Outcome`](crate::ledger::Outcome).
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process holds the write lock. Nothing was done.
    #[error("the database is locked by another process")]
    Locked,
    /// Another process committed after the transaction began. Nothing was done, and the transaction's version
    /// no longer holds. Only a store that commits without holding a lock gives this.
    #[error("another process has committed in the meantime")]
    Stale,
    /// The store did not answer, or answered with an error. Whether a write was done is not known.
    #[error("the database is unavailable")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
    /// The connection was lost while a commit was under way. Whether it was made is not known, but can be found out:
    /// [`Writer::resolve`](super::Writer::resolve). Only a commit gives this.
    #[error("the answer to a commit was lost")]
    InDoubt(#[source] Box<dyn StdError + Send + Sync>),
    /// A stored row cannot be what the ledger wrote. Nothing was done.
    #[error("the database is corrupt: {table}.{column} of row {row} is {found}")]
    Corrupt { table: &'static str, column: &'static str, row: i64, found: String },
    /// The database cannot be served by this program with these settings. It was left as it is.
    #[error("{0}")]
    Incompatible(String),
}

impl StoreError {
    /// A failure of the database below.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }
}
