//! The one connection that writes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::disk_space;
use super::immediate::Immediate;
use super::memory::Memory;
use super::open::FileLock;
use super::row::{self, entry_columns, entry_row};
use super::wal::rewrite_wal;
use crate::ledger::{Action, Book, Changes, Command, Commit, Entry, EventId, Outcome, Timestamp, UserId, WalletState};
use crate::store::{StoreError, Writer};

/// How long one attempt waits for another process's lock. The engine tries again for as long as its commands may wait.
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// WAL pages between checkpoints. The default of 1000 writes a large table's scattered pages far too often.
///
/// The writer makes them itself. A connection beside it that copies while commits go on marks pages as copied that nobody
/// has synced yet (SQLite syncs the database only when it has copied everything): if that sync fails later, they are lost.
const WAL_AUTOCHECKPOINT: i64 = 20_000;

/// What the connection caches, in KiB.
const CACHE_KIB: i64 = 32 * 1024;

const SELECT_WALLET: &str = "select balance, sequence, last_entry_id from wallet where user_id = ?1";
const SELECT_WALLET_ID: &str = "select wallet_id from user where user_id = ?1";
const SELECT_ENTRIES: &str = concat!("select ", entry_columns!(), " from entry where event_id = ?1 and user_id = ?2");
const INSERT_ENTRY: &str =
    concat!("insert into entry (", entry_columns!(), ") values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
const INSERT_USER: &str = "insert into user (user_id, wallet_id, created_at) values (?1, ?2, ?3)";
const INSERT_WALLET: &str = "insert into wallet (user_id, balance, sequence, last_entry_id) values (?1, ?2, ?3, ?4)";
const UPDATE_WALLET: &str = "update wallet set balance = ?2, sequence = ?3, last_entry_id = ?4 where user_id = ?1";
const INSERT_COMMIT: &str =
    "insert into ledger_commit (commit_id, last_entry_id, hash, created_at) values (?1, ?2, ?3, ?4)";

/// Changes nothing, but writes a page, so that its commit is one like any other.
const TOUCH_SETTING: &str = "update setting set value = value";

pub(super) struct SqliteWriter {
    path: PathBuf,
    /// `None` after a failure: what the session believes is then not to be trusted, so the next batch opens another.
    session: Option<Session>,
    _lock: FileLock,
}

/// A connection, and what is remembered of what it saw.
struct Session {
    connection: Connection,
    memory: Option<Memory>,
}

impl SqliteWriter {
    pub(super) fn open(path: &Path, lock: FileLock) -> Result<Self, StoreError> {
        let session = Some(Session::open(path)?);
        Ok(Self { path: path.to_owned(), session, _lock: lock })
    }

    /// Runs `work` in the session, which is kept only if that succeeds, or if nothing was done: the lock was not to be
    /// had, or a row that was read is corrupt. A panic unwinds through here, and drops it too.
    fn in_session<T>(&mut self, work: impl FnOnce(&mut Session) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut session = self.session.take().map_or_else(|| Session::reopen(&self.path), Ok)?;
        let result = work(&mut session);
        if matches!(result, Ok(_) | Err(StoreError::Locked | StoreError::Corrupt { .. })) {
            self.session = Some(session);
        }
        result
    }
}

impl Writer for SqliteWriter {
    fn transact(&mut self, batch: &[Command], now: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        self.in_session(|session| session.transact(batch, now))
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.in_session(|session| {
            let tx = Immediate::begin(&mut session.connection).map_err(failed)?;
            tx.prepare_cached(TOUCH_SETTING).and_then(|mut touch| touch.execute([])).map_err(failed)?;
            tx.commit().map_err(failed)
        })
    }
}

impl Session {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = connect(path).map_err(failed)?;
        let locked = Immediate::begin(&mut connection).map_err(failed)?;
        rewrite_wal(path).map_err(StoreError::unavailable)?;
        drop(locked);
        Ok(Self { connection, memory: None })
    }

    /// Opens the database again after a failure, if there is a chance that a batch can be committed.
    fn reopen(path: &Path) -> Result<Self, StoreError> {
        disk_space::check(path).map_err(StoreError::unavailable)?;
        Self::open(path)
    }

    fn transact(&mut self, batch: &[Command], now: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        let tx = Immediate::begin(&mut self.connection).map_err(failed)?;
        let mut memory = Memory::of(&tx, self.memory.take())?;
        let mut book = Book::new(memory.head(), now);
        lay_in(&tx, &memory, &mut book, batch)?;
        let outcomes = batch.iter().map(|command| book.decide(command)).collect();
        let changes = book.changes();
        if changes.commit.is_some() {
            write(&tx, &changes)?;
            tx.commit().map_err(failed)?;
            memory.learn(&changes);
        }
        self.memory = Some(memory);
        Ok(outcomes)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_AUTOCHECKPOINT)?;
    Ok(connection)
}

/// Lays in everything that deciding `batch` needs.
fn lay_in(tx: &Connection, memory: &Memory, book: &mut Book, batch: &[Command]) -> Result<(), StoreError> {
    let mut select_wallet = tx.prepare_cached(SELECT_WALLET).map_err(failed)?;
    let mut select_entries = tx.prepare_cached(SELECT_ENTRIES).map_err(failed)?;
    for Command { user_id, event_id, action } in batch.iter().copied() {
        if !book.has_wallet(user_id) {
            let state = match memory.state(user_id) {
                Some(state) => Some(state),
                None => wallet_state(&mut select_wallet, user_id)?,
            };
            book.lay_in_wallet(user_id, state);
        }
        if !memory.is_new(event_id) {
            lay_in_entries(&mut select_entries, book, user_id, event_id)?;
        }
        if matches!(action, Action::Open { .. }) {
            lay_in_wallet_id(tx, book, user_id)?;
        }
    }
    Ok(())
}

fn wallet_state(select: &mut CachedStatement<'_>, user_id: UserId) -> Result<Option<WalletState>, StoreError> {
    let user_id = user_id.get();
    let found = select.query_row([user_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional();
    found.map_err(failed)?.map(|columns| row::state(user_id, columns)).transpose()
}

fn lay_in_entries(
    select: &mut CachedStatement<'_>,
    book: &mut Book,
    user_id: UserId,
    event_id: EventId,
) -> Result<(), StoreError> {
    let mut rows = select.query(params![event_id.get(), user_id.get()]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        book.lay_in_entry(row::entry(entry_row(row).map_err(failed)?)?);
    }
    Ok(())
}

fn lay_in_wallet_id(tx: &Connection, book: &mut Book, user_id: UserId) -> Result<(), StoreError> {
    let mut select = tx.prepare_cached(SELECT_WALLET_ID).map_err(failed)?;
    let bytes: Option<Vec<u8>> = select.query_row([user_id.get()], |row| row.get(0)).optional().map_err(failed)?;
    if let Some(bytes) = bytes {
        book.lay_in_wallet_id(user_id, row::wallet_id(user_id.get(), &bytes)?);
    }
    Ok(())
}

fn write(tx: &Connection, changes: &Changes) -> Result<(), StoreError> {
    let Changes { entries, opened, updated, commit } = changes;
    insert_entries(tx, entries).map_err(failed)?;
    let written = || -> rusqlite::Result<()> {
        for (user_id, wallet_id, state) in opened {
            let created_at = commit.map_or(0, |commit| commit.created_at.microseconds());
            tx.prepare_cached(INSERT_USER)?.execute(params![user_id.get(), wallet_id.as_bytes(), created_at])?;
            let WalletState { balance, sequence, last_entry_id } = state;
            let wallet = params![user_id.get(), balance.minor(), sequence, last_entry_id.get()];
            tx.prepare_cached(INSERT_WALLET)?.execute(wallet)?;
        }
        let mut update = tx.prepare_cached(UPDATE_WALLET)?;
        for (user_id, WalletState { balance, sequence, last_entry_id }) in updated {
            let updated = update.execute(params![user_id.get(), balance.minor(), sequence, last_entry_id.get()])?;
            assert_eq!(updated, 1, "the wallet of user {user_id} was there when the transaction began");
        }
        if let Some(Commit { commit_id, last_entry_id, hash, created_at }) = commit {
            let row = params![commit_id, last_entry_id.get(), hash.0, created_at.microseconds()];
            tx.prepare_cached(INSERT_COMMIT)?.execute(row)?;
        }
        Ok(())
    };
    written().map_err(failed)
}

fn insert_entries(tx: &Connection, entries: &[Entry]) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(INSERT_ENTRY)?;
    for entry in entries {
        insert.execute(params![
            entry.entry_id.get(),
            entry.user_id.get(),
            entry.sequence,
            entry.kind.code(),
            entry.event_id.get(),
            entry.amount.minor(),
            entry.balance_after.minor(),
            entry.previous_entry_id.map(crate::ledger::EntryId::get),
            entry.created_at.microseconds(),
        ])?;
    }
    Ok(())
}

/// What SQLite says, in the store's words.
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked,
        // Every constraint is also a rule of the ledger: a row that breaks one stands on a row that is wrong.
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
            StoreError::Corrupt { table: "entry", column: "*", row: 0, found: error.to_string() }
        }
        _ => StoreError::unavailable(error),
    }
}
