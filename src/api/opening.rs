//! The command that makes a wallet.

use uuid::Uuid;

use crate::ledger::{Command, Refusal, UserId, WalletId};

/// The command that makes the user's wallet, with an id of its own.
///
/// # Errors
/// [`Refusal::NegativeAmount`].
pub fn command(user_id: UserId, opening_minor: i64) -> Result<Command, Refusal> {
    Command::open(user_id, WalletId::from(Uuid::now_v7()), opening_minor)
}
