//! What a caller can ask of the ledger.

use std::iter;

use super::{Amount, Annotations, EventId, EventKey, Kind, Refusal, UserId, WalletId};

/// One thing to do to one wallet. Well formed by construction: no id and no amount in it is negative.
///
/// ```
/// use wallet::ledger::{Command, EventId, Refusal, UserId};
///
/// let (user, event) = (UserId::new(123_123).unwrap(), EventId::new(321_123).unwrap());
/// assert!(Command::charge(user, event, 100).is_ok());
/// assert!(matches!(Command::charge(user, event, -1), Err(Refusal::NegativeAmount(_))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Whose wallet.
    pub user_id: UserId,
    /// The event that the command is known by, together with its user and kind.
    pub event_id: EventId,
    /// What to do.
    pub action: Action,
    /// What its entry keeps besides that.
    pub annotations: Annotations,
}

/// What a [`Command`] does to its wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the wallet, with this opening balance. `wallet_id` is the id it gets if it is made now.
    Open { wallet_id: WalletId, opening: Amount },
    /// Debit a stake, for a game.
    Charge(Amount),
    /// Credit a prize, for a game.
    Win(Amount),
    /// Undo the charge of the same event, or bar it if it is not known.
    Rollback,
    /// Undo the win of the same event, or bar it if it is not known.
    WinRollback,
    /// Credit a deposit, for the operator.
    Deposit(Amount),
    /// Debit a withdrawal, for the operator.
    Withdraw(Amount),
    /// Debit a stake and credit a prize, for a game, together or not at all. The command's event is that of the stake.
    Play { stake: Amount, winning_event_id: EventId, prize: Amount },
    /// Let the wallet give nothing out, on the operator's word.
    Freeze,
    /// End that, on the operator's word.
    Unfreeze,
}

impl Action {
    /// The kind of the entry that this action writes, and is answered by: of a play's two, the win.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Open { .. } => Kind::Open,
            Self::Charge(_) => Kind::Charge,
            Self::Win(_) | Self::Play { .. } => Kind::Win,
            Self::Rollback => Kind::Rollback,
            Self::WinRollback => Kind::WinRollback,
            Self::Deposit(_) => Kind::Deposit,
            Self::Withdraw(_) => Kind::Withdrawal,
            Self::Freeze => Kind::Freeze,
            Self::Unfreeze => Kind::Unfreeze,
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
        Ok(Self::new(user_id, EventId::OPENING, Action::Open { wallet_id, opening }))
    }

    /// Debits a stake.
    pub fn charge(user_id: UserId, event_id: EventId, amount_minor: i64) -> Result<Self, Refusal> {
        Ok(Self::new(user_id, event_id, Action::Charge(amount(amount_minor, Kind::Charge)?)))
    }

    /// Credits a prize.
    pub fn win(user_id: UserId, event_id: EventId, amount_minor: i64) -> Result<Self, Refusal> {
        Ok(Self::new(user_id, event_id, Action::Win(amount(amount_minor, Kind::Win)?)))
    }

    /// Credits a deposit.
    pub fn deposit(user_id: UserId, event_id: EventId, amount_minor: i64) -> Result<Self, Refusal> {
        Ok(Self::new(user_id, event_id, Action::Deposit(amount(amount_minor, Kind::Deposit)?)))
    }

    /// Debits a withdrawal.
    pub fn withdraw(user_id: UserId, event_id: EventId, amount_minor: i64) -> Result<Self, Refusal> {
        Ok(Self::new(user_id, event_id, Action::Withdraw(amount(amount_minor, Kind::Withdrawal)?)))
    }

    /// Debits a stake and credits the prize of the same round.
    pub fn play(
        user_id: UserId,
        (event_id, stake_minor): (EventId, i64),
        (winning_event_id, prize_minor): (EventId, i64),
    ) -> Result<Self, Refusal> {
        let stake = amount(stake_minor, Kind::Charge)?;
        let prize = amount(prize_minor, Kind::Win)?;
        Ok(Self::new(user_id, event_id, Action::Play { stake, winning_event_id, prize }))
    }

    /// Freezes a wallet. It names no amount, so nothing about it can be refused here.
    #[must_use]
    pub const fn freeze(user_id: UserId, transaction_id: EventId) -> Self {
        Self::new(user_id, transaction_id, Action::Freeze)
    }

    /// Unfreezes a wallet.
    #[must_use]
    pub const fn unfreeze(user_id: UserId, transaction_id: EventId) -> Self {
        Self::new(user_id, transaction_id, Action::Unfreeze)
    }

    /// Undoes the charge of `event_id`. It names no amount, so nothing about it can be refused here.
    #[must_use]
    pub const fn rollback(user_id: UserId, event_id: EventId) -> Self {
        Self::new(user_id, event_id, Action::Rollback)
    }

    /// Undoes the win of `event_id`.
    #[must_use]
    pub const fn rollback_win(user_id: UserId, event_id: EventId) -> Self {
        Self::new(user_id, event_id, Action::WinRollback)
    }

    /// The same command with these annotations.
    #[must_use]
    pub fn with_annotations(self, annotations: Annotations) -> Self {
        Self { annotations, ..self }
    }

    /// The user and event id of the command.
    #[must_use]
    pub const fn event(&self) -> EventKey {
        EventKey { event_id: self.event_id, user_id: self.user_id }
    }

    /// Every event of which the rules must know the entries.
    pub(super) fn events(&self) -> impl Iterator<Item = EventKey> + use<> {
        let second = match self.action {
            Action::Play { winning_event_id, .. } => Some(winning_event_id),
            // Its answer shows what the opening says of the wallet.
            Action::Freeze | Action::Unfreeze => Some(EventId::OPENING),
            Action::Open { .. }
            | Action::Charge(_)
            | Action::Win(_)
            | Action::Rollback
            | Action::WinRollback
            | Action::Deposit(_)
            | Action::Withdraw(_) => None,
        };
        let user_id = self.user_id;
        iter::once(self.event_id).chain(second).map(move |event_id| EventKey { event_id, user_id })
    }

    const fn new(user_id: UserId, event_id: EventId, action: Action) -> Self {
        Self { user_id, event_id, action, annotations: Annotations::NONE }
    }
}

fn amount(minor: i64, kind: Kind) -> Result<Amount, Refusal> {
    Amount::from_minor(minor).ok_or(Refusal::NegativeAmount(kind))
}
