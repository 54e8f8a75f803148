//! Copies of a ledger. They can be made while it is served. A file under its final name is complete and verified.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::audit::audit_in_steps;
use super::files::FileLock;
use super::open::{canonical_path, is_wallets, open_to_read, sibling, unreadable};
use crate::ledger::{AuditReport, Finding};
use crate::store::{Step, StoreError, private_file};

/// Pages copied between two progress reports.
const PAGES_A_STEP: i32 = 4_096;

/// Copies the ledger at `source`, as it is at one moment, to the new file `target`.
///
/// It blocks. The ledger can be served meanwhile, but its WAL grows until the copy is made.
///
/// # Errors
/// [`StoreError`] if there is such a file already, or the copy cannot be made; else the first [`Finding`] in it. Then
/// there is no file `target`.
pub fn backup(
    source: &Path,
    target: &Path,
    progress: &mut dyn FnMut(Step),
) -> Result<Result<AuditReport, Finding>, StoreError> {
    refuse_existing(target)?;
    copy_verified(source, target, progress)
}

/// Makes the ledger at `target` from the backup `source`.
///
/// # Errors
/// As [`backup`]; and [`StoreError::Incompatible`] if a process serves `target`.
pub fn restore(
    source: &Path,
    target: &Path,
    progress: &mut dyn FnMut(Step),
) -> Result<Result<AuditReport, Finding>, StoreError> {
    // As the service does: SQLite keeps its WAL next to the file that a link leads to.
    let target = &canonical_path(target);
    let _lock = FileLock::take(target)?;
    refuse_existing(target)?;
    copy_verified(source, target, progress)
}

/// Refuses if the database exists, or a file that SQLite would take for a part of it.
fn refuse_existing(target: &Path) -> Result<(), StoreError> {
    for path in ["", "-wal", "-journal"].map(|suffix| sibling(target, suffix)) {
        if path.symlink_metadata().is_ok() {
            return Err(StoreError::Incompatible(format!(
                "{} is there already, and is never overwritten",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Makes the copy under another name, and renames it to `target` when it is complete, verified and on disk.
fn copy_verified(
    source: &Path,
    target: &Path,
    progress: &mut dyn FnMut(Step),
) -> Result<Result<AuditReport, Finding>, StoreError> {
    let partial = Partial(sibling(target, &format!(".{}.partial", std::process::id())));
    let failed = |error: io::Error| StoreError::Incompatible(format!("cannot write {}: {error}", target.display()));
    let new = private_file::create_new(&partial.0).map_err(failed)?;
    drop(new);
    copy(source, &partial.0, progress)?;
    File::open(&partial.0).and_then(|file| file.sync_all()).map_err(failed)?;
    let report = match audit_in_steps(&partial.0, None, progress)? {
        Ok(report) => report,
        finding @ Err(_) => return Ok(finding),
    };
    refuse_existing(target)?;
    fs::rename(&partial.0, target).and_then(|()| sync_folder(target)).map_err(failed)?;
    Ok(Ok(report))
}

/// An unfinished copy. It is removed when dropped, unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_file(sibling(&self.0, "-journal"));
    }
}

fn copy(source: &Path, target: &Path, progress: &mut dyn FnMut(Step)) -> Result<(), StoreError> {
    let unreadable = unreadable(source);
    let unwritable =
        |error: rusqlite::Error| StoreError::Incompatible(format!("cannot write {}: {error}", target.display()));
    let mut from = open_to_read(source)?;
    // In a transaction the copy sees one moment of the ledger. Without one, it would start again at each commit.
    let moment = from.transaction().map_err(&unreadable)?;
    if !is_wallets(&moment).map_err(&unreadable)? {
        return Err(StoreError::Incompatible(format!("{} is not a wallet's database", source.display())));
    }
    let mut to = Connection::open_with_flags(target, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(unwritable)?;
    // An unfinished copy is discarded, so one sync at the end is enough.
    to.execute_batch("pragma synchronous = off; pragma journal_mode = memory").map_err(unwritable)?;
    let backup = Backup::new(&moment, &mut to).map_err(unwritable)?;
    loop {
        let step = backup.step(PAGES_A_STEP).map_err(unwritable)?;
        let pages = backup.progress();
        progress(Step::Copying {
            done: pages.pagecount.abs_diff(pages.remaining).into(),
            of: pages.pagecount.unsigned_abs().into(),
        });
        match step {
            StepResult::Done => break,
            StepResult::More => (),
            other => return Err(StoreError::Incompatible(format!("cannot copy {}: {other:?}", source.display()))),
        }
    }
    drop(backup);
    // The copy is in WAL mode, as the ledger is, and would be up to three files. A backup is one.
    to.execute_batch("pragma journal_mode = delete").map_err(unwritable)?;
    to.close().map_err(|(_, error)| unwritable(error))
}

/// Makes a rename durable.
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
