//! The rules once more, written plainly: the ledger must decide the same.

use std::collections::{BTreeMap, BTreeSet};

use wallet::api::reason::{Problem, Reason};
use wallet::ledger::{Action, Balance, Command, Effect, EventId, Kind, Outcome, Receipt, Refusal, UserId};

use super::client::Reply;
use super::linear::Model;

/// A ledger of maps that takes one command at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Oracle {
    /// Where each wallet is.
    wallets: BTreeMap<UserId, Place>,
    /// The wallets that are frozen.
    frozen: BTreeSet<UserId>,
    /// By what each command is known: the amount, where it left the wallet, and whether there was something to do.
    done: BTreeMap<(UserId, Kind, EventId), (i64, Place, bool)>,
}

/// A balance, and how many entries led to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    pub balance: i64,
    pub sequence: i64,
}

/// An outcome, without what the oracle cannot know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Applied { place: Place, applied: bool },
    Replayed { place: Place, applied: bool, current: i64 },
    Refused(Refusal),
}

impl Oracle {
    pub fn decide(&mut self, command: &Command) -> Decision {
        let Action::Play { stake, winning_event_id: event_id, prize } = command.action else {
            return self.decide_one(command);
        };
        // Both on a copy, which is kept only if both are done.
        let mut copy = self.clone();
        let charged = copy.decide_one(&Command { action: Action::Charge(stake), ..command.clone() });
        let won = copy.decide_one(&Command { event_id, action: Action::Win(prize), ..command.clone() });
        if let Decision::Refused(refusal) = charged {
            return Decision::Refused(refusal);
        }
        if let Decision::Refused(refusal) = won {
            return Decision::Refused(refusal);
        }
        *self = copy;
        match (charged, won) {
            (Decision::Replayed { place: charge, .. }, Decision::Replayed { place: win, current, .. }) => {
                Decision::Replayed { place: both(charge, win), applied: true, current }
            }
            (
                Decision::Applied { place: charge, .. } | Decision::Replayed { place: charge, .. },
                Decision::Applied { place: win, .. } | Decision::Replayed { place: win, .. },
            ) => Decision::Applied { place: both(charge, win), applied: true },
            (Decision::Refused(_), _) | (_, Decision::Refused(_)) => unreachable!("neither was refused"),
        }
    }

    fn decide_one(&mut self, command: &Command) -> Decision {
        let Command { user_id, event_id, action, .. } = *command;
        let kind = action.kind();
        let known = |kind| self.done.get(&(user_id, kind, event_id)).copied();
        let (amount, delta, applied) = match action {
            Action::Open { opening, .. } => (opening.minor(), i128::from(opening.minor()), true),
            Action::Win(amount) | Action::Deposit(amount) => (amount.minor(), i128::from(amount.minor()), true),
            Action::Charge(amount) | Action::Withdraw(amount) => (amount.minor(), -i128::from(amount.minor()), true),
            Action::Rollback => {
                known(Kind::Charge).map_or((0, 0, false), |(amount, ..)| (amount, i128::from(amount), true))
            }
            Action::WinRollback => {
                known(Kind::Win).map_or((0, 0, false), |(amount, ..)| (amount, -i128::from(amount), true))
            }
            Action::Freeze | Action::Unfreeze => (0, 0, true),
            Action::Play { .. } => unreachable!("a play is decided by its halves"),
        };
        let Place { balance, sequence } = match (self.wallets.get(&user_id), kind) {
            (None, Kind::Open) => Place::default(),
            (None, _) => return Decision::Refused(Refusal::UnknownUser),
            (Some(place), _) => *place,
        };
        let barred = match kind {
            Kind::Charge => known(Kind::Rollback).is_some(),
            Kind::Win => known(Kind::WinRollback).is_some(),
            _ => false,
        };
        if barred {
            return Decision::Refused(Refusal::RolledBack);
        }
        if let Some((recorded, place, _)) = self.done.get(&(user_id, kind, event_id)).copied() {
            return if recorded == amount {
                Decision::Replayed { place, applied, current: balance }
            } else {
                let recorded = wallet::ledger::Amount::from_minor(recorded).unwrap();
                Decision::Refused(Refusal::EventConflict { recorded })
            };
        }
        let gives = matches!(kind, Kind::Charge | Kind::Withdrawal | Kind::WinRollback);
        if gives && self.frozen.contains(&user_id) {
            return Decision::Refused(Refusal::Frozen);
        }
        let after = i128::from(balance) + delta;
        if after < 0 {
            return Decision::Refused(Refusal::BalanceTooLow { balance: Balance::from_minor(balance).unwrap() });
        }
        if after > i128::from(Balance::MAX.minor()) {
            return Decision::Refused(Refusal::BalanceLimit);
        }
        match kind {
            Kind::Freeze => _ = self.frozen.insert(user_id),
            Kind::Unfreeze => _ = self.frozen.remove(&user_id),
            _ => (),
        }
        let place = Place { balance: i64::try_from(after).unwrap(), sequence: sequence + 1 };
        self.wallets.insert(user_id, place);
        self.done.insert((user_id, kind, event_id), (amount, place, applied));
        Decision::Applied { place, applied }
    }
}

/// The balance after both halves of a play, at the place of its win.
fn both(charge: Place, win: Place) -> Place {
    let last = if charge.sequence > win.sequence { charge } else { win };
    Place { balance: last.balance, sequence: win.sequence }
}

impl From<&Outcome> for Decision {
    fn from(outcome: &Outcome) -> Self {
        let place = |receipt: &Receipt| Place { balance: receipt.balance().minor(), sequence: receipt.entry.sequence };
        let applied = |receipt: &Receipt| receipt.effect != Effect::Barred;
        match outcome {
            Outcome::Applied(receipt) => Self::Applied { place: place(receipt), applied: applied(receipt) },
            Outcome::Replayed { receipt, current_balance } => {
                let current = current_balance.minor();
                Self::Replayed { place: place(receipt), applied: applied(receipt), current }
            }
            Outcome::Refused(refusal) => Self::Refused(*refusal),
        }
    }
}

/// What can be asked of a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// The answer to a [`Call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Decision(Decision),
    /// `None`: there is no such user.
    Balance(Option<i64>),
}

impl Model for Oracle {
    type Call = Call;
    type Answer = Answer;

    fn answer(&mut self, call: &Call) -> Answer {
        match call {
            Call::Command(command) => Answer::Decision(self.decide(command)),
            Call::Wallet(user_id) => Answer::Balance(self.wallets.get(user_id).map(|place| place.balance)),
        }
    }
}

/// The oracle, as a client of either API observes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ObservedOracle(Oracle);

impl Model for ObservedOracle {
    type Call = Call;
    type Answer = Reply;

    fn answer(&mut self, call: &Call) -> Reply {
        self.0.answer(call).into()
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Decision(Decision::Applied { place: Place { balance, .. }, applied }) => {
                Self::Done { balance, replayed: false, applied }
            }
            Answer::Decision(Decision::Replayed { place: Place { balance, .. }, applied, .. }) => {
                Self::Done { balance, replayed: true, applied }
            }
            Answer::Decision(Decision::Refused(refusal)) => refused(refusal),
            Answer::Balance(Some(balance)) => Self::done(balance),
            Answer::Balance(None) => refused(Reason::UnknownUser),
        }
    }
}

fn refused(problem: impl Into<Problem>) -> Reply {
    let Problem { reason, message, detail } = problem.into();
    let detail_minor = detail.map(|detail| detail.metadata().1.parse().expect("minor units"));
    Reply::Refused { reason, message, detail_minor }
}
