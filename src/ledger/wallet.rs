//! A user's wallet: what a caller sees of it, and what the rules need.

use super::{Balance, Entry, EntryId, Timestamp, UserId, WalletId};

/// A user's wallet, as a caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wallet {
    pub user_id: UserId,
    pub wallet_id: WalletId,
    pub balance: Balance,
    /// How many entries its history has.
    pub sequence: i64,
    pub created_at: Timestamp,
    /// Whether it gives nothing out, on the operator's word.
    pub frozen: bool,
}

/// The part of a wallet that changes with each entry: all that a rule needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletState {
    pub balance: Balance,
    /// How many entries its history has.
    pub sequence: i64,
    /// The newest of them.
    pub last_entry_id: EntryId,
    /// Whether it gives nothing out, on the operator's word.
    pub frozen: bool,
}

impl WalletState {
    /// The state that `entry` leaves, of a wallet that was in the state `before`; `None` for its first entry.
    #[must_use]
    pub fn after(before: Option<Self>, entry: &Entry) -> Self {
        let was_frozen = before.is_some_and(|before| before.frozen);
        Self {
            balance: entry.balance_after,
            sequence: entry.sequence,
            last_entry_id: entry.entry_id,
            frozen: entry.kind.freezes().unwrap_or(was_frozen),
        }
    }
}
