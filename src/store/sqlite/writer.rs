//! The one connection that writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use super::disk_space;
use super::error::failed;
use super::files::{FileLock, OpenFiles};
use super::query::{query, query_all};
use super::row::{self, SELECT_EVENT, SELECT_HEAD};
use super::scan::SELECT_LAST_ENTRY;
use super::wal::{self, Checkpoints, rewrite_wal};
use super::write;
use crate::ledger::{
    Changes, Currency, Entry, EventId, EventKey, Fetched, Genesis, Head, Keys, Shard, UserId, WalletState,
};
use crate::store::{
    MARK_COPY, StoreError, StoreOptions, Transaction, UNMARK_COPY, Version, Writer, WriterCount, WriterCounts,
};

/// How long one attempt waits for another process's lock. The engine tries again for as long as its commands may wait.
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// WAL pages between checkpoints. The default of 1000 writes a large table's scattered pages far too often.
///
/// Only the writer makes checkpoints. Another connection that copied the WAL while commits go on would mark pages as
/// copied that nobody has synced yet (SQLite syncs the database only when it has copied everything). If that sync fails
/// later, they are lost.
const WAL_AUTOCHECKPOINT: i64 = 20_000;

/// What the connection caches, in KiB.
const CACHE_KIB: i64 = 32 * 1024;

const SELECT_WALLET: &str = "select balance, sequence, last_entry_id, frozen from wallet where user_id = ?1";
const SELECT_LAST_EVENT: &str = "select max(event_id) from entry";

/// Changes nothing, but writes a page, so that its commit is one like any other.
const TOUCH_SETTING: &str = "update setting set value = value";

pub(super) struct SqliteWriter {
    path: PathBuf,
    options: StoreOptions,
    /// `None` after a failure: what the connection believes is then not to be trusted, so the next transaction opens
    /// another.
    session: Option<Session>,
    /// How many sessions there were.
    sessions: u64,
    checkpoints: Checkpoints,
    counts: Arc<WriterCounts>,
    /// What is to be done since a file was found not to be where it was opened.
    displaced: Option<Salvage>,
    // Dropped last, after the connection.
    files: OpenFiles,
}

/// Whether what was acknowledged is in the database that is open, and no longer in a WAL that no path may lead to.
#[derive(Clone, Copy)]
enum Salvage {
    /// It is still in the WAL. Whether that was logged.
    Pending {
        logged: bool,
    },
    Done,
}

impl Salvage {
    /// Copies what is in the WAL, if that is still to be done and no transaction is open.
    fn attempt(&mut self, connection: &Connection) {
        if let Self::Pending { logged } = *self
            && connection.is_autocommit()
        {
            *self = if wal::salvage(connection, !logged) { Self::Done } else { Self::Pending { logged: true } };
        }
    }
}

struct Session {
    connection: Connection,
    number: u64,
}

impl SqliteWriter {
    pub(super) fn open(path: &Path, options: StoreOptions, lock: FileLock) -> Result<Self, StoreError> {
        let session = Some(Session { connection: open_connection(path, options)?, number: 0 });
        let checkpoints = Checkpoints::new(options.wal_size_max);
        let files = OpenFiles::new(path, lock)?;
        let (path, counts) = (path.to_owned(), Arc::default());
        Ok(Self { path, options, session, sessions: 1, checkpoints, counts, displaced: None, files })
    }

    /// The files that this writer has open.
    pub(super) const fn files(&self) -> &OpenFiles {
        &self.files
    }

    /// Copies what is in the WAL into the database, once a file was found not to be where it was opened. To be called
    /// until it is done: another process that reads may stand in the way.
    fn salvage(&mut self) {
        if let (Some(salvage), Some(session)) = (&mut self.displaced, &self.session) {
            salvage.attempt(&session.connection);
        }
    }

    fn begin_immediate(&mut self) -> Result<SqliteTransaction<'_>, StoreError> {
        if self.displaced.is_some() {
            self.salvage();
            self.files.check().map_err(StoreError::unavailable)?;
            // They are back. What the connection remembers may not be what is in them now.
            (self.displaced, self.session) = (None, None);
        }
        if self.session.is_none() {
            self.files.check().map_err(StoreError::unavailable)?;
            disk_space::check(&self.path, disk_space::BATCH).map_err(StoreError::unavailable)?;
            let connection = open_connection(&self.path, self.options)?;
            // Whoever exchanged them in the meantime exchanges them no more while the connection is open.
            self.files.check().map_err(StoreError::unavailable)?;
            self.session = Some(Session { connection, number: self.sessions });
            self.sessions += 1;
            self.counts.add(WriterCount::Sessions);
        }
        let mut tx = SqliteTransaction {
            session: &mut self.session,
            currency: self.options.currency,
            number: 0,
            broken: false,
            files: &self.files,
            checkpoints: &mut self.checkpoints,
            displaced: &mut self.displaced,
            counts: &self.counts,
        };
        tx.number = tx.run(|connection| {
            connection.prepare_cached("begin immediate")?.execute([])?;
            connection.prepare_cached("pragma data_version")?.query_row([], |row| row.get(0))
        })?;
        Ok(tx)
    }
}

impl Drop for SqliteWriter {
    /// Tries once more: the readers of this process have ended.
    fn drop(&mut self) {
        self.salvage();
    }
}

impl Writer for SqliteWriter {
    fn begin(&mut self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        Ok(Box::new(self.begin_immediate()?))
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        let mut tx = self.begin_immediate()?;
        tx.check_head()?;
        tx.run(|connection| connection.prepare_cached(TOUCH_SETTING)?.execute([]))?;
        tx.commit_checked()
    }

    fn check(&mut self) -> Result<(), StoreError> {
        let mut tx = self.begin_immediate()?;
        tx.check_head()?;
        let checked = tx.check_files();
        drop(tx);
        self.salvage();
        checked?;
        disk_space::check(&self.path, disk_space::CHUNK).map_err(StoreError::unavailable)
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        let Some(session) = self.session.as_ref().filter(|_| self.checkpoints.is_due()) else { return Ok(()) };
        self.checkpoints.run(&session.connection, LOCK_WAIT).map_err(|error| {
            self.session = None;
            failed(error)
        })
    }

    fn copy(&mut self, commits: &[Changes]) -> Result<(), StoreError> {
        let mut tx = self.begin_immediate()?;
        let follows = commits.first().and_then(|changes| changes.commit).map(|commit| commit.commit_id - 1);
        if follows != Some(tx.head()?.commit.commit_id) {
            return Err(StoreError::Stale);
        }
        tx.run(|connection| commits.iter().try_for_each(|changes| write::changes(connection, changes)))?;
        tx.commit_checked()
    }

    fn mark_copy(&mut self, is_whole: bool) -> Result<(), StoreError> {
        let sql = if is_whole { UNMARK_COPY } else { MARK_COPY };
        let mut tx = self.begin_immediate()?;
        tx.run(|connection| connection.execute(sql, []))?;
        tx.commit_checked()
    }

    fn counts(&self) -> Arc<WriterCounts> {
        Arc::clone(&self.counts)
    }
}

/// Opens a connection, after making the WAL durable.
fn open_connection(path: &Path, options: StoreOptions) -> Result<Connection, StoreError> {
    let connection = connect(path, options).map_err(failed)?;
    connection.execute_batch("begin immediate").map_err(failed)?;
    rewrite_wal(path).map_err(StoreError::unavailable)?;
    connection.execute_batch("rollback").map_err(failed)?;
    Ok(connection)
}

fn connect(path: &Path, options: StoreOptions) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_AUTOCHECKPOINT)?;
    // When the WAL is begun again, what is longer is cut off.
    let size_max = i64::try_from(options.wal_size_max).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "journal_size_limit", size_max, |_| Ok(()))?;
    Ok(connection)
}

/// A transaction that holds the write lock from its beginning. Dropped before it is committed, it is rolled back.
struct SqliteTransaction<'w> {
    /// `Some` until this is dropped, which sets it to `None` if the connection is broken.
    session: &'w mut Option<Session>,
    currency: Currency,
    /// What `pragma data_version` says: it changes when another connection commits.
    number: i64,
    /// Whether the connection is no longer to be trusted.
    broken: bool,
    files: &'w OpenFiles,
    checkpoints: &'w mut Checkpoints,
    displaced: &'w mut Option<Salvage>,
    counts: &'w WriterCounts,
}

impl SqliteTransaction<'_> {
    fn session(&self) -> &Session {
        self.session.as_ref().expect("a transaction has a session until it ends")
    }

    fn run<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.attempt(|connection| work(connection).map_err(failed))
    }

    /// Runs `work`. After a failure the connection is trusted only if nothing was done: the lock could not be taken, or
    /// a row that was read is corrupt, or keeps another from being written. After a panic it is not trusted.
    fn attempt<T>(&mut self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.broken = true;
        let result = work(&self.session().connection);
        self.broken = !matches!(result, Ok(_) | Err(StoreError::Locked | StoreError::Corrupt { .. }));
        result
    }

    /// Commits what was written, and checks that what is acknowledged now can be found again.
    fn commit_checked(&mut self) -> Result<(), StoreError> {
        self.run(|connection| connection.prepare_cached("commit")?.execute([]))?;
        self.check_files()
    }

    /// Checks that the files are where they were opened. If not, what was acknowledged earlier may be in a WAL that no
    /// path leads to: the connection is kept, because it can still copy that into the database, wherever that is now.
    fn check_files(&mut self) -> Result<(), StoreError> {
        match self.files.check() {
            Ok(wal_size) => {
                self.checkpoints.wal_size = wal_size;
                Ok(())
            }
            Err(displaced) => {
                let whole = displaced.leaves_database_whole();
                let mut salvage = if whole { Salvage::Pending { logged: false } } else { Salvage::Done };
                salvage.attempt(&self.session().connection);
                *self.displaced = Some(salvage);
                Err(StoreError::unavailable(displaced))
            }
        }
    }

    /// Checks that the head of the chain is the commit of the last entry: else no batch after it can be written.
    fn check_head(&mut self) -> Result<(), StoreError> {
        let head = self.head()?.commit;
        self.attempt(|connection| {
            let last: i64 = connection.query_row(SELECT_LAST_ENTRY, [], |row| row.get(0)).map_err(failed)?;
            if last == head.last_entry_id.get() {
                return Ok(());
            }
            let found = format!("{}, but the last entry is {last}", head.last_entry_id.get());
            Err(StoreError::Corrupt { table: "ledger_commit", column: "last_entry_id", row: head.commit_id, found })
        })
    }
}

impl Transaction for SqliteTransaction<'_> {
    fn version(&self) -> Version {
        Version { session: self.session().number, number: self.number }
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        let currency = self.currency;
        self.attempt(|connection| {
            let commit = query(connection, SELECT_HEAD, [], row::commit)?;
            let last: Option<i64> = connection.query_row(SELECT_LAST_EVENT, [], |row| row.get(0)).map_err(failed)?;
            let commit = commit.unwrap_or_else(|| Genesis::new(currency).commit(Shard::FIRST));
            Ok(Head { commit, last_event_id: last.and_then(EventId::new) })
        })
    }

    fn fetch(&mut self, keys: &Keys) -> Result<Fetched, StoreError> {
        self.attempt(|connection| {
            let Keys { wallets, events } = keys;
            Ok(Fetched {
                wallets: each(wallets, |user_id| wallet_state(connection, user_id))?,
                events: each(events, |event| entries(connection, event))?,
            })
        })
    }

    fn commit(mut self: Box<Self>, changes: &Changes) -> Result<Version, StoreError> {
        let version = self.version();
        self.run(|connection| write::changes(connection, changes))?;
        self.commit_checked()?;
        self.counts.add(WriterCount::Locked);
        Ok(version)
    }
}

impl Drop for SqliteTransaction<'_> {
    fn drop(&mut self) {
        let connection = &self.session().connection;
        // After a commit, and after a severe error, SQLite has already ended the transaction.
        let ended = self.broken || connection.is_autocommit() || connection.execute_batch("rollback").is_ok();
        if self.broken || !ended {
            *self.session = None;
        }
    }
}

/// What is found for each key.
fn each<K: Copy, V>(keys: &[K], find: impl Fn(K) -> Result<V, StoreError>) -> Result<Vec<(K, V)>, StoreError> {
    keys.iter().map(|key| Ok((*key, find(*key)?))).collect()
}

fn wallet_state(connection: &Connection, user_id: UserId) -> Result<Option<WalletState>, StoreError> {
    query(connection, SELECT_WALLET, params![user_id.get()], |row| row::wallet_state(row, 0, user_id))
}

fn entries(connection: &Connection, event: EventKey) -> Result<Vec<Entry>, StoreError> {
    query_all(connection, SELECT_EVENT, params![event.event_id.get(), event.user_id.get()], row::entry)
}
