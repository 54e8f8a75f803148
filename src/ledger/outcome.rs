//! What the ledger answers.

use super::{Amount, Balance, Entry, EntryId, Kind, Timestamp, Wallet, WalletId};

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
    /// Of a play, its win's.
    pub entry: Entry,
    pub effect: Effect,
}

impl Receipt {
    /// The balance that the command left.
    #[must_use]
    pub const fn balance(&self) -> Balance {
        match self.effect {
            Effect::Played { balance, .. } => balance,
            Effect::Wallet { .. } | Effect::Moved | Effect::RolledBack | Effect::Barred => self.entry.balance_after,
        }
    }

    /// The entry of a play's charge; `None` of any other command.
    #[must_use]
    pub const fn charge_entry_id(&self) -> Option<EntryId> {
        match self.effect {
            Effect::Played { charge_entry_id, .. } => Some(charge_entry_id),
            Effect::Wallet { .. } | Effect::Moved | Effect::RolledBack | Effect::Barred => None,
        }
    }

    /// The wallet as the command left it; `None` if the command is answered by a balance alone.
    #[must_use]
    pub fn wallet(&self) -> Option<Wallet> {
        let Effect::Wallet { wallet_id, created_at } = self.effect else { return None };
        let Entry { user_id, balance_after: balance, sequence, kind, .. } = self.entry;
        let frozen = kind.freezes().unwrap_or(false);
        Some(Wallet { user_id, wallet_id, balance, sequence, created_at, frozen })
    }
}

/// What a command did, besides its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The wallet was made, frozen or unfrozen. It has this id, and was made at this time.
    Wallet { wallet_id: WalletId, created_at: Timestamp },
    /// Money was moved.
    Moved,
    /// A charge and a win were done together. The charge has this entry, and this is the balance after both.
    Played { charge_entry_id: EntryId, balance: Balance },
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
    /// The wallet is frozen, and gives nothing out.
    Frozen,
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
        let wallet = Effect::Wallet { wallet_id: WalletId::from_bytes([1; 16]), created_at: Timestamp::default() };
        let played = Effect::Played { charge_entry_id: EntryId::ZERO, balance: Balance::ZERO };
        assert!([wallet, Effect::Moved, played, Effect::RolledBack].into_iter().all(Effect::is_applied));
        assert!(!Effect::Barred.is_applied());
    }
}
