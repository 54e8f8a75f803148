//! Whether the disk has space.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::open::sibling;
use crate::store::private_file;

/// More than a batch of the default size writes, in bytes.
pub(super) const BATCH: usize = 64 * CHUNK;

/// What shows that something can be written at all, in bytes.
pub(super) const CHUNK: usize = 64 * 1024;

/// Fails unless the database's folder has space for so many bytes.
///
/// A small commit may find space on a full disk, in what the one before it left. If that counted as success, health
/// would flap. Writing is the one test that quotas and every file system answer alike.
pub(super) fn check(database: &Path, size: usize) -> io::Result<()> {
    let path = sibling(database, "-space");
    let mut file = private_file::open(&path)?;
    // A crash between these lines may have left one behind.
    file.set_len(0)?;
    // It has no name from here on, so that not even a crash leaves it behind.
    fs::remove_file(&path)?;
    let chunk = vec![0x5a; CHUNK];
    (0..size / CHUNK).try_for_each(|_| file.write_all(&chunk))
}
