//! Whether the disk has space.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::open::sibling;

/// More than a batch of the default size writes, in bytes.
const BATCH_SIZE: usize = 4 * 1024 * 1024;

/// Fails unless the database's folder has space for a whole batch.
///
/// A small commit may find space on a full disk, in what the one before it left. If that counted as success, health
/// would flap. Writing is the one test that quotas and every file system answer alike.
pub(super) fn check(database: &Path) -> io::Result<()> {
    let path = sibling(database, "-space");
    let mut file = File::create(&path)?;
    // It has no name from here on, so that not even a crash leaves it behind.
    fs::remove_file(&path)?;
    let chunk = vec![0x5a; 64 * 1024];
    (0..BATCH_SIZE / chunk.len()).try_for_each(|_| file.write_all(&chunk))
}
