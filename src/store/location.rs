//! Where a ledger is kept, and what can be done with it as a whole.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::postgres::{self, PostgresUrl};
use super::{BulkReader, Store, StoreError, StoreOptions, sqlite};
use crate::ledger::{Checkpoints, Finding, LedgerReport};

/// Where a ledger is kept, as a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// An SQLite file: `sqlite://wallet.db`, `sqlite:///data/wallet.db`.
    Sqlite(PathBuf),
    /// A PostgreSQL database: `postgres://wallet@db1,db2/ledger`.
    Postgres(PostgresUrl),
}

impl FromStr for Location {
    type Err = StoreError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let incompatible = |why: &str| Err(StoreError::Incompatible(why.to_owned()));
        if PostgresUrl::is_one(url) {
            return url.parse().map(Self::Postgres).map_err(StoreError::Incompatible);
        }
        let Some(path) = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) else {
            return incompatible("it must begin with sqlite:// or postgres://");
        };
        match path {
            "" => incompatible("the path is missing"),
            _ if path.contains(":memory:") => incompatible("money must be on disk"),
            _ if path.contains('?') => incompatible("it takes no parameters"),
            path => Ok(Self::Sqlite(PathBuf::from(path))),
        }
    }
}

/// The URL.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl Location {
    /// What keeps it, in a word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// The file next to the database whose name has this suffix; `None` if the database is no file.
    #[must_use]
    pub fn sibling(&self, suffix: &str) -> Option<PathBuf> {
        match self {
            Self::Sqlite(path) => Some(sqlite::sibling(path, suffix)),
            Self::Postgres(_) => None,
        }
    }

    /// Whether a file is one of the ledger's own, which nothing else must write.
    #[must_use]
    pub fn owns(&self, file: &Path) -> bool {
        match self {
            Self::Sqlite(path) => sqlite::owns(path, file),
            Self::Postgres(_) => false,
        }
    }

    /// Keeps other processes from serving the ledger there until what this returns is dropped, after everything that
    /// has the ledger open. `None` if there is no way to do that, or no ledger.
    ///
    /// # Errors
    /// As [`sqlite::hold`].
    pub fn hold(&self) -> Result<Option<sqlite::Held>, StoreError> {
        match self {
            Self::Sqlite(path) if path.exists() => sqlite::hold(path).map(Some),
            Self::Sqlite(_) | Self::Postgres(_) => Ok(None),
        }
    }

    /// Reserves the database there, to be copied or to be copied into, until what this returns is dropped. `None` if it
    /// is a file, which has a lock of its own.
    ///
    /// # Errors
    /// As [`postgres::reserve`].
    pub fn reserve(&self, is_target: bool) -> Result<Option<postgres::Reserved>, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(url) => postgres::reserve(url, is_target).map(Some),
        }
    }

    /// Opens the ledger there, which is made if it is missing.
    ///
    /// # Errors
    /// As [`sqlite::open`].
    pub async fn open(&self, options: StoreOptions) -> Result<Store, StoreError> {
        match self {
            Self::Sqlite(path) => sqlite::open(path, options).await,
            Self::Postgres(url) => postgres::open(url, options).await,
        }
    }

    /// Verifies the whole ledger there; blocks until that is done. If earlier `checkpoints` are given, the ledger must
    /// still agree with them.
    ///
    /// # Errors
    /// As [`sqlite::audit_in_steps`].
    pub fn audit(
        &self,
        checkpoints: Option<&Checkpoints>,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Result<LedgerReport, Finding>, StoreError> {
        match self {
            Self::Sqlite(path) => {
                let checkpoint = match checkpoints.map(Checkpoints::as_slice) {
                    None => None,
                    Some([only]) => Some(*only),
                    Some(more) => return Err(super::checkpoint_of_other_shards(more.len(), 1)),
                };
                Ok(sqlite::audit_in_steps(path, checkpoint, progress)?.map(LedgerReport::from))
            }
            Self::Postgres(url) => postgres::audit(url, checkpoints, progress),
        }
    }

    /// Opens the ledger there, which may be served meanwhile, to read it as a whole.
    ///
    /// # Errors
    /// As [`sqlite::bulk_reader`], and [`StoreError::Incompatible`] if it is a copy that is not whole.
    pub fn bulk_reader(&self) -> Result<Box<dyn BulkReader>, StoreError> {
        let mut reader = self.copy_reader()?;
        reader.check_whole()?;
        Ok(reader)
    }

    /// The same of a copy that may not be whole.
    ///
    /// # Errors
    /// As [`sqlite::bulk_reader`].
    pub fn copy_reader(&self) -> Result<Box<dyn BulkReader>, StoreError> {
        match self {
            Self::Sqlite(path) => sqlite::bulk_reader(path),
            Self::Postgres(url) => postgres::bulk_reader(url),
        }
    }

    /// Copies the ledger there to a new file, as one moment saw it, while it may be served; blocks until that is done.
    ///
    /// # Errors
    /// As [`sqlite::backup`].
    pub fn backup(
        &self,
        file: &Path,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Result<LedgerReport, Finding>, StoreError> {
        match self {
            Self::Sqlite(path) => Ok(sqlite::backup(path, file, progress)?.map(LedgerReport::from)),
            Self::Postgres(_) => Err(has_its_own_copies()),
        }
    }

    /// Makes the ledger there from a backup; blocks until that is done.
    ///
    /// # Errors
    /// As [`sqlite::restore`].
    pub fn restore(
        &self,
        file: &Path,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Result<LedgerReport, Finding>, StoreError> {
        match self {
            Self::Sqlite(path) => Ok(sqlite::restore(file, path, progress)?.map(LedgerReport::from)),
            Self::Postgres(_) => Err(has_its_own_copies()),
        }
    }
}

/// PostgreSQL copies its databases itself.
fn has_its_own_copies() -> StoreError {
    StoreError::Incompatible(
        "PostgreSQL has its own tools for that, such as pg_dump and pg_basebackup; prove a copy with `wallet verify`"
            .to_owned(),
    )
}

/// How far a copy or an audit of a ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `done` of `of` pages of the database, or entries of the ledger, are copied.
    Copying { done: u64, of: u64 },
    /// `done` of `of` entries are verified. When all are, wallets and file may still be.
    Verifying { done: u64, of: u64 },
}
