//! What the ledger answers.

use super::{Amount, Balance, Entry, Kind, WalletId};

/// The ledger's answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<R = Receipt> {
    /// It was done, now.
    Applied(R),
    /// It was done before; nothing moved. The receipt is that of the first time.
    Replayed {
        receipt: R,
        /// The balance of this moment, which may differ from the receipt's.
        current_balance: Balance,
    },
    /// It was not done, and leaves no trace.
    Refused(Refusal),
}

impl<R> Outcome<R> {
    /// The same outcome with another form of receipt.
    pub fn map<T>(self, receipt_as: impl FnOnce(R) -> T) -> Outcome<T> {
        match self {
            Self::Applied(receipt) => Outcome::Applied(receipt_as(receipt)),
            Self::Replayed { receipt, current_balance } => {
                Outcome::Replayed { receipt: receipt_as(receipt), current_balance }
            }
            Self::Refused(refusal) => Outcome::Refused(refusal),
        }
    }
}

/// What a command did: the entry it wrote, and what the entry alone does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub entry: Entry,
    pub effect: Effect,
}

/// What a command did, besides its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The wallet was made, with this id.
    Opened(WalletId),
    /// Money was moved.
    Moved,
    /// A charge was given back, or a win taken back.
    RolledBack,
    /// The charge or win was not known: nothing moved, and it will be refused if it comes.
    Barred,
}

impl Effect {
    /// Whether it did what its command asks for. False for the rollback of an unknown charge or win alone.
    #[must_use]
    pub fn is_applied(self) -> bool {
        self != Self::Barred
    }
}

/// What the opening of a wallet did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub entry: Entry,
    pub wallet_id: WalletId,
}

/// The ledger's "no": an answer, not a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The amount for an entry of this kind is below 0.
    NegativeAmount(Kind),
    /// There is no such user.
    UnknownUser,
    /// The charge's or win's event was rolled back.
    RolledBack,
    /// The event is known with another amount, the one recorded.
    EventConflict { recorded: Amount },
    /// There is less in the wallet than is to be taken.
    BalanceTooLow { balance: Balance },
    /// The wallet would hold more than [`Balance::MAX`].
    BalanceLimit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_bars_an_event_is_not_applied() {
        let opened = Effect::Opened(WalletId::from_bytes([1; 16]));
        assert!([opened, Effect::Moved, Effect::RolledBack].into_iter().all(Effect::is_applied));
        assert!(!Effect::Barred.is_applied());
    }
}
