//! Paths of the files that commands write.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The most links that are followed: as many as Linux does.
const LINKS_MAX: usize = 40;

/// Where the links at `path` lead, also to a file that is not there yet.
pub fn follow_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = fs::read_link(&path) else { break };
        path = folder(&path).join(target);
    }
    path
}

/// The folder of a file.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the name of a new file last, as [`File::sync_all`] does its content.
///
/// # Errors
/// If the folder cannot be synced.
pub fn sync_name(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}
