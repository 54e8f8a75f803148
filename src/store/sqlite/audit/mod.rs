//! Audits a whole ledger, while it may be in use.
//!
//! Three things go on at the same time: SQLite checks the file, the index of the entries' events is summed up, and the
//! entries are read ahead and recomputed in order.
//!
//! Entries and commits are only ever added. So they are read in many short transactions, first up to where the ledger
//! ended at the beginning, then up to where it ends by then. Only the last transaction sees them together with the
//! wallets: it reads the few entries that were added in between, and then compares each wallet. So two transactions
//! last longer than a moment, and keep the WAL from being begun again: SQLite's check of the file, and the last one.

mod commits;
mod events;
mod file;
mod pages;
mod schema;
mod wallets;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use rusqlite::{Connection, ErrorCode};

use self::commits::Commits;
use self::events::Sums;
use self::pages::{Page, Pages, Scope};
use super::error::failed;
use super::open::{is_wallets, open_to_read, schema_version, unreadable};
use crate::ledger::{Audit, AuditReport, Checkpoint, Currency, EntryId, Finding, Genesis, Shard};
use crate::store::{Step, StoreError};

/// The migration that makes the history index.
const HISTORY_INDEX_SINCE: i64 = 2;

/// The migration with which wallets can be frozen.
const FREEZING_SINCE: i64 = 3;

/// The most entries that the last transaction still has to read.
const REST_MAX: i64 = 1_024;

/// Verifies every entry, commit and wallet of the ledger at `path`, as [`audit_in_steps`] does.
///
/// # Errors
/// As [`audit_in_steps`].
pub fn audit(path: &Path, checkpoint: Option<Checkpoint>) -> Result<Result<AuditReport, Finding>, StoreError> {
    audit_in_steps(path, checkpoint, &mut |_| ())
}

/// Verifies every entry, commit and wallet of the ledger at `path`, up to the moment at which its wallets are compared.
///
/// It blocks, for as long as reading the whole file takes. The outer result is the store's, the inner the ledger's. If
/// an earlier `checkpoint` is given, the ledger must still agree with it.
///
/// # Errors
/// [`StoreError`] if the ledger cannot be read; else the first [`Finding`] in the order of the ledger, if any. What is
/// wrong with the file itself comes before that.
pub fn audit_in_steps(
    path: &Path,
    checkpoint: Option<Checkpoint>,
    progress: &mut dyn FnMut(Step),
) -> Result<Result<AuditReport, Finding>, StoreError> {
    let audited = thread::scope(|threads| {
        let mut connection = open_to_read(path)?;
        if !is_wallets(&connection).map_err(unreadable(path))? {
            return Err(StoreError::Incompatible(format!("{} is not a wallet's database", path.display())).into());
        }
        let version = schema_version(&connection)?;
        let file = threads.spawn(|| file::check(path));
        let walked = walk(path, &mut connection, version, checkpoint, progress);
        // A file that is damaged explains whatever else is wrong.
        join(file)?;
        walked
    });
    match audited {
        Ok(report) => Ok(Ok(report)),
        Err(Stop::Finding(finding)) => Ok(Err(finding)),
        Err(Stop::Store(error)) => Err(error),
    }
}

/// Why an audit ends early.
enum Stop {
    Finding(Finding),
    Store(StoreError),
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Finding(finding)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { table: "sqlite_schema", found, .. } => Finding::File { found }.into(),
            StoreError::Unavailable(source) if source.downcast_ref().is_some_and(is_damage) => {
                Finding::File { found: source.to_string() }.into()
            }
            error => Self::Store(error),
        }
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        failed(error).into()
    }
}

/// Whether SQLite cannot read what is in the file.
fn is_damage(error: &rusqlite::Error) -> bool {
    let is_corrupt = error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt);
    is_corrupt || matches!(error, rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::Utf8Error(..))
}

/// What a thread has found.
fn join<T>(thread: ScopedJoinHandle<'_, Result<T, Stop>>) -> Result<T, Stop> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn walk(
    path: &Path,
    connection: &mut Connection,
    version: i64,
    checkpoint: Option<Checkpoint>,
    progress: &mut dyn FnMut(Step),
) -> Result<AuditReport, Stop> {
    schema::check(connection, version)?;
    let sums = Sums::default();
    let scope =
        Scope { has_history_index: version >= HISTORY_INDEX_SINCE, can_freeze: version >= FREEZING_SINCE, sums: &sums };
    let mut walk = Walk::new(path, scope, schema::currency(connection)?, checkpoint);
    walk.with_index(connection, progress)?;
    // By now more may have been added, and while that is read, a little more.
    loop {
        let end = End::of(connection)?;
        if end.entry_id.get() - walk.walked_to().get() <= REST_MAX {
            break;
        }
        walk.ahead(connection, end, progress)?;
    }
    let moment = connection.transaction()?;
    walk.finish(&moment)
}

/// Where a ledger ends.
#[derive(Clone, Copy)]
struct End {
    entry_id: EntryId,
    commit_id: i64,
}

impl End {
    fn of(connection: &Connection) -> Result<Self, Stop> {
        let select = "select (select max(entry_id) from entry), (select max(commit_id) from ledger_commit)";
        let (entry_id, commit_id): (Option<i64>, Option<i64>) =
            connection.query_row(select, [], |row| row.try_into())?;
        let entry_id = entry_id.and_then(EntryId::new).unwrap_or(EntryId::ZERO);
        Ok(Self { entry_id, commit_id: commit_id.unwrap_or_default() })
    }
}

/// An audit, as far as it has come.
struct Walk<'a> {
    path: &'a Path,
    scope: Scope<'a>,
    audit: Audit,
    /// What is walked already; `None` at the very beginning.
    walked: Option<End>,
    /// The sum of all entries so far.
    sum: u64,
    /// How many entries so far the history index must have.
    indexed: i64,
    /// How many entries so far freeze or unfreeze a wallet.
    freezings: i64,
}

impl<'a> Walk<'a> {
    fn new(path: &'a Path, scope: Scope<'a>, currency: Currency, checkpoint: Option<Checkpoint>) -> Self {
        let audit = Audit::new(Genesis::new(currency), Shard::FIRST, checkpoint);
        Self { path, scope, audit, walked: None, sum: 0, indexed: 0, freezings: 0 }
    }

    /// The last entry that is walked already.
    fn walked_to(&self) -> EntryId {
        self.walked.map_or(EntryId::ZERO, |end| end.entry_id)
    }

    /// Walks the ledger as far as it goes now, and compares its entries with the index of their events.
    fn with_index(&mut self, connection: &Connection, progress: &mut dyn FnMut(Step)) -> Result<(), Stop> {
        let (end, sums, path) = (End::of(connection)?, self.scope.sums, self.path);
        let stopped = AtomicBool::new(false);
        thread::scope(|threads| {
            let index = threads.spawn(|| sums.of_index(path, end.entry_id, &stopped));
            let walked = self.ahead(connection, end, progress);
            stopped.store(walked.is_err(), Ordering::Relaxed);
            let of_index = join(index);
            if let Err(stop) = walked {
                // An index that misses an entry explains a rollback that finds none.
                events::check_each(connection)?;
                return Err(stop);
            }
            if of_index? == Some(self.sum) { Ok(()) } else { Err(events::differ(connection)) }
        })
    }

    /// Walks up to `end`, with pages that are read ahead.
    fn ahead(&mut self, connection: &Connection, end: End, progress: &mut dyn FnMut(Step)) -> Result<(), Stop> {
        let (path, scope, after) = (self.path, self.scope, self.walked.map(|end| end.entry_id));
        let of = end.entry_id.get().unsigned_abs();
        progress(Step::Verifying { done: self.walked_to().get().unsigned_abs(), of });
        let mut commits = self.commits(connection, end);
        pages::read_ahead(path, scope, after, end.entry_id, |page| {
            let done = page.entries.last().map_or(of, |last| last.entry_id.get().unsigned_abs());
            self.take(page, &mut commits)?;
            progress(Step::Verifying { done, of });
            Ok(())
        })?;
        self.close(commits, end)
    }

    fn commits<'c>(&self, connection: &'c Connection, end: End) -> Commits<'c> {
        Commits::new(connection, self.walked.map(|end| end.commit_id), end.commit_id)
    }

    /// Recomputes the entries of a page, and the commits that end in it.
    fn take(&mut self, mut page: Page, commits: &mut Commits<'_>) -> Result<(), Stop> {
        for entry in &page.entries {
            let entry_id = entry.entry_id;
            let commit = commits.peek()?.ok_or(Finding::Uncommitted { entry_id })?;
            let undone = entry.kind.undoes().and_then(|_| page.undone.pop_front()).flatten();
            self.audit.entry(entry, undone, commit.form)?;
            if commit.last_entry_id <= entry_id {
                self.audit.commit(&commit)?;
                commits.next()?;
            }
        }
        self.sum = self.sum.wrapping_add(page.sum);
        self.indexed += page.indexed;
        self.freezings += page.freezings;
        page.stop.map_or(Ok(()), Err)
    }

    /// Ends a walk up to `end`. A commit that is left over has no entries, or lacks some.
    fn close(&mut self, mut commits: Commits<'_>, end: End) -> Result<(), Stop> {
        while let Some(commit) = commits.next()? {
            self.audit.commit(&commit)?;
        }
        self.walked = Some(end);
        Ok(())
    }

    /// Walks to the end as one transaction sees it, and compares the rest of that moment with the entries.
    fn finish(mut self, moment: &Connection) -> Result<AuditReport, Stop> {
        let end = End::of(moment)?;
        let (mut after, mut pages) = (self.walked.map(|end| end.entry_id), Pages::new(moment, self.scope));
        let mut commits = self.commits(moment, end);
        let mut is_full = true;
        while is_full {
            let page = pages.read(after, end.entry_id);
            is_full = page.is_full();
            after = page.entries.last().map(|last| last.entry_id).or(after);
            self.take(page, &mut commits)?;
        }
        self.close(commits, end)?;
        if self.scope.has_history_index {
            wallets::check_history_index(moment, self.indexed)?;
        }
        if self.scope.can_freeze {
            wallets::check_freezings(moment, self.freezings)?;
        }
        wallets::check_notes(moment)?;
        wallets::check_wallets(moment, &mut self.audit, self.scope.can_freeze)?;
        Ok(self.audit.finish()?)
    }
}
