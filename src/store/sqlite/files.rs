//! The files of a served ledger: held by one process, and checked to be still where they were opened.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(target_os = "linux")]
use rustix::{
    fd::AsFd,
    fs::{self, AtFlags, StatxFlags},
};
use thiserror::Error;

use super::open::{cannot_open, refuse_folder, sibling};
use crate::store::{StoreError, private_file};

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
        // The database first: who is refused because of that leaves no lock file, which the other would take for its
        // own that was replaced.
        let database = if path.exists() { Some(lock_database(path)?) } else { None };
        let lock_path = sibling(path, "-lock");
        let lock = private_file::open(&lock_path).map_err(|error| not_writable(path, &lock_path, &error))?;
        lock_exclusively(&lock, path)?;
        Ok(Self { lock, database })
    }

    /// Locks the database itself as well, now that there is one: somebody may remove the lock file.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(super) fn hold_database(&mut self, path: &Path) -> Result<(), StoreError> {
        if self.database.is_none() {
            self.database = Some(lock_database(path)?);
        }
        Ok(())
    }
}

/// Why the database, or its lock file, cannot be written: names the user, and the folder unless it is that file alone.
fn not_writable(path: &Path, file: &Path, error: &io::Error) -> StoreError {
    let what = match (error.kind(), file.parent()) {
        (ErrorKind::PermissionDenied, _) if file.exists() => format!("the file {}", file.display()),
        (ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem, Some(folder)) => {
            format!("the folder {}", folder.display())
        }
        _ => return cannot_open(path, error),
    };
    let user = rustix::process::geteuid().as_raw();
    let shown = path.display();
    StoreError::Incompatible(format!("cannot open the database {shown}: user {user} cannot write to {what}: {error}"))
}

/// Opens and locks the database itself.
fn lock_database(path: &Path) -> Result<File, StoreError> {
    let database = File::open(path).map_err(|error| not_writable(path, path, &error))?;
    // Elsewhere this lock would exclude SQLite's own, which are of another kind on Linux alone.
    if cfg!(target_os = "linux") {
        lock_exclusively(&database, path)?;
    }
    Ok(database)
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

/// Warns if others than the owner may read or write a file of the database at `path`. Its operator may mean that, so
/// nothing is changed.
pub(super) fn warn_if_open_to_others(path: &Path) {
    let files = ["", "-wal", "-shm", "-lock"].map(|suffix| sibling(path, suffix));
    let open: Vec<String> = files
        .iter()
        .filter(|file| private_file::is_open_to_others(file))
        .map(|file| file.display().to_string())
        .collect();
    if !open.is_empty() {
        let files = open.join(" ");
        tracing::warn!("others than the owner may read or write the ledger: run `chmod 600 {files}`");
    }
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
    /// The most that the database has measured so far, in bytes: nothing makes it shorter.
    database_size: AtomicU64,
    _lock: FileLock,
}

/// Why nothing must be acknowledged any more: it could be in a file that no path leads to.
#[derive(Debug, Error)]
pub(super) enum Displaced {
    #[error("{} was removed or renamed while it is served; nothing is acknowledged until it is back", .0.display())]
    Missing(PathBuf),
    #[error("{} was replaced while it is served; nothing is acknowledged until the same file is back", .0.display())]
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
        let held = |path: PathBuf, file: &File| look_up_held(file).map(|found| OpenFile::new(path, &found));
        let there = |path: PathBuf| look_up(&path).map(|found| OpenFile::new(path, &found));
        let open = || {
            let database = lock.database.as_ref().expect("it is held");
            io::Result::Ok(Inner {
                database_size: AtomicU64::new(0),
                database: held(path.to_owned(), database)?,
                wal: there(sibling(path, "-wal"))?,
                wal_index: there(sibling(path, "-shm"))?,
                lock: held(sibling(path, "-lock"), &lock.lock)?,
                _lock: lock,
            })
        };
        let files = Self(Arc::new(open().map_err(StoreError::unavailable)?));
        files.check().map_err(StoreError::unavailable)?;
        Ok(files)
    }

    /// Checks that each path still leads to the file that was opened. Returns the size of the WAL, in bytes.
    ///
    /// # Errors
    /// [`Displaced`], which names the file.
    pub(super) fn check(&self) -> Result<u64, Displaced> {
        let Inner { database, wal, wal_index, lock, database_size, .. } = &*self.0;
        let size = database.check()?;
        if size < database_size.fetch_max(size, Ordering::Relaxed) {
            return Err(Displaced::Shortened(database.path.clone()));
        }
        wal_index.check()?;
        lock.check()?;
        wal.check()
    }
}

/// A file, by where it is and which one it is.
struct OpenFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OpenFile {
    const fn new(path: PathBuf, &Found { device, inode, .. }: &Found) -> Self {
        Self { path, device, inode }
    }

    /// Checks that the path leads to this file. Returns the file's size, in bytes.
    fn check(&self) -> Result<u64, Displaced> {
        let path = || self.path.clone();
        let found = look_up(&self.path).map_err(|source| match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Displaced::Missing(path()),
            _ => Displaced::Unknown { path: path(), source },
        })?;
        let is_same = (found.device, found.inode) == (self.device, self.inode);
        if is_same { Ok(found.size) } else { Err(Displaced::Replaced(path())) }
    }
}

/// Which file it is, and its size in bytes.
struct Found {
    device: u64,
    inode: u64,
    size: u64,
}

/// Looks up a file by its path, without asking for its times. Once somebody has asked for them, Linux (from 6.13 on)
/// gives the next write a time that is exact to the nanosecond and has to be written as well: a commit took 200 instead
/// of 136 µs when the WAL's times were asked for after each.
#[cfg(target_os = "linux")]
fn look_up(path: &Path) -> io::Result<Found> {
    statx(fs::CWD, path, AtFlags::empty())
}

#[cfg(target_os = "linux")]
fn look_up_held(file: &File) -> io::Result<Found> {
    statx(file, Path::new(""), AtFlags::EMPTY_PATH)
}

#[cfg(target_os = "linux")]
fn statx(folder: impl AsFd, path: &Path, flags: AtFlags) -> io::Result<Found> {
    let found = fs::statx(folder, path, flags, StatxFlags::INO | StatxFlags::SIZE)?;
    let device = u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor);
    Ok(Found { device, inode: found.stx_ino, size: found.stx_size })
}

#[cfg(not(target_os = "linux"))]
fn look_up(path: &Path) -> io::Result<Found> {
    path.metadata().map(|found| of_metadata(&found))
}

#[cfg(not(target_os = "linux"))]
fn look_up_held(file: &File) -> io::Result<Found> {
    file.metadata().map(|found| of_metadata(&found))
}

#[cfg(not(target_os = "linux"))]
fn of_metadata(found: &std::fs::Metadata) -> Found {
    Found { device: found.dev(), inode: found.ino(), size: found.len() }
}
