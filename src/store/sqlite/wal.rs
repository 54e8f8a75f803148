//! The write-ahead log as a file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::open::sibling;

/// Makes the WAL durable, before anything is answered from it. The caller holds the write lock.
///
/// A process that was killed may have left commits in it that were never synced. Syncing them now is not enough: after
/// a failed sync Linux counts the pages as written, and the next sync succeeds without writing them
/// (<https://wiki.postgresql.org/wiki/Fsync_Errors>). So the whole file is written again.
///
/// SQLite keeps no lock on this file, so closing it drops none.
pub(super) fn rewrite_wal(database: &Path) -> io::Result<()> {
    let mut wal = match File::options().read(true).write(true).open(sibling(database, "-wal")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut chunk = vec![0; 1024 * 1024];
    let mut at = 0;
    loop {
        let count = wal.read(&mut chunk)?;
        if count == 0 {
            return wal.sync_all();
        }
        wal.seek(SeekFrom::Start(at))?;
        wal.write_all(&chunk[..count])?;
        at = wal.stream_position()?;
    }
}
