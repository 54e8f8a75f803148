//! Where a command writes what was asked for: standard output, or a file that appears when it is whole.

use std::io::{self, ErrorKind, StdoutLock, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::{Builder, NamedTempFile};

use super::path::{folder, follow_links, sync_name};
use crate::store::{Location, private_file};

/// Bytes on their way.
pub enum Output {
    Stdout(StdoutLock<'static>),
    File(NewFile),
}

/// Whether whoever reads still wants to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    Listens,
    HungUp,
}

impl Output {
    /// Standard output, or a new file; see [`NewFile::create`].
    pub fn open(file: Option<&Path>, ledger: &Location) -> Result<Self> {
        match file {
            None => Ok(Self::Stdout(io::stdout().lock())),
            Some(path) => {
                ensure!(!ledger.owns(path), "{} belongs to the ledger, and is never overwritten", path.display());
                NewFile::create(path).map(Self::File)
            }
        }
    }

    /// Writes all of `bytes`. A reader of standard output that closes it early is no failure.
    pub fn write(&mut self, bytes: &[u8]) -> Result<Reader> {
        match self {
            Self::Stdout(stdout) => still_read(stdout.write_all(bytes)),
            Self::File(file) => {
                file.partial.write_all(bytes).with_context(|| cannot_write(&file.path))?;
                Ok(Reader::Listens)
            }
        }
    }

    /// Makes what was written final.
    pub fn finish(self) -> Result<Reader> {
        match self {
            Self::Stdout(mut stdout) => still_read(stdout.flush()),
            Self::File(file) => file.finish().map(|()| Reader::Listens),
        }
    }
}

/// Whether what was written to standard output was read.
pub fn still_read(written: io::Result<()>) -> Result<Reader> {
    match written {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::HungUp),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// A file that has another name until it is whole. Dropped before that, it is removed.
pub struct NewFile {
    partial: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// A file that only this user can read. A file at `path` is replaced when this one is whole. A link is followed.
    fn create(path: &Path) -> Result<Self> {
        let path = follow_links(path);
        let is_special = path.metadata().is_ok_and(|found| !found.is_file());
        ensure!(!is_special, "{} is no regular file; write to standard output instead", path.display());
        let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
        let mut prefix = name.to_owned();
        prefix.push(".");
        let mut builder = Builder::new();
        builder.prefix(&prefix).suffix(".partial");
        let partial = builder.make_in(folder(&path), private_file::create_new);
        Ok(Self { partial: partial.with_context(|| cannot_write(&path))?, path })
    }

    fn finish(self) -> Result<()> {
        let Self { partial, path } = self;
        let persist = || {
            partial.as_file().sync_all()?;
            partial.persist(&path)?;
            sync_name(&path)
        };
        persist().with_context(|| cannot_write(&path))
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}
