//! A transaction that holds the write lock from its beginning.

use std::ops::Deref;

use rusqlite::Connection;

/// An `IMMEDIATE` transaction, rolled back if it is dropped before it is committed.
///
/// As rusqlite's own, but with statements that are prepared once: a lone command's commit is short.
pub(super) struct Immediate<'c> {
    connection: &'c Connection,
}

impl<'c> Immediate<'c> {
    pub(super) fn begin(connection: &'c mut Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("begin immediate")?.execute([])?;
        Ok(Self { connection })
    }

    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.prepare_cached("commit")?.execute([])?;
        Ok(())
    }
}

impl Deref for Immediate<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Drop for Immediate<'_> {
    fn drop(&mut self) {
        // SQLite itself rolls back what fails badly enough; and what is committed is over.
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("rollback");
        }
    }
}
