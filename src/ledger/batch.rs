//! The rules: one batch of commands against the part of the ledger that it touches.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::kind::Direction;
use super::prefetch::sort_dedup;
use super::{
    Action, Amount, Balance, Command, Commit, Effect, Entry, EntryKey, EventKey, Fetched, Head, Kind, Outcome, Receipt,
    Refusal, Timestamp, UserId, WalletId, WalletState,
};

/// One batch, open at the head of the ledger.
///
/// It holds what was fetched for the keys of its commands, lets a later command see what an earlier one did, and says
/// at the end what to write.
///
/// ```
/// use wallet::ledger::{Batch, Command, Commit, EventId, Fetched, Head, Outcome, Timestamp, UserId, WalletId};
///
/// let (user, event) = (UserId::new(123_123).unwrap(), EventId::new(321_123).unwrap());
/// let head = Head { commit: Commit::genesis("EUR".parse().unwrap()), last_event_id: None };
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

/// What a batch leaves to be written. Nothing at all if every command was a replay or refused.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The new entries, in ledger order.
    pub entries: Vec<Entry>,
    /// The wallets that were made, with their state at the end, by user.
    pub opened: Vec<(UserId, WalletId, WalletState)>,
    /// The other wallets that changed, with their state at the end, by user.
    pub updated: Vec<(UserId, WalletState)>,
    /// The commit that chains the entries; `None` when there are none.
    pub commit: Option<Commit>,
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
    /// The checks come in the contract's order: user, rolled back, replay or conflict, balance and limit. (That the
    /// command is well formed and its amount not negative is given by its type.)
    ///
    /// # Panics
    /// If something that [`prefetch`](super::prefetch()) names for this command was not fetched: that is a bug, and
    /// deciding would be a guess.
    pub fn decide(&mut self, command: &Command) -> Outcome {
        let state = *self.wallets.get(&command.user_id).expect("the wallet was fetched before it is decided on");
        let outcome = match (state, command.action) {
            (None, Action::Open { wallet_id, opening }) => self.open(command, wallet_id, opening),
            (None, _) => Err(Refusal::UnknownUser),
            (Some(state), _) => self.decide_for(command, state),
        };
        outcome.unwrap_or_else(Outcome::Refused)
    }

    /// The first opening of a wallet.
    fn open(&mut self, command: &Command, wallet_id: WalletId, opening: Amount) -> Result<Outcome, Refusal> {
        let entry = self.append(command, opening, None)?;
        Ok(Outcome::Applied(Receipt { entry, effect: Effect::Opened(wallet_id) }))
    }

    /// Any command for a wallet that exists.
    fn decide_for(&mut self, command: &Command, state: WalletState) -> Result<Outcome, Refusal> {
        let kind = command.action.kind();
        if kind.undone_by().is_some_and(|undoing| self.known(command, undoing).is_some()) {
            return Err(Refusal::RolledBack);
        }
        let (amount, effect) = self.amount_and_effect(command);
        if let Some(entry) = self.known(command, kind) {
            if entry.amount != amount {
                return Err(Refusal::EventConflict { recorded: entry.amount });
            }
            let receipt = Receipt { entry: entry.clone(), effect };
            return Ok(Outcome::Replayed { receipt, current_balance: state.balance });
        }
        let entry = self.append(command, amount, Some(state))?;
        Ok(Outcome::Applied(Receipt { entry, effect }))
    }

    /// The money that a command for a wallet that exists moves, and what else it does.
    fn amount_and_effect(&self, command: &Command) -> (Amount, Effect) {
        match command.action {
            Action::Open { opening, .. } => {
                let wallet_id = self.known(command, Kind::Open).and_then(|entry| entry.wallet_id);
                (opening, Effect::Opened(wallet_id.expect("a wallet that exists was opened by an entry with its id")))
            }
            Action::Charge(amount) | Action::Win(amount) | Action::Deposit(amount) | Action::Withdraw(amount) => {
                (amount, Effect::Moved)
            }
            Action::Rollback | Action::WinRollback => {
                let undone = command.action.kind().undoes().and_then(|undone| self.known(command, undone));
                // An unknown event gets an entry of amount 0, which bars it from then on.
                undone.map_or((Amount::ZERO, Effect::Barred), |undone| (undone.amount, Effect::RolledBack))
            }
        }
    }

    /// The entry of this kind with the command's event id.
    fn known(&self, command: &Command, kind: Kind) -> Option<&Entry> {
        let event = command.event();
        assert!(
            self.head.is_new(event.event_id) || self.events.contains(&event),
            "the entries of {event:?} were fetched before they are decided on"
        );
        let key = EntryKey { user_id: event.user_id, kind, event_id: event.event_id };
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
        let state = WalletState { balance: balance_after, sequence: entry.sequence, last_entry_id: entry.entry_id };
        self.wallets.insert(command.user_id, Some(state));
        self.push(entry.clone());
        Ok(entry)
    }

    fn push(&mut self, entry: Entry) {
        let known = self.index.insert(entry.key(), self.entries.len());
        assert!(known.is_none(), "an entry exists once: {entry:?}");
        self.entries.push(entry);
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
        let mut changes = Changes { commit, ..Changes::default() };
        let opened: HashMap<UserId, WalletId, RandomState> =
            written.iter().filter_map(|entry| Some((entry.user_id, entry.wallet_id?))).collect();
        let mut touched: Vec<UserId> = written.iter().map(|entry| entry.user_id).collect();
        sort_dedup(&mut touched);
        for user_id in touched {
            let state = self.wallets[&user_id].expect("a wallet with an entry exists");
            match opened.get(&user_id) {
                Some(wallet_id) => changes.opened.push((user_id, *wallet_id, state)),
                None => changes.updated.push((user_id, state)),
            }
        }
        changes.entries = written;
        changes
    }
}

#[cfg(test)]
mod tests;
