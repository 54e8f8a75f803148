//! The ledger in one SQLite file: one connection writes, a few others read, each on a thread of its own.
//!
//! One process serves one file. As long as it does, it holds advisory locks on a file with the suffix `-lock` and on
//! the database itself. It acknowledges nothing once a path leads to another file than the one that it has open. While
//! SQLite has the database open, nothing else in this process may open and close it: that would drop SQLite's locks
//! (POSIX).

mod audit;
mod backup;
mod bulk;
mod disk_space;
mod error;
mod files;
mod history;
mod open;
mod query;
mod reader;
mod row;
mod scan;
mod wal;
mod walk;
mod write;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Store, StoreError, StoreOptions};
use crate::ledger::{Genesis, Shards};
pub use audit::{audit, audit_in_steps};
pub use backup::{backup, restore};
pub use bulk::bulk_reader;
use files::FileLock;
use reader::SqliteReader;
use writer::SqliteWriter;

/// What marks a SQLite file as a wallet's (`pragma application_id`): the letters `WLET`.
const APPLICATION_ID: i32 = 0x574c_4554;

/// Opens the ledger in the file at `path`, which is made if it is missing, and brings its tables up to date.
///
/// # Errors
/// [`StoreError::Incompatible`] if another process serves it, or if it is no wallet's, a newer wallet's, or in another
/// currency: it is left as it is. [`StoreError::Locked`] and [`StoreError::Unavailable`] as they say.
pub async fn open(path: &Path, options: StoreOptions) -> Result<Store, StoreError> {
    if let Some(shards) = options.shards.filter(|shards| *shards != Shards::ONE) {
        return Err(StoreError::Incompatible(format!(
            "a ledger in an SQLite file has 1 shard, and cannot have {shards}"
        )));
    }
    if options.anchor.is_some() {
        let why = "an SQLite file cannot keep a ledger that was divided in another way: its chain has an anchor";
        return Err(StoreError::Incompatible(why.to_owned()));
    }
    let currency = options.currency;
    // SQLite keeps its WAL next to the file that a link leads to.
    let path = &open::canonical_path(path);
    let lock = FileLock::take(path)?;
    open::prepare(path, options).await?;
    let writer = SqliteWriter::open(path, options, lock)?;
    let reader = SqliteReader::open(path, currency, writer.files())?;
    files::warn_if_open_to_others(path);
    Ok(Store { writers: vec![Box::new(writer)], reader: Arc::new(reader), genesis: Genesis::new(currency) })
}

/// The right to serve a ledger, held until dropped. It must outlive every connection of this process to the database.
pub struct Held(#[expect(dead_code, reason = "it is held")] FileLock);

/// Keeps other processes from serving the ledger in the file at `path`.
///
/// # Errors
/// [`StoreError::Incompatible`] if one serves it.
pub fn hold(path: &Path) -> Result<Held, StoreError> {
    FileLock::take(&open::canonical_path(path)).map(Held)
}

/// The file next to the database at `path`, wherever links lead, whose name has this suffix.
pub(super) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    open::sibling(&open::canonical_path(path), suffix)
}

/// Whether `file` is the database at `path`, or a file that is kept beside it.
pub(super) fn owns(path: &Path, file: &Path) -> bool {
    let (path, file) = (open::canonical_path(path), open::canonical_path(file));
    ["", "-wal", "-shm", "-journal", "-lock", "-addr"].iter().any(|suffix| open::sibling(&path, suffix) == file)
}
