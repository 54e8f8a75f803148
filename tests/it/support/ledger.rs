//! Where the ledger of a test is: in a file, or in a PostgreSQL database of its own.
//!
//! The tests run on SQLite. With `WALLET_TEST_STORE=postgres`, those that ask for a [`TestLedger`] run on PostgreSQL.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, raw_sql};
use tempfile::TempDir;
use tokio::runtime;
use wallet::ledger::{Checkpoints, Entry, LedgerReport, Shards};
use wallet::store::{Location, Store, StoreOptions};

use super::postgres::Database;
use super::process::database_url;
use super::store::{self, eur};

/// Which store the tests run on: `sqlite`, or `postgres`.
pub const STORE: &str = "WALLET_TEST_STORE";

/// How many shards a new ledger in PostgreSQL has; one without it.
pub const SHARDS: &str = "WALLET_TEST_SHARDS";

/// What a program can be told to serve: by the URL of the ledger.
pub trait Located {
    fn url(&self) -> String;
}

/// A ledger of a test's own, which is made when it is opened for the first time. Deleted when dropped.
pub enum TestLedger {
    Sqlite { file: PathBuf, _dir: TempDir },
    Postgres(Database),
}

impl TestLedger {
    /// A place for a ledger, in the store that the tests run on.
    ///
    /// # Panics
    /// If they run on PostgreSQL, and it is missing.
    pub fn create() -> Self {
        if is_on_postgres() {
            return Self::Postgres(Database::create("ledger").expect("the tests are to run on PostgreSQL"));
        }
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self::Sqlite { file: dir.path().join("wallet.db"), _dir: dir }
    }

    pub fn location(&self) -> Location {
        self.url().parse().expect("a URL of a ledger")
    }

    /// The SQLite file.
    ///
    /// # Panics
    /// If it is on PostgreSQL.
    pub fn file(&self) -> &Path {
        match self {
            Self::Sqlite { file, .. } => file,
            Self::Postgres(database) => panic!("{} is no file", database.url()),
        }
    }

    /// Opens it in this process, in euros.
    pub async fn open(&self) -> Store {
        let options = StoreOptions { shards: shards(), ..StoreOptions::new(eur()) };
        self.location().open(options).await.expect("the ledger opens")
    }

    /// The whole ledger, as its store has it: shard after shard, each in commit order.
    pub async fn entries(&self) -> Vec<Entry> {
        let store = self.open().await;
        let entries = store::entries(&store).await;
        store::close(store).await;
        entries
    }

    /// Verifies the whole ledger.
    ///
    /// # Panics
    /// With what is wrong with it.
    pub fn audit(&self) -> LedgerReport {
        self.audit_against(None)
    }

    /// Verifies the whole ledger, which must still agree with earlier checkpoints.
    ///
    /// # Panics
    /// With what is wrong with it.
    pub fn audit_against(&self, checkpoints: Option<&Checkpoints>) -> LedgerReport {
        audit(&self.location(), checkpoints)
    }

    /// Holds the write lock, as another process would, until dropped.
    pub fn hold_write_lock(&self) -> WriteLock {
        match self {
            Self::Sqlite { file, .. } => {
                let other = rusqlite::Connection::open(file).expect("the database opens");
                other.busy_timeout(Duration::from_secs(10)).expect("a time-out");
                other.execute_batch("begin immediate").expect("the lock is free");
                WriteLock { _sqlite: Some(other), postgres: None }
            }
            Self::Postgres(database) => {
                let sql = "begin; select shard_id from shard for no key update";
                WriteLock { _sqlite: None, postgres: Some(Held::by(database.url(), sql.to_owned())) }
            }
        }
    }
}

impl Located for TestLedger {
    fn url(&self) -> String {
        match self {
            Self::Sqlite { file, .. } => database_url(file),
            Self::Postgres(database) => database.url(),
        }
    }
}

impl Located for Database {
    fn url(&self) -> String {
        Self::url(self)
    }
}

impl Located for Path {
    fn url(&self) -> String {
        database_url(self)
    }
}

impl Located for PathBuf {
    fn url(&self) -> String {
        database_url(self)
    }
}

/// A URL.
impl Located for str {
    fn url(&self) -> String {
        self.to_owned()
    }
}

/// Whether tests run on PostgreSQL that can run on either store.
pub fn is_on_postgres() -> bool {
    match env::var(STORE).as_deref() {
        Err(_) | Ok("sqlite") => false,
        Ok("postgres") => true,
        Ok(other) => panic!("{STORE} is sqlite or postgres, not {other}"),
    }
}

/// How many shards a new ledger is to have; `None` if nothing is said.
pub fn shards() -> Option<Shards> {
    let count = env::var(SHARDS).ok().filter(|_| is_on_postgres())?;
    Some(count.parse().ok().and_then(Shards::new).unwrap_or_else(|| panic!("{SHARDS}={count}")))
}

/// Verifies the ledger there, on a thread of its own: that blocks.
///
/// # Panics
/// With what is wrong with it.
pub fn audit(location: &Location, checkpoints: Option<&Checkpoints>) -> LedgerReport {
    let verify = || location.audit(checkpoints, &mut |_| ());
    let verified = std::thread::scope(|threads| threads.spawn(verify).join()).expect("no panic");
    let report = verified.unwrap_or_else(|error| panic!("{location}: {error:?}"));
    report.unwrap_or_else(|finding| panic!("{location}: {finding:?}"))
}

/// The write lock of a ledger.
pub struct WriteLock {
    _sqlite: Option<rusqlite::Connection>,
    postgres: Option<Held>,
}

/// A transaction on a thread of its own, for tests that may not block in their runtime.
struct Held {
    release: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Held {
    /// Returns when the statements are done.
    fn by(url: String, sql: String) -> Self {
        let ((held, is_held), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
        let thread = std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let mut connection = runtime.block_on(PgConnection::connect(&url)).expect("a connection");
            runtime.block_on(connection.execute(raw_sql(AssertSqlSafe(sql)))).expect("the lock is free");
            held.send(()).expect("the test waits");
            let _ = released.recv();
            runtime.block_on(connection.close()).expect("it is closed");
        });
        is_held.recv().expect("the lock is held");
        Self { release, thread }
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        let Some(Held { release, thread }) = self.postgres.take() else { return };
        drop(release);
        thread.join().expect("the lock is free again");
    }
}
