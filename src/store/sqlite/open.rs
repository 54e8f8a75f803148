//! Decides whether a file may be served, and makes it ready.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection as RawConnection, ErrorCode, OpenFlags};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::APPLICATION_ID;
use crate::ledger::Currency;
use crate::store::{MARK_COPY, SELECT_COPY_MARK, StoreError, StoreOptions, copy_is_not_whole, private_file};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Small pages write less for a commit that touches few rows of each; measured against 4096 bytes.
const PAGE_SIZE: u32 = 1024;

/// How long to wait at start for another process's lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Refuses a path that leads to a folder: SQLite would only say that it cannot open it.
pub(super) fn refuse_folder(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Err(StoreError::Incompatible(format!("{} is a folder, not a database file", path.display())));
    }
    Ok(())
}

/// Resolves links, also of a file that does not exist yet, so that all paths to it lead to one lock.
pub(super) fn canonical_path(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let missing = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(missing).unwrap_or_else(|| path.to_owned())
}

/// Makes the file if it is missing, and its tables what this program expects.
pub(super) async fn prepare(path: &Path, store: StoreOptions) -> Result<(), StoreError> {
    let new = is_new(path)?;
    if new {
        // SQLite would make it readable for all. It gives the WAL and its index the mode that the database has.
        private_file::open(path).map_err(|error| cannot_open(path, &error))?;
    }
    let mut options = SqliteConnectOptions::new()
        .filename(path)
        .page_size(PAGE_SIZE)
        .busy_timeout(LOCK_TIMEOUT)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    if new {
        options = options.pragma("application_id", APPLICATION_ID.to_string());
    }
    let mut connection =
        options.disable_statement_logging().connect().await.map_err(|error| cannot_open(path, &error))?;
    let prepared = prepare_tables(&mut connection, path, store).await;
    let closed = connection.close().await.map_err(StoreError::unavailable);
    prepared.and(closed)
}

/// Brings the tables up to date, and stores the currency at the first start. A ledger in another currency is refused
/// before that.
async fn prepare_tables(
    connection: &mut sqlx::SqliteConnection,
    path: &Path,
    StoreOptions { currency, is_copy, .. }: StoreOptions,
) -> Result<(), StoreError> {
    let stored = stored_currency(connection).await.map_err(|error| cannot_open(path, &error))?;
    if let Some(stored) = stored.as_ref().filter(|stored| *stored != currency.code()) {
        let shown = path.display();
        return Err(StoreError::Incompatible(format!("the database {shown} is in {stored}, not in {currency}")));
    }
    if stored.is_some() && !is_copy {
        let marked = sqlx::query_scalar::<_, i64>(SELECT_COPY_MARK).fetch_one(&mut *connection).await;
        if marked.map_err(|error| cannot_open(path, &error))? > 0 {
            return Err(copy_is_not_whole(path.display()));
        }
    }
    MIGRATIONS.run(&mut *connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => {
            StoreError::Incompatible(format!(
                "the database {} was made by another version of the wallet (migration {version} is not known here)",
                path.display()
            ))
        }
        error => cannot_open(path, &error),
    })?;
    let is_new_copy = is_copy && stored.is_none();
    found(connection, currency, is_new_copy).await.map_err(|error| cannot_open(path, &error))
}

/// Writes down what is decided, if nothing is yet. A copy is not whole from its beginning.
async fn found(
    connection: &mut sqlx::SqliteConnection,
    currency: Currency,
    is_new_copy: bool,
) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    let insert = "insert into setting (name, value) values ('currency', ?1) on conflict (name) do nothing";
    sqlx::query(insert).bind(currency.code()).execute(&mut *tx).await?;
    if is_new_copy {
        sqlx::query(MARK_COPY).execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// The currency of the ledger; `None` if it has none yet.
async fn stored_currency(connection: &mut sqlx::SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    let table = "select count(*) from sqlite_schema where type = 'table' and name = 'setting'";
    if sqlx::query_scalar::<_, i64>(table).fetch_one(&mut *connection).await? == 0 {
        return Ok(None);
    }
    sqlx::query_scalar("select value from setting where name = 'currency'").fetch_optional(connection).await
}

/// Opens the database at `path` to read it, also where nothing can be written.
///
/// # Errors
/// [`StoreError::Incompatible`] if it cannot be read, [`StoreError::Corrupt`] if it is damaged.
pub(super) fn open_to_read(path: &Path) -> Result<RawConnection, StoreError> {
    refuse_folder(path)?;
    // One thread at a time uses a connection. A lock at each value that is read would cost a quarter of an audit.
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = RawConnection::open_with_flags(path, read_only).map_err(unreadable(path))?;
    let first = connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(()));
    match first.map_err(|error| (error.sqlite_error_code(), error)) {
        Ok(()) => return Ok(connection),
        // SQLite makes an index of the WAL beside the database, even to read it.
        Err((Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen), _)) if path.exists() => (),
        Err((_, error)) => return Err(unreadable(path)(error)),
    }
    let (shown, wal) = (path.display(), sibling(path, "-wal"));
    if size(&wal) > 0 {
        return Err(StoreError::Incompatible(format!(
            "cannot read the database {shown} where nothing can be written, because it has a WAL: copy it and {} to a \
             folder that can be written, and read the copy",
            wal.display()
        )));
    }
    // Nobody can write to it meanwhile: then SQLite needs no index, and takes no lock.
    let name = shown.to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = read_only | OpenFlags::SQLITE_OPEN_URI;
    RawConnection::open_with_flags(format!("file:{name}?immutable=1"), flags).map_err(unreadable(path))
}

/// Why a database cannot be read.
pub(super) fn unreadable(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => {
            StoreError::Corrupt { table: "sqlite_schema", column: "*", row: 0, found: error.to_string() }
        }
        _ => StoreError::Incompatible(format!("cannot read the database {}: {error}", path.display())),
    }
}

/// Whether there is nothing in the file yet. Does not change it.
fn is_new(path: &Path) -> Result<bool, StoreError> {
    let length = size(path);
    let wal_length = size(&sibling(path, "-wal"));
    if length == 0 && wal_length > 0 {
        // SQLite would take it for a new database, and delete the WAL.
        return Err(StoreError::Incompatible(format!("the database {} is empty, but its WAL is not", path.display())));
    }
    if !path.exists() {
        return Ok(true);
    }
    if length > 0 && !has_sqlite_magic(path) {
        return Err(StoreError::Incompatible(format!("{} is not a wallet's database", path.display())));
    }
    let look = || -> rusqlite::Result<(i64, bool, u32)> {
        let connection = RawConnection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(LOCK_TIMEOUT)?;
        let tables = connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
        let page_size = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        Ok((tables, is_wallets(&connection)?, page_size))
    };
    match look().map_err(|error| cannot_open(path, &error))? {
        // SQLite detects missing pages, but fills up a partial last page with zeros. With a WAL that is no
        // loss: a checkpoint was cut short, and is done again.
        (_, true, page_size) if wal_length == 0 && !length.is_multiple_of(page_size.into()) => {
            Err(StoreError::Incompatible(format!(
                "the database {} is truncated: its last page is not whole",
                path.display()
            )))
        }
        (_, true, _) => Ok(false),
        (0, false, _) => Ok(true),
        _ => Err(StoreError::Incompatible(format!("{} is not a wallet's database", path.display()))),
    }
}

/// SQLite itself takes a file of a few bytes, or one full of zeros, for a new database, and writes over it.
///
/// The file is opened and closed here while this process has no connection to it, and with it no lock to lose.
fn has_sqlite_magic(path: &Path) -> bool {
    let mut magic = [0; 16];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"SQLite format 3\0"
}

/// Whether a database is marked as a wallet's.
pub(super) fn is_wallets(connection: &RawConnection) -> rusqlite::Result<bool> {
    let application_id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok(application_id == APPLICATION_ID)
}

/// The last migration that was made in the database: a backup may be older than this program.
pub(super) fn schema_version(connection: &RawConnection) -> Result<i64, StoreError> {
    let latest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    let select = "select max(version) from _sqlx_migrations where success";
    // Without that table it is not as any version of this program made it, and whoever reads it names what is missing.
    let found = connection.query_row(select, [], |row| row.get(0)).unwrap_or(None).unwrap_or(latest);
    if found > latest {
        return Err(StoreError::Incompatible(format!("it was made by a newer version (migration {found})")));
    }
    Ok(found)
}

/// The size of a file; 0 if there is none.
fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The file that SQLite, or this program, keeps next to the database.
pub(super) fn sibling(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

pub(super) fn cannot_open(path: &Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::Incompatible(format!("cannot open the database {}: {error}", path.display()))
}
