//! What the ledger answers.

use super::{Amount, Balance, Entry, Kind, WalletId};

/// The ledger's answer to one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, now.
    Applied(Receipt),
    /// It was done before; nothing moved. The receipt is that of the first time.
    Replayed {
        receipt: Receipt,
        /// The balance of this moment, which may differ from the receipt's.
        current_balance: Balance,
    },
    /// It was not done, and leaves no trace.
    Refused(Refusal),
}

/// What a command did: the entry it wrote, and what the entry alone does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub entry: Entry,
    /// False for the rollback of an unknown charge, which moved nothing; true for all else.
    pub applied: bool,
    /// The wallet's id, when the command was to open it.
    pub wallet_id: Option<WalletId>,
}

/// The ledger's "no": an answer, not a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The amount for an entry of this kind is below 0.
    NegativeAmount(Kind),
    /// There is no such user.
    UnknownUser,
    /// The charge's event was rolled back.
    RolledBack,
    /// The event is known with another amount, the one recorded.
    EventConflict { recorded: Amount },
    /// There is less in the wallet than is to be taken.
    BalanceTooLow { balance: Balance },
    /// The wallet would hold more than [`Balance::MAX`].
    BalanceLimit,
}
