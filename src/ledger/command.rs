//! What a caller can ask of the ledger.

use super::{Amount, EventId, Kind, Refusal, UserId, WalletId};

/// One thing to do to one wallet. Well formed by construction: no id and no amount in it is negative.
///
/// ```
/// use wallet::ledger::{Command, EventId, Refusal, UserId};
///
/// let (user, event) = (UserId::new(123_123).unwrap(), EventId::new(321_123).unwrap());
/// assert!(Command::charge(user, event, 100).is_ok());
/// assert!(matches!(Command::charge(user, event, -1), Err(Refusal::NegativeAmount(_))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Whose wallet.
    pub user_id: UserId,
    /// The event that the command is known by, together with its user and kind.
    pub event_id: EventId,
    /// What to do.
    pub action: Action,
}

/// What a [`Command`] does to its wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the wallet, with this opening balance. `wallet_id` is the id it gets if it is made now.
    Open { wallet_id: WalletId, opening: Amount },
    /// Take a stake, on a game's word.
    Charge(Amount),
    /// Pay out a prize, on a game's word.
    Win(Amount),
    /// Undo the charge of the same event, or remember never to take it.
    Rollback,
    /// Take money in, on the operator's word.
    Deposit(Amount),
    /// Pay money out, on the operator's word.
    Withdraw(Amount),
}

impl Action {
    /// The kind of the entry that this action writes.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Open { .. } => Kind::Open,
            Self::Charge(_) => Kind::Charge,
            Self::Win(_) => Kind::Win,
            Self::Rollback => Kind::Rollback,
            Self::Deposit(_) => Kind::Deposit,
            Self::Withdraw(_) => Kind::Withdrawal,
        }
    }
}

/// The constructors take amounts in minor units, and are where a negative one is refused.
///
/// # Errors
/// [`Refusal::NegativeAmount`].
#[expect(clippy::missing_errors_doc, reason = "it is said once, above")]
impl Command {
    /// Makes the user's wallet.
    pub fn open(user_id: UserId, wallet_id: WalletId, opening_minor: i64) -> Result<Self, Refusal> {
        let opening = amount(opening_minor, Kind::Open)?;
        Ok(Self { user_id, event_id: EventId::OPENING, action: Action::Open { wallet_id, opening } })
    }

    /// Takes a stake.
    pub fn charge(user_id: UserId, event_id: EventId, amount_minor: i64) -> Result<Self, Refusal> {
        let action = Action::Charge(amount(amount_minor, Kind::Charge)?);
        Ok(Self { user_id, event_id, action })
    }

    /// Pays out a prize.
    pub fn win(user_id: UserId, event_id: EventId, amount_minor: i64) -> Result<Self, Refusal> {
        let action = Action::Win(amount(amount_minor, Kind::Win)?);
        Ok(Self { user_id, event_id, action })
    }

    /// Takes money in.
    pub fn deposit(user_id: UserId, event_id: EventId, amount_minor: i64) -> Result<Self, Refusal> {
        let action = Action::Deposit(amount(amount_minor, Kind::Deposit)?);
        Ok(Self { user_id, event_id, action })
    }

    /// Pays money out.
    pub fn withdraw(user_id: UserId, event_id: EventId, amount_minor: i64) -> Result<Self, Refusal> {
        let action = Action::Withdraw(amount(amount_minor, Kind::Withdrawal)?);
        Ok(Self { user_id, event_id, action })
    }

    /// Undoes the charge of `event_id`. It has no amount, so nothing about it can be refused here.
    #[must_use]
    pub const fn rollback(user_id: UserId, event_id: EventId) -> Self {
        Self { user_id, event_id, action: Action::Rollback }
    }
}

fn amount(minor: i64, kind: Kind) -> Result<Amount, Refusal> {
    Amount::from_minor(minor).ok_or(Refusal::NegativeAmount(kind))
}
