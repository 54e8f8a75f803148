//! Files that only their owner may read and write: all that the wallet keeps says who has how much money.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// What the owner may do, and nobody else.
const MODE: u32 = 0o600;
/// What others may do: the group, and everybody.
const OTHERS: u32 = 0o077;

/// Opens a file to write it. If it is missing, it is made, and has mode 0600 whatever the umask. A file that exists
/// keeps its mode and its content.
///
/// # Errors
/// If it cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    let is_new = !path.exists();
    let file = File::options().create(true).truncate(false).write(true).mode(MODE).open(path)?;
    if is_new {
        // The umask may have taken from the owner as well.
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}

/// Makes a file that is not there yet, with mode 0600 whatever the umask.
///
/// # Errors
/// If it exists or cannot be made.
pub fn create_new(path: &Path) -> io::Result<File> {
    let file = File::options().create_new(true).write(true).mode(MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    Ok(file)
}

/// Whether others than the owner may read, write or execute a file. `false` if there is none.
#[must_use]
pub fn is_open_to_others(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.mode() & OTHERS != 0)
}
