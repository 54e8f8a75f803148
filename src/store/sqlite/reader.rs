//! Connections that read, each on a thread of its own. In WAL mode they never wait for the writer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::RwLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use crossbeam_channel::{Receiver, Sender, unbounded};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::error::failed;
use super::files::OpenFiles;
use super::history;
use super::query::{query, query_all};
use super::row::{self, SELECT_EVENT, SELECT_HEAD};
use super::scan::scan;
use crate::ledger::{
    Currency, Entry, EntryFilter, EntryId, EventKey, Genesis, Heads, Shard, Timestamp, UserId, Wallet, WalletState,
};
use crate::store::{Reader, Scan, ScanLimits, StoreError};

/// Connections that read at the same time.
const CONNECTIONS: usize = 4;

/// How long a read waits for a connection, or for a lock (which in WAL mode only recovery takes).
const WAIT_MAX: Duration = Duration::from_secs(5);

const SELECT_WALLET: &str = "select wallet_id, balance, sequence, last_entry_id, frozen, created_at
     from user join wallet using (user_id) where user_id = ?1";
const SELECT_LAST_ENTRY: &str = "select last_entry_id from wallet where user_id = ?1";

/// One read, for whichever connection is free.
type Job = Box<dyn FnOnce(&Connection) + Send>;

pub(super) struct SqliteReader {
    currency: Currency,
    /// `None` once it is closed.
    pool: RwLock<Option<Pool>>,
}

struct Pool {
    /// Reads of one row, which go before the others.
    short: Sender<Job>,
    /// Reads of a history.
    long: Sender<Job>,
    /// One signal for each job that was sent. To wait for one channel costs a fraction of what it costs to wait for
    /// two.
    signals: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

/// Which of the reads that wait a connection takes first.
#[derive(Clone, Copy)]
enum Length {
    Short,
    Long,
}

impl SqliteReader {
    /// Opens all connections at once, so that none is missing when file descriptors have become scarce. And while one
    /// is open, the index of the WAL exists: a writer that opens again after a failed sync needs it to find the last
    /// commit.
    pub(super) fn open(path: &Path, currency: Currency, files: &OpenFiles) -> Result<Self, StoreError> {
        let ((short, short_queue), (long, long_queue), (signals, signal_queue)) =
            (unbounded(), unbounded(), unbounded());
        let connections = (0..CONNECTIONS).map(|_| connect(path)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        files.check().map_err(StoreError::unavailable)?;
        let start = |connection: Connection| {
            let (short, long) = (short_queue.clone(), long_queue.clone());
            let (signals, files) = (signal_queue.clone(), files.clone());
            let thread = thread::Builder::new().name("reader".to_owned());
            let work = move || {
                work(connection, &signals, &short, &long);
                // The lock on the files outlives the connection.
                drop(files);
            };
            thread.spawn(work).map_err(StoreError::unavailable)
        };
        let threads = connections.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self { currency, pool: RwLock::new(Some(Pool { short, long, signals, threads })) })
    }

    /// Runs `read` on one of the connections.
    async fn run<T: Send + 'static>(
        &self,
        length: Length,
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
        self.send(length, job).ok_or_else(|| StoreError::unavailable("the database is closed"))?;
        answer.await.unwrap_or_else(|_| Err(StoreError::unavailable("a read panicked")))
    }

    /// Queues a job; `None` if the connections are closed.
    fn send(&self, length: Length, job: Job) -> Option<()> {
        let pool = self.pool.read().expect("nothing panics while it holds the pool");
        let Pool { short, long, signals, .. } = pool.as_ref()?;
        let queue = match length {
            Length::Short => short,
            Length::Long => long,
        };
        queue.send(job).ok()?;
        signals.send(()).ok()
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

/// Runs a job for each signal, the short ones first, until there will be no more.
fn work(connection: Connection, signals: &Receiver<()>, short: &Receiver<Job>, long: &Receiver<Job>) {
    for () in signals {
        let job = short.try_recv().or_else(|_| long.try_recv()).expect("a job was sent before its signal");
        // Its caller learns of the panic because the reply is dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| job(&connection)));
    }
    drop(connection);
}

#[async_trait]
impl Reader for SqliteReader {
    async fn wallet(&self, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError> {
        let length = if at.is_none() { Length::Short } else { Length::Long };
        self.run(length, move |connection| wallet(connection, user_id, at)).await
    }

    async fn entries(
        &self,
        user_id: UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        self.run(Length::Long, move |connection| entries(connection, user_id, before, limit)).await
    }

    async fn event(&self, event: EventKey) -> Result<Option<Vec<Entry>>, StoreError> {
        self.run(Length::Short, move |connection| self::event(connection, event)).await
    }

    async fn scan(
        &self,
        _: Shard,
        after: EntryId,
        filter: &EntryFilter,
        limits: ScanLimits,
    ) -> Result<Scan, StoreError> {
        let filter = filter.clone();
        self.run(Length::Long, move |connection| scan(connection, after, &filter, limits)).await
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        let head = self.run(Length::Short, |connection| query(connection, SELECT_HEAD, [], row::commit)).await?;
        Ok(Heads::new(vec![head.unwrap_or_else(|| Genesis::new(self.currency).commit(Shard::FIRST))]))
    }

    async fn close(&self) {
        let pool = self.pool.write().expect("nothing panics while it holds the pool").take();
        let Some(Pool { signals, threads, .. }) = pool else { return };
        drop(signals);
        let ended = tokio::task::spawn_blocking(|| threads.into_iter().try_for_each(JoinHandle::join));
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::error!("a reader thread did not end in order");
        }
    }
}

fn wallet(connection: &Connection, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError> {
    let found = query(connection, SELECT_WALLET, [user_id.get()], |row| {
        let state = row::wallet_state(row, 1, user_id)?;
        let created_at = Timestamp::from_microseconds(row.get(5).map_err(failed)?);
        Ok((row::wallet_id(row, 0, user_id)?, created_at, state))
    })?;
    let Some((wallet_id, created_at, state)) = found else { return Ok(None) };
    let WalletState { balance, sequence, last_entry_id, frozen } = state;
    let wallet = Wallet { user_id, wallet_id, balance, sequence, created_at, frozen };
    let Some(at) = at else { return Ok(Some(wallet)) };
    if at < created_at {
        return Ok(None);
    }
    let Some(entry) = history::entry_at(connection, user_id, last_entry_id, at)? else { return Ok(None) };
    let frozen = history::was_frozen(connection, user_id, entry.entry_id)?;
    Ok(Some(Wallet { balance: entry.balance_after, sequence: entry.sequence, frozen, ..wallet }))
}

fn event(connection: &Connection, event: EventKey) -> Result<Option<Vec<Entry>>, StoreError> {
    let EventKey { event_id, user_id } = event;
    let entries = query_all(connection, SELECT_EVENT, [event_id.get(), user_id.get()], row::entry)?;
    if entries.is_empty() && query(connection, SELECT_LAST_ENTRY, [user_id.get()], |_| Ok(()))?.is_none() {
        return Ok(None);
    }
    Ok(Some(entries))
}

fn entries(
    connection: &Connection,
    user_id: UserId,
    before: Option<EntryId>,
    limit: usize,
) -> Result<Option<Vec<Entry>>, StoreError> {
    let newest = query(connection, SELECT_LAST_ENTRY, [user_id.get()], |row| row.get(0).map_err(failed))?;
    let Some(newest) = newest.and_then(EntryId::new) else { return Ok(None) };
    history::page(connection, user_id, newest, before, limit).map(Some)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, mpsc};

    use futures::FutureExt as _;

    use super::super::files::FileLock;
    use super::super::open;
    use super::super::writer::SqliteWriter;
    use super::*;
    use crate::store::StoreOptions;

    /// The reads of a new ledger, with every connection occupied until what is returned second is dropped.
    async fn occupied(path: &Path) -> (Arc<SqliteReader>, Vec<mpsc::Sender<()>>) {
        let currency = "EUR".parse().unwrap();
        let lock = FileLock::take(path).unwrap();
        open::prepare(path, StoreOptions::new(currency)).await.unwrap();
        let writer = SqliteWriter::open(path, StoreOptions::new(currency), lock).unwrap();
        let reader = Arc::new(SqliteReader::open(path, currency, writer.files()).unwrap());
        let started = Arc::new(AtomicUsize::new(0));
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            let (release, released) = mpsc::channel::<()>();
            let (reader, started) = (Arc::clone(&reader), Arc::clone(&started));
            tokio::spawn(async move {
                let occupy = move |_: &Connection| {
                    started.fetch_add(1, Ordering::Relaxed);
                    let _ = released.recv();
                    Ok(())
                };
                reader.run(Length::Long, occupy).await
            });
            held.push(release);
        }
        while started.load(Ordering::Relaxed) < CONNECTIONS {
            tokio::task::yield_now().await;
        }
        (reader, held)
    }

    #[tokio::test]
    async fn a_read_whose_caller_hung_up_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let (reader, held) = occupied(&dir.path().join("wallet.db")).await;
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let mut hung_up = Box::pin(reader.run(Length::Long, move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }));
        assert!(hung_up.as_mut().now_or_never().is_none());
        drop((hung_up, held));
        reader.run(Length::Long, |_| Ok(())).await.unwrap();
        reader.close().await;
        assert_eq!(made.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_short_read_does_not_wait_for_long_ones_that_wait() {
        let dir = tempfile::tempdir().unwrap();
        let (reader, mut held) = occupied(&dir.path().join("wallet.db")).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let order = Arc::clone(&order);
            move |_: &Connection| {
                order.lock().unwrap().push(name);
                Ok(())
            }
        };
        let long = (0..3).map(|_| reader.run(Length::Long, note("long")));
        let mut long = Box::pin(futures::future::join_all(long));
        assert!(long.as_mut().now_or_never().is_none());
        let mut short = Box::pin(reader.run(Length::Short, note("short")));
        assert!(short.as_mut().now_or_never().is_none());
        // One connection becomes free.
        held.pop();
        short.await.unwrap();
        long.await;
        assert_eq!(*order.lock().unwrap(), ["short", "long", "long", "long"]);
        drop(held);
        reader.close().await;
    }
}
