//! One batch, from the first key to the commit: for every store, the simulation and the fuzz targets.

use super::cache::Cache;
use crate::ledger::{Batch, Command, Entry, Fetched, Outcome, Timestamp, prefetch};
use crate::store::{StoreError, Writer};

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
    let version = tx.commit(&changes)?;
    cache.apply(&head, &changes, version);
    Ok(Committed { outcomes, entries: changes.entries })
}
