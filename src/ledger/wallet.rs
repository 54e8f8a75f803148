//! A user's wallet: what a caller sees of it, and what the rules need.

use super::{Balance, EntryId, Timestamp, UserId, WalletId};

/// A user's wallet, as a caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wallet {
    pub user_id: UserId,
    pub wallet_id: WalletId,
    pub balance: Balance,
    /// How many entries its history has.
    pub sequence: i64,
    pub created_at: Timestamp,
}

/// The part of a wallet that changes with each entry: all that a rule needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletState {
    pub balance: Balance,
    /// How many entries its history has.
    pub sequence: i64,
    /// The newest of them.
    pub last_entry_id: EntryId,
}
