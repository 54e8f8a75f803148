//! Connections that read, each on a thread of its own. In WAL mode they never wait for the writer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::RwLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use crossbeam_channel::{Receiver, Sender};
use rusqlite::{Connection, OpenFlags, params};
use tokio::sync::oneshot;

use super::error::failed;
use super::files::OpenFiles;
use super::query::{query, query_all};
use super::row::{self, SELECT_HEAD, select_entry};
use crate::ledger::{Balance, Commit, Currency, Entry, EntryId, Timestamp, UserId, Wallet};
use crate::store::{Reader, StoreError};

/// Connections that read at the same time.
const CONNECTIONS: usize = 4;

/// How long a read waits for a connection, or for a lock (which in WAL mode only recovery takes).
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Entries that one statement walks back. A longer read transaction would keep the WAL from being reused.
const STRIDE: i64 = 20_000;

const SELECT_WALLET: &str = "select wallet_id, balance, sequence, last_entry_id, created_at
     from user join wallet using (user_id) where user_id = ?1";
const SELECT_LAST_ENTRY: &str = "select last_entry_id from wallet where user_id = ?1";
const SELECT_ENTRY: &str = select_entry!("entry", "where entry.entry_id = ?1");
const SELECT_HISTORY: &str = concat!(
    "with recursive history as (
         select * from entry where entry_id = ?1
         union all
         select entry.* from history join entry on entry.entry_id = history.previous_entry_id
         limit ?2
     ) ",
    select_entry!("history", "order by entry.entry_id desc")
);
const SELECT_STRIDE: &str = "with recursive step (entry_id, previous_entry_id, arrived) as (
         select entry_id, previous_entry_id, entry_id <= ?2 and created_at <= ?3 from entry where entry_id = ?1
         union all
         select entry.entry_id, entry.previous_entry_id, entry.entry_id <= ?2 and entry.created_at <= ?3
         from step join entry on entry.entry_id = step.previous_entry_id
         where not step.arrived
         limit ?4
     )
     select entry_id, previous_entry_id, arrived from step order by entry_id limit 1";

/// One read, for whichever connection is free.
type Job = Box<dyn FnOnce(&Connection) + Send>;

pub(super) struct SqliteReader {
    currency: Currency,
    /// `None` once it is closed.
    pool: RwLock<Option<Pool>>,
}

struct Pool {
    jobs: Sender<Job>,
    threads: Vec<JoinHandle<()>>,
}

impl SqliteReader {
    /// Opens all connections at once, so that none is missing when file descriptors have become scarce. And while one
    /// is open, the index of the WAL exists: a writer that opens again after a failed sync needs it to find the last
    /// commit.
    pub(super) fn open(path: &Path, currency: Currency, files: &OpenFiles) -> Result<Self, StoreError> {
        let (jobs, queue) = crossbeam_channel::unbounded();
        let connections = (0..CONNECTIONS).map(|_| connect(path)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        files.check().map_err(StoreError::unavailable)?;
        let start = |connection: Connection| {
            let (queue, files) = (queue.clone(), files.clone());
            let thread = thread::Builder::new().name("reader".to_owned());
            let work = move || {
                work(connection, &queue);
                // The lock on the files outlives the connection.
                drop(files);
            };
            thread.spawn(work).map_err(StoreError::unavailable)
        };
        let threads = connections.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self { currency, pool: RwLock::new(Some(Pool { jobs, threads })) })
    }

    /// Runs `read` on one of the connections.
    async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let queued_at = Instant::now();
        let job = Box::new(move |connection: &Connection| {
            // A caller that hung up must not keep others from the connection.
            if reply.is_closed() {
                return;
            }
            let waited = queued_at.elapsed();
            let result = if waited < WAIT_MAX {
                read(connection)
            } else {
                Err(StoreError::unavailable("no connection was free"))
            };
            let _ = reply.send(result);
        });
        self.send(job).ok_or_else(|| StoreError::unavailable("the database is closed"))?;
        answer.await.unwrap_or_else(|_| Err(StoreError::unavailable("a read panicked")))
    }

    /// Queues a job; `None` if the connections are closed.
    fn send(&self, job: Job) -> Option<()> {
        let pool = self.pool.read().expect("nothing panics while it holds the pool");
        pool.as_ref()?.jobs.send(job).ok()
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(WAIT_MAX)?;
    // The first statement opens the WAL and reads the schema.
    connection.query_row("select count(*) from setting", [], |_| Ok(()))?;
    Ok(connection)
}

/// Runs jobs until the queue is closed.
fn work(connection: Connection, queue: &Receiver<Job>) {
    for job in queue {
        // Its caller learns of the panic because the reply is dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| job(&connection)));
    }
    drop(connection);
}

#[async_trait]
impl Reader for SqliteReader {
    async fn wallet(&self, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError> {
        self.run(move |connection| wallet(connection, user_id, at)).await
    }

    async fn entries(
        &self,
        user_id: UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        self.run(move |connection| entries(connection, user_id, before, limit)).await
    }

    async fn head(&self) -> Result<Commit, StoreError> {
        let head = self.run(|connection| query(connection, SELECT_HEAD, [], row::commit)).await?;
        Ok(head.unwrap_or_else(|| Commit::genesis(self.currency)))
    }

    async fn close(&self) {
        let pool = self.pool.write().expect("nothing panics while it holds the pool").take();
        let Some(Pool { jobs, threads }) = pool else { return };
        drop(jobs);
        let ended = tokio::task::spawn_blocking(|| threads.into_iter().try_for_each(JoinHandle::join));
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::error!("a reader thread did not end in order");
        }
    }
}

fn wallet(connection: &Connection, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError> {
    let found = query(connection, SELECT_WALLET, [user_id.get()], |row| {
        let state = row::wallet_state(row, 1, user_id)?;
        let created_at = Timestamp::from_microseconds(row.get(4).map_err(failed)?);
        Ok((row::wallet_id(row, 0, user_id)?, created_at, state))
    })?;
    let Some((wallet_id, created_at, state)) = found else { return Ok(None) };
    let wallet = |balance: Balance, sequence| Wallet { user_id, wallet_id, balance, sequence, created_at };
    let Some(at) = at else { return Ok(Some(wallet(state.balance, state.sequence))) };
    let Some(entry_id) = walk(connection, state.last_entry_id, EntryId::MAX, at)? else { return Ok(None) };
    let entry = entry(connection, entry_id)?.ok_or_else(|| missing_entry(entry_id.get()))?;
    check_owner(&entry, user_id)?;
    Ok(Some(wallet(entry.balance_after, entry.sequence)))
}

fn entries(
    connection: &Connection,
    user_id: UserId,
    before: Option<EntryId>,
    limit: usize,
) -> Result<Option<Vec<Entry>>, StoreError> {
    let newest = query(connection, SELECT_LAST_ENTRY, [user_id.get()], |row| row.get(0).map_err(failed))?;
    let Some(newest) = newest.and_then(EntryId::new) else { return Ok(None) };
    let start = match before {
        None => Some(newest),
        Some(before) => match entry(connection, before)? {
            // The usual case, a page after another: `before` is the user's own entry and knows the one before it.
            Some(entry) if entry.user_id == user_id => entry.previous_entry_id,
            _ => match before.previous() {
                Some(last) => walk(connection, newest, last, Timestamp::MAX)?,
                None => None,
            },
        },
    };
    let Some(start) = start else { return Ok(Some(Vec::new())) };
    let limit_max = i64::try_from(limit).unwrap_or(i64::MAX);
    let entries = query_all(connection, SELECT_HISTORY, params![start.get(), limit_max], row::entry)?;
    entries.iter().try_for_each(|entry| check_owner(entry, user_id))?;
    let next = entries.last().map_or(Some(start), |oldest| oldest.previous_entry_id);
    match next {
        Some(missing) if entries.len() < limit => Err(missing_entry(missing.get())),
        _ => Ok(Some(entries)),
    }
}

fn entry(connection: &Connection, entry_id: EntryId) -> Result<Option<Entry>, StoreError> {
    query(connection, SELECT_ENTRY, [entry_id.get()], row::entry)
}

/// Walks a wallet's history back from `from` to its newest entry that is not after `last` and not later than `at`.
fn walk(connection: &Connection, from: EntryId, last: EntryId, at: Timestamp) -> Result<Option<EntryId>, StoreError> {
    let mut from = Some(from.get());
    while let Some(start) = from {
        let params = params![start, last.get(), at.microseconds(), STRIDE];
        let step: Option<(i64, Option<i64>, bool)> =
            query(connection, SELECT_STRIDE, params, |row| row.try_into().map_err(failed))?;
        let (entry_id, previous, arrived) = step.ok_or_else(|| missing_entry(start))?;
        if arrived {
            return Ok(EntryId::new(entry_id));
        }
        from = previous;
    }
    Ok(None)
}

/// Checks that an entry in a user's history is the user's.
fn check_owner(entry: &Entry, user_id: UserId) -> Result<(), StoreError> {
    if entry.user_id == user_id {
        return Ok(());
    }
    let (row, found) = (entry.entry_id.get(), format!("{}, in the history of {user_id}", entry.user_id));
    Err(StoreError::Corrupt { table: "entry", column: "user_id", row, found })
}

/// A wallet's history has a gap.
fn missing_entry(entry_id: i64) -> StoreError {
    StoreError::Corrupt { table: "entry", column: "entry_id", row: entry_id, found: "missing".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use futures::FutureExt as _;

    use super::super::files::FileLock;
    use super::super::open;
    use super::super::writer::SqliteWriter;
    use super::*;
    use crate::store::StoreOptions;

    #[tokio::test]
    async fn a_read_whose_caller_hung_up_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let (path, currency) = (dir.path().join("wallet.db"), "EUR".parse().unwrap());
        let lock = FileLock::take(&path).unwrap();
        open::prepare(&path, currency).await.unwrap();
        let writer = SqliteWriter::open(&path, StoreOptions::new(currency), lock).unwrap();
        let reader = SqliteReader::open(&path, currency, writer.files()).unwrap();
        let (started, made) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut occupied = Vec::new();
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            let (release, released) = mpsc::channel::<()>();
            let started = Arc::clone(&started);
            occupied.push(Box::pin(reader.run(move |_| {
                started.fetch_add(1, Ordering::Relaxed);
                let _ = released.recv();
                Ok(())
            })));
            held.push(release);
        }
        for read in &mut occupied {
            assert!(read.as_mut().now_or_never().is_none());
        }
        while started.load(Ordering::Relaxed) < CONNECTIONS {
            tokio::task::yield_now().await;
        }
        let count = Arc::clone(&made);
        let mut hung_up = Box::pin(reader.run(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }));
        assert!(hung_up.as_mut().now_or_never().is_none());
        drop((hung_up, held));
        reader.run(|_| Ok(())).await.unwrap();
        reader.close().await;
        assert_eq!(made.load(Ordering::Relaxed), 0);
    }
}
