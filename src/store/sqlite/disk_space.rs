//! Whether the disk has room.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::open::sibling;

/// More than the largest batch writes.
const ROOM: usize = 4 * 1024 * 1024;

/// Fails unless there is room beside the database for a whole batch.
///
/// A small commit may find a place on a disk that is full, in what the one before it left behind: a store that took that
/// for room would be up and down by turns. To write is the one question that quotas and every file system answer alike.
pub(super) fn check(database: &Path) -> io::Result<()> {
    let path = sibling(database, "-room");
    let mut file = File::create(&path)?;
    // It has no name from here on, so that not even a crash leaves it lying about.
    fs::remove_file(&path)?;
    let chunk = vec![0x5a; 64 * 1024];
    (0..ROOM / chunk.len()).try_for_each(|_| file.write_all(&chunk))
}
