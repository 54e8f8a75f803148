//! What an entry did.

use super::{Amount, Balance};

/// What an entry did. The numbers are stored and hashed: they never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The wallet was made, with its opening balance.
    Open = 1,
    /// A stake was taken.
    Charge = 2,
    /// A prize was paid out.
    Win = 3,
    /// A charge was given back; or, with amount 0, an unknown one was barred.
    Rollback = 4,
    /// Money came in by the operator.
    Deposit = 5,
    /// Money went out by the operator.
    Withdrawal = 6,
    /// A win was taken back; or, with amount 0, an unknown one was barred.
    WinRollback = 7,
    /// The operator froze the wallet: it gives nothing out. Its amount is 0.
    Freeze = 8,
    /// The operator unfroze the wallet. Its amount is 0.
    Unfreeze = 9,
}

/// Which way money moves: into the wallet, out of it, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Credit,
    Debit,
    None,
}

impl Kind {
    /// Every kind, in the order of their codes.
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::Charge,
        Self::Win,
        Self::Rollback,
        Self::Deposit,
        Self::Withdrawal,
        Self::WinRollback,
        Self::Freeze,
        Self::Unfreeze,
    ];

    /// The number by which the kind is stored and hashed.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind with this code, if there is one.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| i64::from(kind.code()) == code)
    }

    /// The kind's name, as the APIs spell it: `charge`, `win_rollback`, ….
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Charge => "charge",
            Self::Win => "win",
            Self::Rollback => "rollback",
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
            Self::WinRollback => "win_rollback",
            Self::Freeze => "freeze",
            Self::Unfreeze => "unfreeze",
        }
    }

    /// The names of every kind, separated by commas, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// The kind of this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether games cause entries of this kind; the operator causes the others.
    #[must_use]
    pub const fn is_of_game(self) -> bool {
        match self {
            Self::Charge | Self::Win | Self::Rollback | Self::WinRollback => true,
            Self::Open | Self::Deposit | Self::Withdrawal | Self::Freeze | Self::Unfreeze => false,
        }
    }

    /// Which way an entry of this kind moves money: the one place that says so.
    pub(super) const fn direction(self) -> Direction {
        match self {
            Self::Open | Self::Win | Self::Rollback | Self::Deposit => Direction::Credit,
            Self::Charge | Self::Withdrawal | Self::WinRollback => Direction::Debit,
            Self::Freeze | Self::Unfreeze => Direction::None,
        }
    }

    /// Whether a frozen wallet refuses entries of this kind: it gives nothing out, and takes what comes in, so that a
    /// round under way can end.
    #[must_use]
    pub fn is_refused_when_frozen(self) -> bool {
        self.direction() == Direction::Debit
    }

    /// Whether a wallet is frozen after an entry of this kind; `None` if it stays as it was.
    #[must_use]
    pub const fn freezes(self) -> Option<bool> {
        match self {
            Self::Freeze => Some(true),
            Self::Unfreeze => Some(false),
            Self::Open
            | Self::Charge
            | Self::Win
            | Self::Rollback
            | Self::Deposit
            | Self::Withdrawal
            | Self::WinRollback => None,
        }
    }

    /// `before` after an entry of this kind and `amount`; `None` if that is below 0 or past [`Balance::MAX`], or if
    /// money would be moved where none can be.
    #[must_use]
    pub fn apply(self, before: Balance, amount: Amount) -> Option<Balance> {
        match self.direction() {
            Direction::Credit => before.credit(amount),
            Direction::Debit => before.debit(amount),
            Direction::None => (amount == Amount::ZERO).then_some(before),
        }
    }

    /// The kind that an entry of this kind undoes: a rollback's is a charge.
    #[must_use]
    pub const fn undoes(self) -> Option<Self> {
        match self {
            Self::Rollback => Some(Self::Charge),
            Self::WinRollback => Some(Self::Win),
            Self::Open
            | Self::Charge
            | Self::Win
            | Self::Deposit
            | Self::Withdrawal
            | Self::Freeze
            | Self::Unfreeze => None,
        }
    }

    /// The kind that undoes an entry of this kind: a charge's is a rollback.
    #[must_use]
    pub fn undone_by(self) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.undoes() == Some(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_their_codes() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_code(i64::from(kind.code())), Some(kind));
        }
        let names = Kind::ALL.map(Kind::name);
        let expected =
            ["open", "charge", "win", "rollback", "deposit", "withdrawal", "win_rollback", "freeze", "unfreeze"];
        assert_eq!(names, expected);
        assert_eq!(names.map(Kind::from_name), Kind::ALL.map(Some));
        assert_eq!(Kind::from_name("Charge"), None);
        assert_eq!(Kind::from_code(0), None);
        assert_eq!(Kind::from_code(10), None);
    }

    #[test]
    fn only_charges_and_wins_can_be_undone() {
        assert_eq!(Kind::Charge.undone_by(), Some(Kind::Rollback));
        assert_eq!(Kind::Win.undone_by(), Some(Kind::WinRollback));
        let others = Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Charge | Kind::Win));
        assert!(others.into_iter().all(|kind| kind.undone_by().is_none()));
    }

    #[test]
    fn a_frozen_wallet_gives_nothing_out() {
        let refused = Kind::ALL.into_iter().filter(|kind| kind.is_refused_when_frozen());
        assert_eq!(refused.collect::<Vec<_>>(), [Kind::Charge, Kind::Withdrawal, Kind::WinRollback]);
    }

    #[test]
    fn games_charge_pay_and_undo_that() {
        let of_games = Kind::ALL.into_iter().filter(|kind| kind.is_of_game());
        let undoable = |kind: &Kind| kind.undone_by().is_some() || kind.undoes().is_some();
        assert!(of_games.eq(Kind::ALL.into_iter().filter(undoable)));
    }

    #[test]
    fn each_kind_moves_money_its_way() {
        let (before, amount) = (Balance::from_minor(10).unwrap(), Amount::from_minor(3).unwrap());
        let after = Kind::ALL.map(|kind| kind.apply(before, amount).map(Balance::minor));
        let (more, less) = (Some(13), Some(7));
        assert_eq!(after, [more, less, more, more, more, less, less, None, None]);
        for kind in [Kind::Freeze, Kind::Unfreeze] {
            assert_eq!(kind.apply(before, Amount::ZERO), Some(before));
        }
    }
}
