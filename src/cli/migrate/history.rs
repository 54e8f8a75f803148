//! Carries a ledger's history over, in order.

use std::collections::VecDeque;
use std::iter;

use anyhow::{Context as _, Result};

use super::target::Target;
use crate::ledger::{Commit, Entry, EntryFilter, EntryId, Heads, Replay, Shard};
use crate::store::BulkReader;

/// Entries that are read at once.
const PAGE: i64 = 2_048;

/// Commits that are read at once.
const COMMITS: usize = 1_024;

/// Entries in a commit of a new chain.
const COMMIT: usize = 1_024;

/// Copies every commit up to `heads` as it is.
pub fn copy(
    source: &mut dyn BulkReader,
    heads: &Heads,
    target: &mut Target,
    show: &mut dyn FnMut(u64),
) -> Result<Vec<Replay>> {
    let (mut replays, mut done) = (Vec::new(), 0);
    for (shard, head) in heads.iter() {
        let mut replay = Replay::new(target.genesis(), shard);
        let mut entries = Entries::new(shard, head);
        while replay.head().commit_id < head.commit_id {
            let commits = source.commits(shard, replay.head().commit_id, COMMITS)?;
            commits.first().context("a commit of the source has vanished")?;
            for commit in commits.into_iter().filter(|commit| commit.commit_id <= head.commit_id) {
                let own = entries.up_to(source, commit.last_entry_id)?;
                done += own.len();
                target.push(shard, replay.copy(own, commit))?;
            }
            show(u64::try_from(done).unwrap_or(u64::MAX));
        }
        replays.push(replay);
    }
    target.finish(heads.iter().map(|(shard, _)| shard).zip(replays.iter().map(Replay::head)))?;
    Ok(replays)
}

/// Writes every entry up to `heads` into the chain of its user's shard in the target, in the order of their times.
/// Entries of the same time come in the order of the source's shards. A user's entries are all in one shard, and stay
/// in order.
pub fn replay(
    source: &mut dyn BulkReader,
    heads: &Heads,
    target: &mut Target,
    show: &mut dyn FnMut(u64),
) -> Result<Vec<Replay>> {
    let (genesis, mut done) = (target.genesis(), 0_u64);
    let mut chains: Vec<(Replay, Vec<Entry>)> =
        genesis.shards.all().map(|shard| (Replay::new(genesis, shard), Vec::new())).collect();
    let mut sources: Vec<Entries> = heads.iter().map(|(shard, head)| Entries::new(shard, head)).collect();
    while let Some(entry) = earliest(source, &mut sources)? {
        let shard = genesis.shards.of(entry.user_id);
        let (replay, pending) = &mut chains[shard.place()];
        pending.push(entry);
        done += 1;
        if pending.len() == COMMIT {
            target.push(shard, replay.append(std::mem::take(pending)))?;
            show(done);
        }
    }
    for (shard, (replay, pending)) in genesis.shards.all().zip(&mut chains) {
        target.push(shard, replay.append(std::mem::take(pending)))?;
    }
    show(done);
    let replays: Vec<Replay> = chains.into_iter().map(|(replay, _)| replay).collect();
    target.finish(genesis.shards.all().zip(replays.iter().map(Replay::head)))?;
    Ok(replays)
}

/// The earliest of the entries that come next in each shard.
fn earliest(source: &mut dyn BulkReader, sources: &mut [Entries]) -> Result<Option<Entry>> {
    let mut first = None;
    for (place, entries) in sources.iter_mut().enumerate() {
        let next = entries.peek(source)?.map(|entry| (entry.created_at, place));
        first = first.into_iter().chain(next).min();
    }
    Ok(first.and_then(|(_, place)| sources[place].page.pop_front()))
}

/// The entries of a shard, in order.
struct Entries {
    page: VecDeque<Entry>,
    /// The first that was not read yet, and the one behind the last.
    next: EntryId,
    end: EntryId,
}

impl Entries {
    fn new(shard: Shard, head: &Commit) -> Self {
        Self { page: VecDeque::new(), next: shard.base().next(), end: head.last_entry_id.next() }
    }

    /// The next entry, which stays the next.
    fn peek(&mut self, source: &mut dyn BulkReader) -> Result<Option<&Entry>> {
        if self.page.is_empty() && self.next < self.end {
            let end = EntryId::new(self.next.get().saturating_add(PAGE)).map_or(self.end, |end| end.min(self.end));
            self.page = source.entries(self.next..end, &EntryFilter::default())?.into();
            self.next = end;
        }
        Ok(self.page.front())
    }

    /// The next entries, up to this one.
    fn up_to(&mut self, source: &mut dyn BulkReader, last: EntryId) -> Result<Vec<Entry>> {
        let next = || match self.peek(source) {
            Ok(Some(entry)) if entry.entry_id <= last => self.page.pop_front().map(Ok),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        };
        iter::from_fn(next).collect()
    }
}
