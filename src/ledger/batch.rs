//! The rules: one batch of commands against the part of the ledger that it touches.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::kind::Direction;
use super::{
    Action, Amount, Balance, Changes, Command, Effect, Entry, EntryKey, EventId, EventKey, Fetched, Head, Kind,
    Outcome, Receipt, Refusal, Timestamp, UserId, WalletId, WalletState,
};

/// One batch, open at the head of the ledger.
///
/// It holds what was fetched for the keys of its commands, lets a later command see what an earlier one did, and says
/// at the end what to write.
///
/// ```
/// use wallet::ledger::{Batch, Command, EventId, Fetched, Genesis, Head, Outcome, Shard, Timestamp, UserId, WalletId};
///
/// let (user, event) = (UserId::new(123_123).unwrap(), EventId::new(321_123).unwrap());
/// let head = Head { commit: Genesis::new("EUR".parse().unwrap()).commit(Shard::FIRST), last_event_id: None };
/// let fetched = Fetched { wallets: vec![(user, None)], ..Fetched::default() };
/// let mut batch = Batch::new(head, Timestamp::from_microseconds(0), fetched);
/// batch.decide(&Command::open(user, WalletId::from_bytes([7; 16]), 1_000).unwrap());
///
/// let charge = Command::charge(user, event, 100).unwrap();
/// let Outcome::Applied(first) = batch.decide(&charge) else { panic!("there is enough") };
/// assert_eq!(first.entry.balance_after.minor(), 900);
///
/// // The same command again moves nothing and gets the first answer.
/// let Outcome::Replayed { receipt, current_balance } = batch.decide(&charge) else { panic!("it is known") };
/// assert_eq!(receipt, first);
/// assert_eq!(current_balance.minor(), 900);
/// ```
#[derive(Debug)]
pub struct Batch {
    head: Head,
    now: Timestamp,
    /// `None` is a user that does not exist.
    wallets: HashMap<UserId, Option<WalletState>, RandomState>,
    /// Event ids of which every entry was fetched.
    events: HashSet<EventKey, RandomState>,
    /// What was fetched, and behind it what the batch writes.
    entries: Vec<Entry>,
    /// How many entries were fetched.
    fetched: usize,
    /// The index of each entry in `entries`.
    index: HashMap<EntryKey, usize, RandomState>,
}

impl Batch {
    /// Opens a batch after `head`, with what was fetched for the keys of its commands. Entries get the time `now`, or
    /// the head's if the clock went back.
    ///
    /// # Panics
    /// If an entry was fetched that nobody asked for: that is a bug of the store.
    #[must_use]
    pub fn new(head: Head, now: Timestamp, fetched: Fetched) -> Self {
        let Fetched { wallets, events } = fetched;
        let mut batch = Self {
            head,
            now: now.max(head.commit.created_at),
            wallets: wallets.into_iter().collect(),
            events: HashSet::default(),
            entries: Vec::new(),
            fetched: 0,
            index: HashMap::default(),
        };
        for (event, entries) in events {
            batch.events.insert(event);
            for entry in entries {
                assert_eq!(entry.key().event(), event, "a store fetches what it was asked for");
                batch.push(entry);
            }
        }
        batch.fetched = batch.entries.len();
        batch
    }

    /// Decides one command, and records its effect.
    ///
    /// The checks come in the contract's order: user, rolled back, replay or conflict, frozen, balance and limit. (That
    /// the command is well formed and its amount not negative is given by its type.)
    ///
    /// # Panics
    /// If something that [`prefetch`](super::prefetch()) names for this command was not fetched: that is a bug, and
    /// deciding would be a guess.
    pub fn decide(&mut self, command: &Command) -> Outcome {
        let state = *self.wallets.get(&command.user_id).expect("the wallet was fetched before it is decided on");
        let outcome = match (state, command.action) {
            (None, Action::Open { wallet_id, opening }) => self.open(command, wallet_id, opening),
            (None, _) => Err(Refusal::UnknownUser),
            (Some(state), Action::Play { stake, winning_event_id, prize }) => {
                let charge = Command { action: Action::Charge(stake), ..command.clone() };
                let win = Command { event_id: winning_event_id, action: Action::Win(prize), ..command.clone() };
                self.play(&charge, &win, state)
            }
            (Some(state), _) => self.decide_for(command, state),
        };
        outcome.unwrap_or_else(Outcome::Refused)
    }

    /// The first opening of a wallet.
    fn open(&mut self, command: &Command, wallet_id: WalletId, opening: Amount) -> Result<Outcome, Refusal> {
        let entry = self.append(command, opening, None)?;
        let created_at = entry.created_at;
        Ok(Outcome::Applied(Receipt { entry, effect: Effect::Wallet { wallet_id, created_at } }))
    }

    /// A charge and a win, each by its own rules, or nothing of both.
    fn play(&mut self, charge: &Command, win: &Command, state: WalletState) -> Result<Outcome, Refusal> {
        let before = self.entries.len();
        let charged = self.decide_for(charge, state)?;
        let between = self.wallets[&charge.user_id].expect("it has a charge");
        match self.decide_for(win, between) {
            Ok(won) => Ok(played(charged, won)),
            Err(refusal) => {
                self.truncate(before, charge.user_id, state);
                Err(refusal)
            }
        }
    }

    /// Any command but a play, for a wallet that exists.
    fn decide_for(&mut self, command: &Command, state: WalletState) -> Result<Outcome, Refusal> {
        let kind = command.action.kind();
        let key = |kind| EntryKey { user_id: command.user_id, kind, event_id: command.event_id };
        if kind.undone_by().is_some_and(|undoing| self.known(key(undoing)).is_some()) {
            return Err(Refusal::RolledBack);
        }
        let (amount, effect) = self.amount_and_effect(command);
        if let Some(entry) = self.known(key(kind)) {
            if entry.amount != amount {
                return Err(Refusal::EventConflict { recorded: entry.amount });
            }
            let receipt = Receipt { entry: entry.clone(), effect };
            return Ok(Outcome::Replayed { receipt, current_balance: state.balance });
        }
        if state.frozen && kind.is_refused_when_frozen() {
            return Err(Refusal::Frozen);
        }
        let entry = self.append(command, amount, Some(state))?;
        Ok(Outcome::Applied(Receipt { entry, effect }))
    }

    /// The money that a command for a wallet that exists moves, and what else it does.
    fn amount_and_effect(&self, command: &Command) -> (Amount, Effect) {
        match command.action {
            Action::Open { opening, .. } => (opening, self.wallet_of(command.user_id)),
            Action::Freeze | Action::Unfreeze => (Amount::ZERO, self.wallet_of(command.user_id)),
            Action::Play { .. } => unreachable!("a play is decided by its halves"),
            Action::Charge(amount) | Action::Win(amount) | Action::Deposit(amount) | Action::Withdraw(amount) => {
                (amount, Effect::Moved)
            }
            Action::Rollback | Action::WinRollback => {
                let Command { user_id, event_id, .. } = *command;
                let undone = command.action.kind().undoes();
                let undone = undone.and_then(|kind| self.known(EntryKey { user_id, kind, event_id }));
                // An unknown event gets an entry of amount 0, which bars it from then on.
                undone.map_or((Amount::ZERO, Effect::Barred), |undone| (undone.amount, Effect::RolledBack))
            }
        }
    }

    /// What the opening of a wallet that exists says of it.
    fn wallet_of(&self, user_id: UserId) -> Effect {
        let opening = self.known(EntryKey { user_id, kind: Kind::Open, event_id: EventId::OPENING });
        let wallet = opening.and_then(|entry| entry.wallet_id.zip(Some(entry.created_at)));
        let (wallet_id, created_at) = wallet.expect("a wallet that exists was opened by an entry with its id");
        Effect::Wallet { wallet_id, created_at }
    }

    /// The entry that is known by this key.
    fn known(&self, key: EntryKey) -> Option<&Entry> {
        let event = key.event();
        assert!(
            self.head.is_new(event.event_id) || self.events.contains(&event),
            "the entries of {event:?} were fetched before they are decided on"
        );
        self.index.get(&key).map(|index| &self.entries[*index])
    }

    /// Appends the entry that moves `amount`, and moves the wallet on to it.
    fn append(&mut self, command: &Command, amount: Amount, state: Option<WalletState>) -> Result<Entry, Refusal> {
        let kind = command.action.kind();
        let before = state.map_or(Balance::ZERO, |state| state.balance);
        let balance_after = kind.apply(before, amount).ok_or(match kind.direction() {
            Direction::Debit => Refusal::BalanceTooLow { balance: before },
            // An entry that moves nothing has amount 0, and cannot fail.
            Direction::Credit | Direction::None => Refusal::BalanceLimit,
        })?;
        assert_eq!(before.minor().abs_diff(balance_after.minor()), amount.minor().unsigned_abs(), "money is conserved");
        let entry = Entry {
            entry_id: self.written().last().map_or(self.head.commit.last_entry_id, |entry| entry.entry_id).next(),
            user_id: command.user_id,
            sequence: state.map_or(0, |state| state.sequence) + 1,
            kind,
            event_id: command.event_id,
            amount,
            balance_after,
            previous_entry_id: state.map(|state| state.last_entry_id),
            created_at: self.now,
            wallet_id: match command.action {
                Action::Open { wallet_id, .. } => Some(wallet_id),
                _ => None,
            },
            annotations: command.annotations.clone(),
        };
        self.wallets.insert(command.user_id, Some(WalletState::after(state, &entry)));
        self.push(entry.clone());
        Ok(entry)
    }

    fn push(&mut self, entry: Entry) {
        let known = self.index.insert(entry.key(), self.entries.len());
        assert!(known.is_none(), "an entry exists once: {entry:?}");
        self.entries.push(entry);
    }

    /// Takes back the entries from the index `from` on, all of one user, whose wallet was in `state` before.
    fn truncate(&mut self, from: usize, user_id: UserId, state: WalletState) {
        for entry in self.entries.drain(from..) {
            self.index.remove(&entry.key());
        }
        self.wallets.insert(user_id, Some(state));
    }

    fn written(&self) -> &[Entry] {
        &self.entries[self.fetched..]
    }

    /// Closes the batch: what is to be written, in one transaction, for the outcomes to be true.
    ///
    /// # Panics
    /// Never: a wallet with an entry exists.
    #[must_use]
    pub fn changes(mut self) -> Changes {
        let written = self.entries.split_off(self.fetched);
        let commit = self.head.commit.next(&written);
        Changes::new(written, commit, |user_id| self.wallets[&user_id].expect("a wallet with an entry exists"))
    }
}

/// The outcome of a play whose halves were done: a replay if both were.
fn played(charged: Outcome, won: Outcome) -> Outcome {
    let (charge, win, replayed) = match (charged, won) {
        (Outcome::Replayed { receipt: charge, .. }, Outcome::Replayed { receipt: win, current_balance }) => {
            (charge, win, Some(current_balance))
        }
        (
            Outcome::Applied(charge) | Outcome::Replayed { receipt: charge, .. },
            Outcome::Applied(win) | Outcome::Replayed { receipt: win, .. },
        ) => (charge, win, None),
        (Outcome::Refused(refusal), _) | (_, Outcome::Refused(refusal)) => return Outcome::Refused(refusal),
    };
    // A win that came before its charge, by a call of its own, does not have the balance after both.
    let last = if charge.entry.entry_id > win.entry.entry_id { &charge.entry } else { &win.entry };
    let effect = Effect::Played { charge_entry_id: charge.entry.entry_id, balance: last.balance_after };
    let receipt = Receipt { entry: win.entry, effect };
    match replayed {
        Some(current_balance) => Outcome::Replayed { receipt, current_balance },
        None => Outcome::Applied(receipt),
    }
}

#[cfg(test)]
mod tests;
