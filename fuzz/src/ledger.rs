//! A ledger in which every even user has a wallet, and nothing ever changes.

use std::sync::Arc;

use async_trait::async_trait;
use wallet::ledger::{
    Amount, Annotations, Balance, Changes, Currency, Entry, EntryFilter, EntryId, EventId, EventKey, Fetched, Genesis,
    Head, Heads, Keys, Kind, Shard, Timestamp, UserId, Wallet, WalletId, WalletState,
};
use wallet::store::{Reader, Scan, ScanLimits, Store, StoreError, Transaction, Version, Writer, WriterCounts};

/// The store that keeps nothing, in this currency.
pub fn store(currency: Currency) -> Store {
    let (writer, reader) = (Box::new(Unchanging(currency)), Arc::new(Unchanging(currency)));
    Store { writers: vec![writer], reader, genesis: Genesis::new(currency) }
}

struct Unchanging(Currency);

const BALANCE: i64 = 100_000;

fn state(user_id: UserId) -> Option<WalletState> {
    let balance = Balance::from_minor(BALANCE)?;
    (user_id.get() % 2 == 0).then_some(WalletState {
        balance,
        sequence: 1,
        last_entry_id: EntryId::ZERO.next(),
        frozen: false,
    })
}

/// How the wallet came to be.
fn opening(user_id: UserId) -> Option<Entry> {
    let WalletState { balance, sequence, last_entry_id, .. } = state(user_id)?;
    Some(Entry {
        entry_id: last_entry_id,
        user_id,
        sequence,
        kind: Kind::Open,
        event_id: EventId::OPENING,
        amount: Amount::from_minor(balance.minor())?,
        balance_after: balance,
        previous_entry_id: None,
        created_at: Timestamp::default(),
        wallet_id: Some(wallet_id()),
        annotations: Annotations::NONE,
    })
}

fn wallet_id() -> WalletId {
    WalletId::from_bytes([7; 16])
}

impl Writer for Unchanging {
    fn begin(&mut self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        Ok(Box::new(Discarding { currency: self.0 }))
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn check(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn mark_copy(&mut self, _: bool) -> Result<(), StoreError> {
        Ok(())
    }

    fn counts(&self) -> Arc<WriterCounts> {
        Arc::default()
    }
}

/// A transaction whose changes are gone when it ends.
struct Discarding {
    currency: Currency,
}

impl Transaction for Discarding {
    /// A version of its own each time, so that nothing is remembered of what was not kept.
    fn version(&self) -> Version {
        static SESSIONS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        Version { session: SESSIONS.fetch_add(1, std::sync::atomic::Ordering::Relaxed), number: 0 }
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        Ok(Head { commit: Genesis::new(self.currency).commit(Shard::FIRST), last_event_id: Some(EventId::OPENING) })
    }

    fn fetch(&mut self, keys: &Keys) -> Result<Fetched, StoreError> {
        let entries = |event: &EventKey| {
            let opening = opening(event.user_id).filter(|opening| opening.event_id == event.event_id);
            (*event, opening.into_iter().collect())
        };
        Ok(Fetched {
            wallets: keys.wallets.iter().map(|user_id| (*user_id, state(*user_id))).collect(),
            events: keys.events.iter().map(entries).collect(),
        })
    }

    fn commit(self: Box<Self>, _changes: &Changes) -> Result<Version, StoreError> {
        Ok(self.version())
    }
}

#[async_trait]
impl Reader for Unchanging {
    async fn wallet(&self, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError> {
        let created_at = Timestamp::default();
        let wallet = state(user_id).map(|WalletState { balance, sequence, frozen, .. }| Wallet {
            user_id,
            wallet_id: wallet_id(),
            balance,
            sequence,
            created_at,
            frozen,
        });
        Ok(wallet.filter(|_| at.is_none_or(|at| at >= created_at)))
    }

    async fn entries(
        &self,
        user_id: UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        let Some(entry) = opening(user_id) else { return Ok(None) };
        let is_asked = limit > 0 && before.is_none_or(|before| entry.entry_id < before);
        Ok(Some(if is_asked { vec![entry] } else { Vec::new() }))
    }

    async fn event(&self, event: EventKey) -> Result<Option<Vec<Entry>>, StoreError> {
        let opening = opening(event.user_id);
        Ok(opening.map(|opening| if event == opening.key().event() { vec![opening] } else { Vec::new() }))
    }

    async fn scan(&self, _: Shard, after: EntryId, _: &EntryFilter, _: ScanLimits) -> Result<Scan, StoreError> {
        Ok(Scan { entries: Vec::new(), end: after, head: EntryId::ZERO })
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        Ok(Heads::new(vec![Genesis::new(self.0).commit(Shard::FIRST)]))
    }

    async fn close(&self) {}
}
