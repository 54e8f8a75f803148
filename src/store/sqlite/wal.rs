//! The write-ahead log as a file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::open::sibling;

/// Makes what is in the WAL durable, before anything is answered from it. The caller holds the write lock.
///
/// A process that was killed may have left commits there that were never synced. To sync them is not enough: a sync
/// that failed once leaves Linux believing that the pages are written, and the next one succeeds without writing them
/// (<https://wiki.postgresql.org/wiki/Fsync_Errors>). So they are written again.
///
/// SQLite keeps its locks in other files: to open and close this one drops none.
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
