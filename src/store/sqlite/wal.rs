//! The write-ahead log: how it is made durable, and kept short.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Row};

use super::open::sibling;

/// How often the WAL is tried to be begun again while something keeps it from that.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is logged that something keeps the WAL from being begun again.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long commits wait for the reads under way, when the WAL is to be begun again.
const READ_WAIT: Duration = Duration::from_millis(10);

/// Begins the WAL again when it has become too long.
///
/// SQLite does that by itself, but only if at that moment no connection reads from the WAL. With many that read, there
/// may be no such moment. A checkpoint that truncates waits for those that read now, and those that come then read from
/// the database. Only the writer may make it.
pub(super) struct Checkpoints {
    /// The size of the WAL from which on it is begun again, in bytes.
    wal_size_max: u64,
    /// How long the WAL was after the last commit, in bytes.
    pub(super) wal_size: u64,
    attempted_at: Option<Instant>,
    /// When it was last logged that something keeps the WAL from being begun again, if it does.
    pinned_logged_at: Option<Instant>,
}

impl Checkpoints {
    pub(super) const fn new(wal_size_max: u64) -> Self {
        Self { wal_size_max, wal_size: 0, attempted_at: None, pinned_logged_at: None }
    }

    /// Whether the WAL is too long, and was not tried to be begun again just now.
    pub(super) fn is_due(&self) -> bool {
        self.wal_size > self.wal_size_max && self.attempted_at.is_none_or(|at| at.elapsed() >= RETRY_INTERVAL)
    }

    /// Tries to begin the WAL again, on the writer's connection between two transactions. `lock_wait` is the
    /// connection's busy timeout.
    ///
    /// # Errors
    /// What SQLite says: the connection is then not to be trusted.
    pub(super) fn run(&mut self, writer: &Connection, lock_wait: Duration) -> rusqlite::Result<()> {
        self.attempted_at = Some(Instant::now());
        writer.busy_timeout(READ_WAIT)?;
        let is_pinned = writer.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0));
        writer.busy_timeout(lock_wait)?;
        self.note(is_pinned?);
        Ok(())
    }

    /// Logs when something begins to keep the WAL from being begun again, every minute while it does, and its end.
    fn note(&mut self, is_pinned: bool) {
        let Self { wal_size, wal_size_max, pinned_logged_at, .. } = self;
        if !is_pinned {
            if pinned_logged_at.take().is_some() {
                tracing::warn!(wal_bytes = *wal_size, "the WAL could be begun again");
            }
            *wal_size = 0;
        } else if pinned_logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            let (wal_bytes, limit_bytes) = (*wal_size, *wal_size_max);
            tracing::warn!(wal_bytes, limit_bytes, "the WAL grows: another process reads from it and does not end");
            *pinned_logged_at = Some(Instant::now());
        }
    }
}

/// Copies what is in the WAL into the database. Returns whether everything was copied. That is logged, and if `log` is
/// set, so is a failure.
pub(super) fn salvage(writer: &Connection, log: bool) -> bool {
    let checkpoint = "pragma wal_checkpoint(full)";
    let read = |row: &Row<'_>| Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    match writer.query_row(checkpoint, [], read) {
        Ok((false, pages, copied)) if pages == copied => {
            tracing::warn!(pages, "everything acknowledged was copied from the WAL into the database file");
            return true;
        }
        Ok((_, pages, copied)) if log => {
            tracing::error!(
                pages,
                copied,
                "the WAL could not all be copied into the database file: a process reads it"
            );
        }
        Err(error) if log => tracing::error!(%error, "the WAL could not be copied into the database file"),
        Ok(_) | Err(_) => (),
    }
    false
}

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
