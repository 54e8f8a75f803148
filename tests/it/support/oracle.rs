//! The rules once more, as a newcomer would write them: what the real ledger is held to.

use std::collections::BTreeMap;

use wallet::ledger::{Action, Balance, Command, Entry, EventId, Kind, Outcome, Receipt, Refusal, UserId};

use crate::support::linear::Model;

/// The ledger as a newcomer would write it: maps, and one command at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Oracle {
    /// Where each wallet is.
    wallets: BTreeMap<UserId, Place>,
    /// By what each command is known: the amount, where it left the wallet, and whether there was something to do.
    done: BTreeMap<(UserId, Kind, EventId), (i64, Place, bool)>,
}

/// A balance, and how many entries led to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    pub balance: i64,
    pub sequence: i64,
}

/// What a caller is told, without what the oracle cannot know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Applied { place: Place, applied: bool },
    Replayed { place: Place, applied: bool, current: i64 },
    Refused(Refusal),
}

impl Oracle {
    pub fn decide(&mut self, command: &Command) -> Told {
        let Command { user_id, event_id, action } = *command;
        let kind = action.kind();
        let charge = self.done.get(&(user_id, Kind::Charge, event_id)).copied();
        let (amount, delta, applied) = match action {
            Action::Open { opening, .. } => (opening.minor(), i128::from(opening.minor()), true),
            Action::Win(amount) | Action::Deposit(amount) => (amount.minor(), i128::from(amount.minor()), true),
            Action::Charge(amount) | Action::Withdraw(amount) => (amount.minor(), -i128::from(amount.minor()), true),
            Action::Rollback => charge.map_or((0, 0, false), |(amount, ..)| (amount, i128::from(amount), true)),
        };
        let Place { balance, sequence } = match (self.wallets.get(&user_id), kind) {
            (None, Kind::Open) => Place::default(),
            (None, _) => return Told::Refused(Refusal::UnknownUser),
            (Some(place), _) => *place,
        };
        if kind == Kind::Charge && self.done.contains_key(&(user_id, Kind::Rollback, event_id)) {
            return Told::Refused(Refusal::RolledBack);
        }
        if let Some((recorded, place, _)) = self.done.get(&(user_id, kind, event_id)).copied() {
            return if recorded == amount {
                Told::Replayed { place, applied, current: balance }
            } else {
                let recorded = wallet::ledger::Amount::from_minor(recorded).unwrap();
                Told::Refused(Refusal::EventConflict { recorded })
            };
        }
        let after = i128::from(balance) + delta;
        if after < 0 {
            return Told::Refused(Refusal::BalanceTooLow { balance: Balance::from_minor(balance).unwrap() });
        }
        if after > i128::from(Balance::MAX.minor()) {
            return Told::Refused(Refusal::BalanceLimit);
        }
        let place = Place { balance: i64::try_from(after).unwrap(), sequence: sequence + 1 };
        self.wallets.insert(user_id, place);
        self.done.insert((user_id, kind, event_id), (amount, place, applied));
        Told::Applied { place, applied }
    }
}

pub fn told(outcome: &Outcome) -> Told {
    let place = |receipt: &Receipt| {
        let Entry { balance_after, sequence, .. } = receipt.entry;
        Place { balance: balance_after.minor(), sequence }
    };
    match outcome {
        Outcome::Applied(receipt) => Told::Applied { place: place(receipt), applied: receipt.applied },
        Outcome::Replayed { receipt, current_balance } => {
            Told::Replayed { place: place(receipt), applied: receipt.applied, current: current_balance.minor() }
        }
        Outcome::Refused(refusal) => Told::Refused(*refusal),
    }
}

/// What can be asked of a wallet.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    Command(Command),
    Wallet(UserId),
}

impl Call {
    /// Whose wallet.
    pub const fn user_id(&self) -> UserId {
        match self {
            Self::Command(command) => command.user_id,
            Self::Wallet(user_id) => *user_id,
        }
    }
}

/// What comes of a [`Call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Told(Told),
    /// `None`: there is no such user.
    Balance(Option<i64>),
}

impl Model for Oracle {
    type Call = Call;
    type Answer = Answer;

    fn answer(&mut self, call: &Call) -> Answer {
        match call {
            Call::Command(command) => Answer::Told(self.decide(command)),
            Call::Wallet(user_id) => Answer::Balance(self.wallets.get(user_id).map(|place| place.balance)),
        }
    }
}
