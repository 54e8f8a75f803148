//! The ledger that is written.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};

use crate::ledger::{Changes, Commit, Genesis, Heads, Shard};
use crate::store::{BulkReader, Location, Store, StoreError, StoreOptions};

/// Entries that are written in one transaction, and a few more. Commits share it, because each flush takes its time.
const ENTRIES_AT_ONCE: usize = 2_048;

/// A ledger that another is copied into.
pub struct Target {
    location: Location,
    runtime: Runtime,
    store: Store,
    /// Where it ended when it was opened: a copy that was interrupted ended there.
    heads: Heads,
    /// What is not written yet, of each shard.
    pending: HashMap<Shard, Vec<Changes>>,
    written: u64,
    /// Whether it is marked as not whole.
    is_marked: bool,
}

impl Target {
    /// Opens the ledger, which is made if it is missing.
    ///
    /// # Errors
    /// If it cannot be made, is served, or was not made for a copy of this ledger.
    pub fn open(location: &Location, genesis: Genesis) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let Genesis { currency, shards, anchor } = genesis;
        let options = StoreOptions { shards: Some(shards), anchor, is_copy: true, ..StoreOptions::new(currency) };
        let store = runtime.block_on(location.open(options))?;
        ensure!(store.genesis == genesis, TargetRefused::AnotherLedger(location.clone()));
        let heads = runtime.block_on(store.reader.heads())?;
        let location = location.clone();
        Ok(Self { location, runtime, store, heads, pending: HashMap::new(), written: 0, is_marked: false })
    }

    /// What was decided when it was made.
    pub const fn genesis(&self) -> Genesis {
        self.store.genesis
    }

    /// Refuses a ledger with commits that are not those of the source, before anything is written.
    pub fn check_beginning(&self, source: &mut dyn BulkReader) -> Result<()> {
        for (shard, head) in self.heads.iter().filter(|(_, head)| head.commit_id > 0) {
            let found = source.commits(shard, head.commit_id - 1, 1)?;
            ensure!(found.first() == Some(head), TargetRefused::AnotherLedger(self.location.clone()));
        }
        Ok(())
    }

    /// Takes the next commit of a shard. What is there already must be the same.
    pub fn push(&mut self, shard: Shard, changes: Changes) -> Result<()> {
        let (Some(commit), Some((_, head))) = (changes.commit, self.heads.iter().nth(shard.place())) else {
            return Ok(());
        };
        if commit.commit_id <= head.commit_id {
            let is_same = commit.commit_id < head.commit_id || commit == *head;
            ensure!(is_same, TargetRefused::AnotherLedger(self.location.clone()));
            return Ok(());
        }
        let pending = self.pending.entry(shard).or_default();
        pending.push(changes);
        let entries: usize = pending.iter().map(|changes| changes.entries.len()).sum();
        if entries >= ENTRIES_AT_ONCE { self.write(shard) } else { Ok(()) }
    }

    /// Writes what is left. Each shard must end with the commit that it has here.
    pub fn finish<'c>(&mut self, ends: impl Iterator<Item = (Shard, &'c Commit)>) -> Result<()> {
        for (shard, end) in ends {
            self.write(shard)?;
            let there = self.heads.iter().nth(shard.place()).map_or(0, |(_, head)| head.commit_id);
            if there > end.commit_id {
                bail!(TargetRefused::AnotherLedger(self.location.clone()));
            }
        }
        Ok(())
    }

    fn write(&mut self, shard: Shard) -> Result<()> {
        let Some(commits) = self.pending.remove(&shard) else { return Ok(()) };
        if !std::mem::replace(&mut self.is_marked, true) {
            let marked = self.store.writers[Shard::FIRST.place()].mark_copy(false);
            marked.map_err(|source| TargetRefused::NotMarked { target: self.location.clone(), source })?;
        }
        let writer = &mut self.store.writers[shard.place()];
        writer.copy(&commits).map_err(|error| match error {
            StoreError::Stale => anyhow::Error::from(TargetRefused::Served(self.location.clone())),
            error => error.into(),
        })?;
        writer.maintain().context("cannot maintain the target")?;
        self.written += commits.iter().map(|changes| u64::try_from(changes.entries.len()).unwrap_or(0)).sum::<u64>();
        Ok(())
    }

    /// Marks it as whole: from now on it may be served.
    pub fn mark_whole(mut self) -> Result<()> {
        self.store.writers[Shard::FIRST.place()].mark_copy(true).context("cannot mark the copy as whole")?;
        self.close();
        Ok(())
    }

    /// Closes it. Returns how many entries were written.
    pub fn close(self) -> u64 {
        let Self { runtime, store, written, .. } = self;
        runtime.block_on(store.reader.close());
        drop(store.writers);
        written
    }
}

/// Why the target does not become a copy, however often that is tried.
#[derive(Debug, Error)]
pub enum TargetRefused {
    #[error("{0} has a ledger that is no beginning of this copy, and is left as it is; name an empty database")]
    AnotherLedger(Location),
    #[error(
        "{0} is served, and somebody has committed to it: it cannot become a copy any more, and what was committed \
         there is only there; stop what serves it, and name an empty database"
    )]
    Served(Location),
    #[error("nothing was written to {target}, which cannot be marked as a copy{}", hint(.target))]
    NotMarked { target: Location, source: StoreError },
}

/// What helps if a database cannot be marked.
const fn hint(target: &Location) -> &'static str {
    match target {
        Location::Sqlite(_) => "",
        Location::Postgres(_) => "; run this as the owner of its tables",
    }
}
