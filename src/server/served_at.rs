//! Where a service listens, in a file beside its database: so a health check on the same machine finds it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::{Location, private_file};

const SUFFIX: &str = "-addr";

/// Where a service listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedAt {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    /// The SHA-256 of the certificate that it shows, if it speaks TLS.
    pub certificate: Option<[u8; 32]>,
}

/// The file that says it. Removed when dropped.
pub struct AddrFile {
    path: PathBuf,
    partial: PathBuf,
    /// Locked as long as the service runs: what a killed service leaves behind is not.
    file: File,
}

impl ServedAt {
    /// Writes the file of the service that serves `ledger`; `None` if that is no file, and has nothing beside it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(self, ledger: &Location) -> io::Result<Option<AddrFile>> {
        let Some((path, partial)) = ledger.sibling(SUFFIX).zip(ledger.sibling("-addr.partial")) else {
            return Ok(None);
        };
        let file = self.publish(&path, &partial)?;
        Ok(Some(AddrFile { path, partial, file }))
    }

    /// Puts it in the place of what was there, in one step.
    fn publish(self, path: &Path, partial: &Path) -> io::Result<File> {
        let file = private_file::open(partial)?;
        file.try_lock()?;
        file.set_len(0)?;
        serde_json::to_writer(&file, &self)?;
        fs::rename(partial, path)?;
        Ok(file)
    }

    /// Where the service that serves `ledger` listens; `None` if none is found.
    #[must_use]
    pub fn read(ledger: &Location) -> Option<Self> {
        let file = File::open(ledger.sibling(SUFFIX)?).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => serde_json::from_reader(file).ok(),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }
}

impl AddrFile {
    /// Writes that the service shows another certificate now, for one.
    ///
    /// # Errors
    /// If it cannot be written; it stays as it was.
    pub fn replace(&mut self, served_at: ServedAt) -> io::Result<()> {
        self.file = served_at.publish(&self.path, &self.partial)?;
        Ok(())
    }
}

impl Drop for AddrFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_long_as_the_service_runs() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Location::Sqlite(dir.path().join("wallet.db"));
        assert_eq!(ServedAt::read(&ledger), None);
        let (http, grpc) = (([0, 0, 0, 0], 8080).into(), ([127, 0, 0, 1], 1).into());
        let served_at = ServedAt { http, grpc, certificate: None };
        let mut file = served_at.write(&ledger).unwrap().unwrap();
        assert_eq!(ServedAt::read(&ledger), Some(served_at));
        let renewed = ServedAt { certificate: Some([7; 32]), ..served_at };
        file.replace(renewed).unwrap();
        assert_eq!(ServedAt::read(&ledger), Some(renewed));
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_service_left_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Location::Sqlite(dir.path().join("wallet.db"));
        let (http, grpc) = (([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into());
        let served_at = ServedAt { http, grpc, certificate: None };
        fs::write(ledger.sibling(SUFFIX).unwrap(), serde_json::to_string(&served_at).unwrap()).unwrap();
        assert_eq!(ServedAt::read(&ledger), None);
        let _file = served_at.write(&ledger).unwrap().unwrap();
        assert_eq!(ServedAt::read(&ledger), Some(served_at));
    }
}
