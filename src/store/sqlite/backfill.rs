//! Moves what the write-ahead log holds into the database (a checkpoint, in SQLite's words), beside the commits.
//!
//! A thread copies and syncs, on a connection of its own, while the writer goes on to commit: nobody waits for a log of
//! many megabytes. What was committed meanwhile is little, and that the writer copies itself, between two commits: so for
//! one moment everything is in the database, and the log can be written from its beginning again.

use std::cell::Cell;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;

/// Pages in the log at which it is copied. SQLite's own 1000 would write a large table's scattered pages far too often.
const LOG_PAGES: i32 = 20_000;
/// So few pages the writer copies itself.
const REST_PAGES: i32 = 500;
/// How often the thread comes back for what was committed while it copied: under load some always is.
const PASSES_MAX: usize = 3;

thread_local! {
    /// Pages in the log after the last commit of this thread. SQLite tells it to a plain function only.
    static LOGGED: Cell<i32> = const { Cell::new(0) };
}

/// The thread, and what the writer knows of it.
pub(super) struct Backfill {
    /// Wakes the thread; it ends when this is dropped.
    orders: Option<Sender<()>>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
    at_work: bool,
    /// Pages in the log after the commit before.
    logged: i32,
    /// Pages in the log at which the thread is woken next.
    due: i32,
}

impl Backfill {
    /// Starts the thread for the database at `path`, and has `writer` no longer copy by itself.
    pub(super) fn start(path: &Path, writer: &Connection) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.pragma_update(None, "synchronous", "full")?;
            Ok(connection)
        };
        let connection = connect().map_err(StoreError::unavailable)?;
        let (orders, ordered) = channel();
        let (report, done) = channel();
        let work = move || {
            for () in ordered {
                copy_most(&connection);
                if report.send(()).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("backfill".to_owned()).spawn(work).map_err(StoreError::unavailable)?;
        writer.wal_hook(Some(|_, pages| {
            LOGGED.set(pages);
            Ok(())
        }));
        Ok(Self { orders: Some(orders), done, thread: Some(thread), at_work: false, logged: 0, due: LOG_PAGES })
    }

    /// To be called after each commit of `writer`, on the thread of that commit.
    pub(super) fn after_commit(&mut self, writer: &Connection) {
        let logged = LOGGED.get();
        if logged < self.logged {
            self.due = LOG_PAGES;
        }
        self.logged = logged;
        if self.at_work {
            match self.done.try_recv() {
                Err(TryRecvError::Empty) => return,
                Ok(()) | Err(TryRecvError::Disconnected) => self.at_work = false,
            }
            copy(writer);
            // If a reader still needs the log, it is not begun again, and goes on to grow.
            self.due = logged + LOG_PAGES;
        } else if logged >= self.due {
            // A thread that is no more is found out above.
            let _ = self.orders.as_ref().map(|orders| orders.send(()));
            self.at_work = true;
        }
    }
}

impl Drop for Backfill {
    /// Waits until the thread has let go of the database: the writer is to be the last.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Copies until only a rest is left.
fn copy_most(connection: &Connection) {
    for _ in 0..PASSES_MAX {
        match copy(connection) {
            Some(left) if left > REST_PAGES => (),
            _ => return,
        }
    }
}

/// Copies what is in the log now; how many pages of it, or of what came meanwhile, are left. `None` if it failed, which
/// loses nothing: the log has it all, and the next time it is tried again.
fn copy(connection: &Connection) -> Option<i32> {
    let pages = |row: &rusqlite::Row<'_>| Ok((row.get(1)?, row.get(2)?));
    match connection.query_row("pragma wal_checkpoint(passive)", [], pages) {
        Ok::<(i32, i32), _>((logged, copied)) => Some(logged - copied),
        Err(error) => {
            tracing::warn!(%error, "cannot copy the write-ahead log into the database");
            None
        }
    }
}
