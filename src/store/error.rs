//! What can go wrong with a store.

use std::error::Error as StdError;

use thiserror::Error;

/// A store failed. None of these is the ledger's "no": that is an [`Outcome`](crate::ledger::Outcome).
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process holds the write lock. Nothing was done.
    #[error("the database is locked by another process")]
    Locked,
    /// The store did not answer, or answered with an error. Whether a write was done is not known.
    #[error("the database is unavailable")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
    /// A stored row cannot be what the ledger wrote. Nothing was done.
    #[error("the database is corrupt: {table}.{column} of row {row} is {found}")]
    Corrupt { table: &'static str, column: &'static str, row: i64, found: String },
    /// The database cannot be served by this program with these settings; it was left as it is.
    #[error("{0}")]
    Incompatible(String),
}

impl StoreError {
    /// A failure of the store below.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }
}
