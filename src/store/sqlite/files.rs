//! The files of a served ledger: held by one process, and checked to be still where they were opened.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use super::open::{cannot_open, refuse_folder, sibling};
use crate::store::StoreError;

/// The right to serve a database, held until dropped. It must outlive every connection of this process to the database:
/// to close any descriptor of a file drops the locks that SQLite holds on it (POSIX).
pub(super) struct FileLock {
    lock: File,
    database: Option<File>,
}

impl FileLock {
    /// Takes the lock of the database at `path`, which need not exist yet.
    ///
    /// # Errors
    /// [`StoreError::Incompatible`] if another process serves it, or it cannot be locked.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display();
        refuse_folder(path)?;
        // SQLite names the WAL after the database: under a second name there would be a second WAL.
        if path.metadata().is_ok_and(|file| file.nlink() > 1) {
            return Err(StoreError::Incompatible(format!("the database {shown} has more than one name (hard links)")));
        }
        let lock_path = sibling(path, "-lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| not_writable(path, &lock_path, &error))?;
        lock_exclusively(&lock, path)?;
        let mut taken = Self { lock, database: None };
        if path.exists() {
            taken.hold_database(path)?;
        }
        Ok(taken)
    }

    /// Locks the database itself as well, now that there is one: somebody may remove the lock file.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(super) fn hold_database(&mut self, path: &Path) -> Result<(), StoreError> {
        if self.database.is_none() {
            let database = File::open(path).map_err(|error| cannot_open(path, &error))?;
            // Elsewhere this lock would exclude SQLite's own, which are of another kind on Linux alone.
            if cfg!(target_os = "linux") {
                lock_exclusively(&database, path)?;
            }
            self.database = Some(database);
        }
        Ok(())
    }
}

/// Why the lock file cannot be written: names the user, and the folder unless it is that file alone.
fn not_writable(path: &Path, lock_path: &Path, error: &io::Error) -> StoreError {
    let what = match (error.kind(), lock_path.parent()) {
        (ErrorKind::PermissionDenied, _) if lock_path.exists() => format!("the file {}", lock_path.display()),
        (ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem, Some(folder)) => {
            format!("the folder {}", folder.display())
        }
        _ => return cannot_open(path, error),
    };
    let user = rustix::process::geteuid().as_raw();
    let shown = path.display();
    StoreError::Incompatible(format!("cannot open the database {shown}: user {user} cannot write to {what}: {error}"))
}

fn lock_exclusively(file: &File, database: &Path) -> Result<(), StoreError> {
    let shown = database.display();
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            StoreError::Incompatible(format!("the database {shown} is served by another process"))
        }
        TryLockError::Error(error) => StoreError::Incompatible(format!("cannot lock the database {shown}: {error}")),
    })
}

/// The files of the database while it is open. Cheap to clone.
#[derive(Clone)]
pub(super) struct OpenFiles(Arc<Inner>);

struct Inner {
    database: OpenFile,
    /// The WAL, the WAL's index and the lock file: without one of them another process would not notice this one.
    wal: OpenFile,
    wal_index: OpenFile,
    lock: OpenFile,
    /// The most that the database has measured, in bytes: nothing makes it shorter.
    database_size: AtomicU64,
    _lock: FileLock,
}

/// Why nothing must be acknowledged any more: it could be in a file that no path leads to.
#[derive(Debug, Error)]
pub(super) enum Displaced {
    #[error("{} was removed or renamed while it is served; put the same file back", .0.display())]
    Missing(PathBuf),
    #[error("{} was replaced by another file while it is served; put the same file back", .0.display())]
    Replaced(PathBuf),
    #[error("{} was overwritten or cut short while it is served", .0.display())]
    Shortened(PathBuf),
    #[error("cannot look up {}", path.display())]
    Unknown { path: PathBuf, source: io::Error },
}

impl Displaced {
    /// Whether the database that is open is still what this process made it.
    pub(super) const fn leaves_database_whole(&self) -> bool {
        match self {
            Self::Missing(_) | Self::Replaced(_) | Self::Unknown { .. } => true,
            Self::Shortened(_) => false,
        }
    }
}

impl OpenFiles {
    /// Remembers the files of the database at `path`, which a connection has open.
    ///
    /// # Errors
    /// [`StoreError`] if one of them is missing.
    pub(super) fn new(path: &Path, mut lock: FileLock) -> Result<Self, StoreError> {
        lock.hold_database(path)?;
        let held = |file: &File| file.metadata().map_err(StoreError::unavailable);
        let found = |path: PathBuf| OpenFile::find(path).map_err(StoreError::unavailable);
        let database = held(lock.database.as_ref().expect("it is held"))?;
        let files = Self(Arc::new(Inner {
            database_size: AtomicU64::new(database.len()),
            database: OpenFile::new(path.to_owned(), &database),
            wal: found(sibling(path, "-wal"))?,
            wal_index: found(sibling(path, "-shm"))?,
            lock: OpenFile::new(sibling(path, "-lock"), &held(&lock.lock)?),
            _lock: lock,
        }));
        files.check().map_err(StoreError::unavailable)?;
        Ok(files)
    }

    /// Checks that each path still leads to the file that was opened. Returns the size of the WAL, in bytes.
    ///
    /// # Errors
    /// [`Displaced`], which names the file.
    pub(super) fn check(&self) -> Result<u64, Displaced> {
        let Inner { database, wal, wal_index, lock, database_size, .. } = &*self.0;
        let size = database.check()?.len();
        if size < database_size.fetch_max(size, Ordering::Relaxed) {
            return Err(Displaced::Shortened(database.path.clone()));
        }
        wal_index.check()?;
        lock.check()?;
        Ok(wal.check()?.len())
    }
}

/// A file, by where it is and which one it is.
struct OpenFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OpenFile {
    fn new(path: PathBuf, found: &Metadata) -> Self {
        Self { path, device: found.dev(), inode: found.ino() }
    }

    fn find(path: PathBuf) -> io::Result<Self> {
        let found = fs::metadata(&path)?;
        Ok(Self::new(path, &found))
    }

    fn check(&self) -> Result<Metadata, Displaced> {
        let path = || self.path.clone();
        let found = fs::metadata(&self.path).map_err(|source| match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Displaced::Missing(path()),
            _ => Displaced::Unknown { path: path(), source },
        })?;
        if (found.dev(), found.ino()) == (self.device, self.inode) {
            Ok(found)
        } else {
            Err(Displaced::Replaced(path()))
        }
    }
}
