//! The simulated store's writers.

use std::sync::Arc;

use wallet::ledger::{Changes, EventId, Fetched, Head, Keys, Shard};
use wallet::store::{StoreError, Transaction, Version, Writer, WriterCounts};

use super::{Bug, Fault, Shared};

/// The writer of one shard.
pub struct ShardWriter {
    pub world: Shared,
    pub shard: Shard,
}

impl Writer for ShardWriter {
    fn begin(&mut self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let (shard, mut world) = (self.shard, self.world.lock());
        // Whoever begins gives up to ask.
        world.shard(shard).question = None;
        let fault = world.fault(shard)?;
        world.rival();
        world.stir(shard);
        let version = world.version(shard);
        drop(world);
        Ok(Box::new(Simulated { world: &self.world, shard, fault, version }))
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        match self.world.lock().fault(self.shard)? {
            Fault::None => Ok(()),
            _ => Err(StoreError::unavailable("planted")),
        }
    }

    fn check(&mut self) -> Result<(), StoreError> {
        self.probe()
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn resolve(&mut self) -> Result<Option<Version>, StoreError> {
        self.world.lock().resolve(self.shard)
    }

    fn mark_copy(&mut self, _: bool) -> Result<(), StoreError> {
        unreachable!("nothing is copied here")
    }

    fn counts(&self) -> Arc<WriterCounts> {
        Arc::default()
    }
}

/// A transaction, with the fault that its commit has.
struct Simulated<'w> {
    world: &'w Shared,
    shard: Shard,
    fault: Fault,
    version: Version,
}

impl Simulated<'_> {
    /// Panics if one of these is the poisoned event.
    fn touch(&self, mut event_ids: impl Iterator<Item = EventId>) {
        let poisoned = self.world.lock().fault_plan.poisoned;
        if poisoned.is_some_and(|poisoned| event_ids.any(|event_id| event_id == poisoned)) {
            self.world.lock().count("panic");
            // As a panic, but it is not printed: there will be thousands.
            std::panic::resume_unwind(Box::new("planted"));
        }
    }
}

impl Transaction for Simulated<'_> {
    fn version(&self) -> Version {
        self.version
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        Ok(self.world.lock().shard(self.shard).ledger.head())
    }

    fn fetch(&mut self, keys: &Keys) -> Result<Fetched, StoreError> {
        self.touch(keys.events.iter().map(|event| event.event_id));
        let mut world = self.world.lock();
        world.check(keys.wallets.iter().copied())?;
        let mut fetched = world.shard(self.shard).ledger.fetch(keys);
        if world.bug == Some(Bug::ForgetsEvents) {
            fetched.events.iter_mut().for_each(|(_, entries)| entries.clear());
        }
        Ok(fetched)
    }

    fn commit(self: Box<Self>, changes: &Changes) -> Result<Version, StoreError> {
        self.touch(changes.entries.iter().map(|entry| entry.event_id));
        self.world.lock().commit(self.shard, changes, self.fault, self.version)
    }
}
