//! The ledger in one SQLite file: a rusqlite connection writes, a pool of sqlx connections reads.
//!
//! One process serves one file, and holds an advisory lock on a file beside it (`….db-lock`) as long as it does. The
//! database itself must never be opened by anything but SQLite: closing it would drop SQLite's own locks (POSIX).

mod audit;
mod backup;
mod disk_space;
mod immediate;
mod memory;
mod open;
mod reader;
mod row;
mod wal;
mod writer;

use std::path::Path;
use std::sync::Arc;

use super::{Store, StoreError};
use crate::ledger::Currency;
pub use audit::audit;
pub use backup::{backup, restore};
use open::FileLock;
use reader::SqliteReader;
use writer::SqliteWriter;

/// What marks a SQLite file as a wallet's (`pragma application_id`): the letters `WLET`.
const APPLICATION_ID: i32 = 0x574c_4554;

/// Opens the ledger in the file at `path`, which is made if it is missing, and brings its tables up to date.
///
/// # Errors
/// [`StoreError::Incompatible`] if another process serves it, or if it is no wallet's, a newer wallet's, or in another
/// currency: it is left as it is. [`StoreError::Locked`] and [`StoreError::Unavailable`] as they say.
pub async fn open(path: &Path, currency: Currency) -> Result<Store, StoreError> {
    // SQLite keeps its WAL beside the file that a link leads to.
    let path = &open::canonical_path(path);
    let lock = FileLock::take(path)?;
    open::prepare(path, currency).await?;
    let writer = SqliteWriter::open(path, lock)?;
    let reader = SqliteReader::open(path).await?;
    Ok(Store { writer: Box::new(writer), reader: Arc::new(reader) })
}
