//! How much of the ledger is known to be durable.
//!
//! With a synchronous standby, what can be seen is not always what is kept. A backend that is cancelled or terminated
//! while it waits for the standby leaves a commit that everybody sees and that a fail-over may take away. To lock a row
//! and to commit waits for everything that was written before. So whoever reads something that is not known to be
//! durable does that first.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::ledger::{EntryId, Genesis, Shard};

/// How much of each shard is known to be durable.
#[derive(Debug)]
pub(super) struct Durable {
    /// The last such entry of each shard.
    entries: Vec<AtomicI64>,
}

impl Durable {
    pub(super) fn new(genesis: Genesis) -> Self {
        let entries = genesis.shards.all().map(|shard| AtomicI64::new(shard.base().get())).collect();
        Self { entries }
    }

    /// Everything up to this entry of its shard is durable.
    pub(super) fn note(&self, entry_id: EntryId) {
        if let Some(known) = self.entries.get(Shard::of_entry(entry_id).place()) {
            known.fetch_max(entry_id.get(), Ordering::AcqRel);
        }
    }

    /// The last entry of each shard that is known to be durable.
    pub(super) fn last(&self) -> Vec<i64> {
        self.entries.iter().map(|known| known.load(Ordering::Acquire)).collect()
    }

    /// Whether this entry is known to be durable.
    pub(super) fn has(&self, entry_id: EntryId) -> bool {
        let known = self.entries.get(Shard::of_entry(entry_id).place());
        known.is_some_and(|known| known.load(Ordering::Acquire) >= entry_id.get())
    }
}
