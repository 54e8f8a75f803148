//! A ledger in which every even user has a wallet, and nothing ever changes.

use std::sync::Arc;

use async_trait::async_trait;
use wallet::ledger::{
    Amount, Balance, Book, Command, Commit, Entry, EntryId, EventId, Kind, Outcome, Timestamp, UserId, Wallet,
    WalletId, WalletState,
};
use wallet::store::{Reader, Store, StoreError, Writer};

pub fn store() -> Store {
    Store { writer: Box::new(Unchanging), reader: Arc::new(Unchanging) }
}

struct Unchanging;

const BALANCE: i64 = 100_000;

fn state(user_id: UserId) -> Option<WalletState> {
    let balance = Balance::from_minor(BALANCE)?;
    (user_id.get() % 2 == 0).then_some(WalletState { balance, sequence: 1, last_entry_id: EntryId::ZERO.next() })
}

/// How the wallet came to be.
fn opening(user_id: UserId) -> Option<Entry> {
    let WalletState { balance, sequence, last_entry_id } = state(user_id)?;
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
    })
}

fn wallet_id() -> WalletId {
    WalletId::from_bytes([7; 16])
}

impl Writer for Unchanging {
    fn transact(&mut self, batch: &[Command], now: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        let decide = |command: &Command| {
            let user_id = command.user_id;
            let mut book = Book::new(Commit::GENESIS, now);
            book.lay_in_wallet(user_id, state(user_id));
            book.lay_in_wallet_id(user_id, wallet_id());
            if let Some(entry) = opening(user_id) {
                book.lay_in_entry(entry);
            }
            book.decide(command)
        };
        Ok(batch.iter().map(decide).collect())
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl Reader for Unchanging {
    async fn wallet(&self, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError> {
        let created_at = Timestamp::default();
        let wallet = state(user_id).map(|WalletState { balance, sequence, .. }| Wallet {
            user_id,
            wallet_id: wallet_id(),
            balance,
            sequence,
            created_at,
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

    async fn head(&self) -> Result<Commit, StoreError> {
        Ok(Commit::GENESIS)
    }

    async fn close(&self) {}
}
