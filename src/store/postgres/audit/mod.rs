//! Audits a whole ledger, while it may be served, shard after shard.
//!
//! Entries and commits are only ever added. So they are read in pages, each a statement of its own: first up to where
//! the shard ended at the beginning, then up to where it ends by then. Wallets change, so they are compared in pages
//! too, but each page in one snapshot: it first reads the entries that were added in between, and then the page's
//! wallets, which must be what the entries have made them. No snapshot lasts longer than that: a long one would keep
//! the server from clearing away the old versions of the wallets, and slow down every commit.

mod pages;
mod shape;
mod shards;
mod wallets;

use sqlx::Row as _;

use self::pages::{Commits, Page};
use super::blocking::Blocking;
use super::{PostgresUrl, shard_id};
use crate::ledger::{
    Audit, AuditReport, Checkpoint, Checkpoints, EntryId, Finding, Genesis, LedgerReport, Shard, Shards,
};
use crate::store::{Step, StoreError, checkpoint_of_other_shards};

/// The most entries that the first snapshot still has to read.
const REST_MAX: i64 = 1_024;

const SELECT_END: &str = "select (select max(entry_id) from entry where shard_id = $1),
     (select max(commit_id) from ledger_commit where shard_id = $1)";
const BEGIN: &str = "begin isolation level repeatable read, read only";

/// Verifies every entry, commit and wallet of the ledger at `url`, up to the moment at which its wallets are compared.
///
/// It blocks, for as long as reading the whole ledger takes. The outer result is the store's, the inner the ledger's.
/// If earlier `checkpoints` are given, the ledger must still agree with them.
///
/// # Errors
/// [`StoreError`] if the ledger cannot be read; else the first [`Finding`], if any: in the tables, and then in the
/// order of the shards and of their entries.
pub fn audit(
    url: &PostgresUrl,
    checkpoints: Option<&Checkpoints>,
    progress: &mut dyn FnMut(Step),
) -> Result<Result<LedgerReport, Finding>, StoreError> {
    match ledger(url, checkpoints, progress) {
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
        Self::Store(error)
    }
}

/// A part of the database is not as the program made it.
fn changed(what: impl Into<String>) -> Stop {
    Finding::Changed { what: what.into() }.into()
}

/// Something is in the database that the program did not make.
fn foreign(what: impl Into<String>) -> Stop {
    Finding::Foreign { what: what.into() }.into()
}

fn ledger(
    url: &PostgresUrl,
    checkpoints: Option<&Checkpoints>,
    progress: &mut dyn FnMut(Step),
) -> Result<LedgerReport, Stop> {
    let mut session = Blocking::open(url)?;
    shape::check(&mut session)?;
    let genesis = genesis(&mut session)?;
    let checkpoints = of_shards(checkpoints, genesis.shards)?;
    shards::check(&mut session, genesis.shards)?;
    let mut entries = 0;
    for shard in genesis.shards.all() {
        entries += shard.place_of(End::of(&mut session, shard)?.entry_id);
    }
    let (mut done, of) = (0, entries.unsigned_abs());
    let mut reports = Vec::new();
    for (shard, checkpoint) in genesis.shards.all().zip(checkpoints) {
        let mut show = |place: i64| progress(Step::Verifying { done: (done + place.unsigned_abs()).min(of), of });
        let walk = Walk { session: &mut session, shard, audit: Audit::new(genesis, shard, checkpoint), walked: None };
        let report = walk.run(&mut show)?;
        done += shard.place_of(report.head.last_entry_id).unsigned_abs();
        reports.push(report);
    }
    // A checkpoint that is kept elsewhere must hold.
    session.confirm()?;
    Ok(LedgerReport::of_shards(&reports))
}

/// What was decided when the ledger was made. Its tables are there.
fn genesis(session: &mut Blocking) -> Result<Genesis, Stop> {
    session.genesis().map_err(|error| match error {
        StoreError::Incompatible(_) => changed("currency setting"),
        StoreError::Corrupt { table: "setting", found, .. } => changed(format!("setting that is {found:?}")),
        error => error.into(),
    })
}

/// The checkpoint of each shard, if there is one.
fn of_shards(checkpoints: Option<&Checkpoints>, shards: Shards) -> Result<Vec<Option<Checkpoint>>, StoreError> {
    let count = usize::from(shards.count());
    let Some(checkpoints) = checkpoints.map(Checkpoints::as_slice) else { return Ok(vec![None; count]) };
    if checkpoints.len() != count {
        return Err(checkpoint_of_other_shards(checkpoints.len(), count));
    }
    Ok(checkpoints.iter().copied().map(Some).collect())
}

/// Where a shard ends.
#[derive(Clone, Copy)]
struct End {
    entry_id: EntryId,
    commit_id: i64,
}

impl End {
    fn of(session: &mut Blocking, shard: Shard) -> Result<Self, StoreError> {
        let rows = session.rows(sqlx::query(SELECT_END).bind(shard_id(shard)))?;
        let column = |at| rows[0].try_get::<Option<i64>, _>(at).map_err(StoreError::unavailable);
        let entry_id = column(0)?.and_then(EntryId::new).unwrap_or(shard.base());
        Ok(Self { entry_id, commit_id: column(1)?.unwrap_or_default() })
    }
}

/// The audit of a shard, as far as it has come.
struct Walk<'s> {
    session: &'s mut Blocking,
    shard: Shard,
    audit: Audit,
    /// What is walked already; `None` at the very beginning.
    walked: Option<End>,
}

impl Walk<'_> {
    fn run(mut self, show: &mut dyn FnMut(i64)) -> Result<AuditReport, Stop> {
        show(0);
        let end = self.end()?;
        self.to(end, show)?;
        // By now more may have been added, and while that is read, a little more.
        loop {
            let (end, walked) = (self.end()?, self.walked.map_or(self.shard.base(), |end| end.entry_id));
            if end.entry_id.get() - walked.get() <= REST_MAX {
                break;
            }
            self.to(end, show)?;
        }
        let mut from = Some(i64::MIN);
        while let Some(first) = from {
            from = self.in_snapshot(show, |walk| wallets::check_page(walk, first))?;
        }
        // Wallets that were opened since their page was read.
        self.in_snapshot(show, wallets::check_rest)?;
        Ok(self.audit.finish()?)
    }

    fn end(&mut self) -> Result<End, StoreError> {
        End::of(self.session, self.shard)
    }

    /// Walks to the end that a snapshot has, and reads the rest of that moment.
    fn in_snapshot<T>(
        &mut self,
        show: &mut dyn FnMut(i64),
        read: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        self.session.batch(BEGIN)?;
        let end = self.end()?;
        self.to(end, show)?;
        let found = read(self)?;
        self.session.batch("commit")?;
        Ok(found)
    }

    /// Recomputes the entries and commits up to `end`.
    fn to(&mut self, end: End, show: &mut dyn FnMut(i64)) -> Result<(), Stop> {
        let mut after = self.walked.map(|end| end.entry_id);
        let mut commits = Commits::new(self.shard, self.walked.map(|end| end.commit_id), end.commit_id);
        loop {
            let page = Page::read(self.session, self.shard, after, end.entry_id)?;
            let is_last = !page.is_full;
            after = page.entries.last().map(|last| last.entry_id).or(after);
            self.take(page, &mut commits)?;
            if is_last {
                break;
            }
            show(after.map_or(0, |after| self.shard.place_of(after)));
        }
        // A commit that is left over has no entries, or lacks some.
        while let Some(commit) = commits.next(self.session)? {
            self.audit.commit(&commit)?;
        }
        self.walked = Some(end);
        Ok(())
    }

    /// Recomputes the entries of a page, and the commits that end in it.
    fn take(&mut self, page: Page, commits: &mut Commits) -> Result<(), Stop> {
        for (entry, undone) in page.entries.iter().zip(&page.undone) {
            let entry_id = entry.entry_id;
            let commit = commits.peek(self.session)?.ok_or(Finding::Uncommitted { entry_id })?;
            self.audit.entry(entry, *undone, commit.form)?;
            if commit.last_entry_id <= entry_id {
                self.audit.commit(&commit)?;
                commits.next(self.session)?;
            }
        }
        page.stop.map_or(Ok(()), |error| Err(error.into()))
    }
}
