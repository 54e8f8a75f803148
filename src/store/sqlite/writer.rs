//! The one connection that writes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::open::FileLock;
use super::row::{self, CommitRow, EntryRow, entry_columns};
use crate::ledger::{Action, Book, Changes, Command, Commit, Entry, Outcome, Standing, Timestamp};
use crate::store::{StoreError, Writer};

/// How long one attempt waits for another process's lock. The engine tries again for as long as its commands may wait.
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// WAL pages between checkpoints. The default of 1000 writes a large table's scattered pages far too often.
const WAL_AUTOCHECKPOINT: i64 = 20_000;

/// What the connection caches, in KiB.
const CACHE_KIB: i64 = 32 * 1024;

const SELECT_HEAD: &str = "select commit_id, last_entry_id, hash, created_at from ledger_commit
    order by commit_id desc limit 1";
const SELECT_STANDING: &str = "select balance, sequence, last_entry_id from wallet where user_id = ?1";
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
    /// `None` after a failure: what the connection believes is then not to be trusted, so the next batch opens another.
    connection: Option<Connection>,
    _lock: FileLock,
}

impl SqliteWriter {
    pub(super) fn open(path: &Path, lock: FileLock) -> Result<Self, StoreError> {
        let connection = Some(connect(path)?);
        Ok(Self { path: path.to_owned(), connection, _lock: lock })
    }

    /// Runs `work` on the connection, which is kept only if that succeeds (or the lock was not to be had, which
    /// changes nothing). A panic unwinds through here, and drops it too.
    fn with_connection<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.path)?,
        };
        let result = work(&mut connection);
        if matches!(result, Ok(_) | Err(StoreError::Locked)) {
            self.connection = Some(connection);
        }
        result
    }
}

impl Writer for SqliteWriter {
    fn transact(&mut self, batch: &[Command], now: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        self.with_connection(|connection| {
            let tx = begin(connection)?;
            let mut book = Book::new(select_head(&tx)?, now);
            for command in batch {
                lay_in(&tx, &mut book, command)?;
            }
            let outcomes = batch.iter().map(|command| book.decide(command)).collect();
            let changes = book.changes();
            if changes.commit.is_some() {
                write(&tx, &changes)?;
                tx.commit().map_err(failed)?;
            }
            Ok(outcomes)
        })
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.with_connection(|connection| {
            let tx = begin(connection)?;
            tx.prepare_cached(TOUCH_SETTING).and_then(|mut touch| touch.execute([])).map_err(failed)?;
            tx.commit().map_err(failed)
        })
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let open = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(LOCK_WAIT)?;
        connection.set_prepared_statement_cache_capacity(32);
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", WAL_AUTOCHECKPOINT)?;
        Ok(connection)
    };
    let mut connection = open().map_err(failed)?;
    let locked = begin(&mut connection)?;
    secure_wal(path).map_err(StoreError::unavailable)?;
    locked.rollback().map_err(failed)?;
    Ok(connection)
}

/// Makes what is in the WAL durable, before anything is answered from it. The caller holds the write lock.
///
/// A process that was killed may have left commits there that were never synced. To sync them is not enough: a sync
/// that failed once leaves Linux believing that the pages are written, and the next one succeeds without writing them
/// (<https://wiki.postgresql.org/wiki/Fsync_Errors>). So they are written again.
///
/// SQLite keeps its locks in other files: to open and close this one drops none.
fn secure_wal(database: &Path) -> io::Result<()> {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    let mut wal = match File::options().read(true).write(true).open(&path) {
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

fn begin(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)
}

fn select_head(tx: &Transaction<'_>) -> Result<Commit, StoreError> {
    let read =
        |row: &Row<'_>| -> rusqlite::Result<CommitRow> { Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)) };
    let head = tx.prepare_cached(SELECT_HEAD).and_then(|mut select| select.query_row([], read).optional());
    head.map_err(failed)?.map_or(Ok(Commit::GENESIS), row::commit)
}

/// Lays in everything that deciding `command` needs.
fn lay_in(tx: &Transaction<'_>, book: &mut Book, command: &Command) -> Result<(), StoreError> {
    let user_id = command.user_id;
    if !book.has_wallet(user_id) {
        book.lay_in_wallet(user_id, select_standing(tx, command)?);
    }
    let mut select = tx.prepare_cached(SELECT_ENTRIES).map_err(failed)?;
    let mut rows = select.query(params![command.event_id.get(), user_id.get()]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        book.lay_in_entry(row::entry(entry_row(row).map_err(failed)?)?);
    }
    if matches!(command.action, Action::Open { .. }) {
        let mut select = tx.prepare_cached(SELECT_WALLET_ID).map_err(failed)?;
        let bytes: Option<Vec<u8>> = select.query_row([user_id.get()], |row| row.get(0)).optional().map_err(failed)?;
        if let Some(bytes) = bytes {
            book.lay_in_wallet_id(user_id, row::wallet_id(user_id.get(), &bytes)?);
        }
    }
    Ok(())
}

fn select_standing(tx: &Transaction<'_>, command: &Command) -> Result<Option<Standing>, StoreError> {
    let user_id = command.user_id.get();
    let mut select = tx.prepare_cached(SELECT_STANDING).map_err(failed)?;
    let found = select.query_row([user_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional();
    found.map_err(failed)?.map(|columns| row::standing(user_id, columns)).transpose()
}

pub(super) fn entry_row(row: &Row<'_>) -> rusqlite::Result<EntryRow> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
        row.get(6)?,
        row.get(7)?,
        row.get(8)?,
    ))
}

fn write(tx: &Transaction<'_>, changes: &Changes) -> Result<(), StoreError> {
    let Changes { entries, opened, moved, commit } = changes;
    insert_entries(tx, entries).map_err(failed)?;
    let written = || -> rusqlite::Result<()> {
        for (user_id, wallet_id, standing) in opened {
            let created_at = commit.map_or(0, |commit| commit.created_at.microseconds());
            tx.prepare_cached(INSERT_USER)?.execute(params![user_id.get(), wallet_id.as_bytes(), created_at])?;
            let Standing { balance, sequence, last_entry_id } = standing;
            let wallet = params![user_id.get(), balance.minor(), sequence, last_entry_id.get()];
            tx.prepare_cached(INSERT_WALLET)?.execute(wallet)?;
        }
        let mut update = tx.prepare_cached(UPDATE_WALLET)?;
        for (user_id, Standing { balance, sequence, last_entry_id }) in moved {
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

fn insert_entries(tx: &Transaction<'_>, entries: &[Entry]) -> rusqlite::Result<()> {
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
fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked,
        // Every constraint is also a rule of the ledger: a row that breaks one stands on a row that is wrong.
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
            StoreError::Corrupt { table: "entry", column: "*", row: 0, found: error.to_string() }
        }
        _ => StoreError::unavailable(error),
    }
}
