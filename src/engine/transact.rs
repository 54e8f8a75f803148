//! One batch, from the first key to the commit: for every store, the simulation and the fuzz targets.

use super::cache::{Cache, Decided};
use crate::ledger::{Batch, Command, Entry, Fetched, Outcome, Timestamp, prefetch};
use crate::store::{StoreError, Version, Writer};

/// What a batch did, on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What became of each command, in their order.
    pub outcomes: Vec<Outcome>,
    /// The entries that were written, in commit order.
    pub entries: Vec<Entry>,
}

/// Decides a batch of commands in order, in one transaction, and makes what they did durable.
///
/// When this returns, the outcomes are on disk. `cache` belongs to this writer and to nobody else.
///
/// # Errors
/// [`StoreError::Locked`] and [`StoreError::Corrupt`]: nothing was done. [`StoreError::Unavailable`]: it is not known.
/// [`StoreError::InDoubt`]: it is not known, and [`resolve`] can find out.
pub fn transact(
    writer: &mut dyn Writer,
    cache: &mut Cache,
    commands: &[Command],
    now: Timestamp,
) -> Result<Committed, StoreError> {
    loop {
        match attempt(writer, cache, commands, now) {
            // Somebody else has committed, and the batch is decided again on what they left.
            Err(StoreError::Stale) => (),
            result => return result,
        }
    }
}

fn attempt(
    writer: &mut dyn Writer,
    cache: &mut Cache,
    commands: &[Command],
    now: Timestamp,
) -> Result<Committed, StoreError> {
    cache.in_doubt = None;
    let mut tx = writer.begin()?;
    cache.revalidate(tx.version());
    let head = match cache.head() {
        Some(head) => head,
        None => tx.head()?,
    };
    let (known, missing) = cache.lookup(prefetch(&head, commands));
    let fetched = if missing.is_empty() { Fetched::default() } else { tx.fetch(&missing)? };
    let mut batch = Batch::new(head, now, known.and(fetched));
    let outcomes = commands.iter().map(|command| batch.decide(command)).collect();
    let changes = batch.changes();
    let committed = tx.commit(&changes);
    let decided = Decided { head, outcomes, changes };
    match committed {
        Ok(version) => Ok(commit(decided, cache, version)),
        Err(error) => {
            if matches!(error, StoreError::InDoubt(_)) {
                cache.in_doubt = Some(decided);
            }
            Err(error)
        }
    }
}

/// Finds out what became of the last batch, which ended in [`StoreError::InDoubt`]. `None` if it was not done. Then it
/// may be decided again; until something else is committed, it may also still be done by itself.
///
/// # Errors
/// [`StoreError`]: it is still not known.
pub fn resolve(writer: &mut dyn Writer, cache: &mut Cache) -> Result<Option<Committed>, StoreError> {
    let version = writer.resolve()?;
    let decided = cache.in_doubt.take();
    Ok(version.zip(decided).map(|(version, decided)| commit(decided, cache, version)))
}

/// What was decided is on disk, and the ledger has this version since.
fn commit(decided: Decided, cache: &mut Cache, version: Version) -> Committed {
    let Decided { head, outcomes, changes } = decided;
    cache.apply(&head, &changes, version);
    Committed { outcomes, entries: changes.entries }
}
