//! The simulated store's reader.

use std::time::Duration;

use async_trait::async_trait;
use wallet::ledger::{Entry, EntryFilter, EntryId, EventKey, Heads, Keys, Shard, Timestamp, UserId, Wallet};
use wallet::store::{Reader, Scan, ScanLimits, StoreError};

use super::{Bug, Shared};

#[async_trait]
impl Reader for Shared {
    async fn wallet(&self, user_id: UserId, _at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError> {
        tokio::task::yield_now().await;
        let mut world = self.lock();
        let shard = world.genesis.shards.of(user_id);
        world.stir(shard);
        let mut ledger = world.ledger_of(user_id).clone();
        if world.bug == Some(Bug::ReadsTheCommitBefore) {
            ledger.lose_last_commit();
        }
        Ok(ledger.wallets.get(&user_id).map(|(wallet_id, created_at, state)| Wallet {
            user_id,
            wallet_id: *wallet_id,
            balance: state.balance,
            sequence: state.sequence,
            created_at: *created_at,
            frozen: state.frozen,
        }))
    }

    async fn entries(
        &self,
        user_id: UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        let world = self.lock();
        let is_asked = |entry: &&Entry| entry.user_id == user_id && before.is_none_or(|before| entry.entry_id < before);
        let ledger = world.ledger_of(user_id);
        let found = ledger.entries.iter().rev().filter(is_asked).take(limit).cloned().collect();
        Ok(ledger.wallets.contains_key(&user_id).then_some(found))
    }

    async fn event(&self, event: EventKey) -> Result<Option<Vec<Entry>>, StoreError> {
        let world = self.lock();
        let ledger = world.ledger_of(event.user_id);
        let found = ledger.fetch(&Keys { wallets: Vec::new(), events: vec![event] }).events.remove(0).1;
        Ok(ledger.wallets.contains_key(&event.user_id).then_some(found))
    }

    async fn scan(
        &self,
        shard: Shard,
        after: EntryId,
        filter: &EntryFilter,
        limits: ScanLimits,
    ) -> Result<Scan, StoreError> {
        Ok(self.lock().shard(shard).ledger.scan(after, filter, limits))
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        let world = self.lock();
        Ok(Heads::new(world.shards.iter().map(|shard| shard.ledger.head().commit).collect()))
    }

    fn poll_interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(25))
    }

    async fn close(&self) {}
}
