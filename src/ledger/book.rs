//! The rules: one batch of commands against the part of the ledger that it touches.

use std::collections::{HashMap, HashSet};

use super::{
    Action, Amount, Balance, Command, Commit, Entry, EntryKey, EventId, Kind, Outcome, Receipt, Refusal, Timestamp,
    UserId, WalletId, WalletState,
};

/// The wallets and entries that a batch touches, open at the head of the ledger.
///
/// A store first lays in what the batch's commands ask for ([`lay_in_wallet`](Book::lay_in_wallet),
/// [`lay_in_entry`](Book::lay_in_entry)), then lets the book [`decide`](Book::decide) each command in order, then
/// writes [`changes`](Book::changes). A later command sees what an earlier one did.
///
/// ```
/// use wallet::ledger::{Book, Command, Commit, EventId, Outcome, Timestamp, UserId, WalletId};
///
/// let (user, event) = (UserId::new(123_123).unwrap(), EventId::new(321_123).unwrap());
/// let mut book = Book::new(Commit::GENESIS, Timestamp::from_microseconds(0));
/// book.lay_in_wallet(user, None);
/// book.decide(&Command::open(user, WalletId::from_bytes([7; 16]), 1_000).unwrap());
///
/// let charge = Command::charge(user, event, 100).unwrap();
/// let Outcome::Applied(first) = book.decide(&charge) else { panic!("there is enough") };
/// assert_eq!(first.entry.balance_after.minor(), 900);
///
/// // The same command again moves nothing and gets the first answer.
/// let Outcome::Replayed { receipt, current_balance } = book.decide(&charge) else { panic!("it is known") };
/// assert_eq!(receipt, first);
/// assert_eq!(current_balance.minor(), 900);
/// ```
#[derive(Debug)]
pub struct Book {
    head: Commit,
    now: Timestamp,
    /// `None` is a user that does not exist.
    wallets: HashMap<UserId, Option<WalletState>>,
    /// Of wallets that the batch opens, or asks to.
    wallet_ids: HashMap<UserId, WalletId>,
    entries: HashMap<EntryKey, Entry>,
    written: Vec<Entry>,
}

/// What a batch leaves to be written. Nothing at all if every command was a replay or refused.
#[derive(Debug, Default)]
pub struct Changes {
    /// The new entries, in ledger order.
    pub entries: Vec<Entry>,
    /// The wallets that were made, with where they stand at the end, by user.
    pub opened: Vec<(UserId, WalletId, WalletState)>,
    /// The other wallets that updated, with where they stand at the end, by user.
    pub updated: Vec<(UserId, WalletState)>,
    /// The commit that chains the entries; `None` when there are none.
    pub commit: Option<Commit>,
}

impl Book {
    /// Opens the book behind the commit `head`. Entries get the time `now`, or `head`'s if the clock went back.
    #[must_use]
    pub fn new(head: Commit, now: Timestamp) -> Self {
        let now = now.max(head.created_at);
        let (wallets, wallet_ids, entries) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { head, now, wallets, wallet_ids, entries, written: Vec::new() }
    }

    /// Whether the user's wallet was laid in, or found missing, already.
    #[must_use]
    pub fn has_wallet(&self, user_id: UserId) -> bool {
        self.wallets.contains_key(&user_id)
    }

    /// Lays in where a user's wallet stands, or that there is none. To be done once for each user of the batch.
    ///
    /// # Panics
    /// If it is done again: what was decided in between would be lost.
    pub fn lay_in_wallet(&mut self, user_id: UserId, state: Option<WalletState>) {
        let previous = self.wallets.insert(user_id, state);
        assert!(previous.is_none(), "the wallet of user {user_id} was laid in twice");
    }

    /// Lays in the id of a wallet that exists. To be done for each command that would open it again.
    pub fn lay_in_wallet_id(&mut self, user_id: UserId, wallet_id: WalletId) {
        self.wallet_ids.insert(user_id, wallet_id);
    }

    /// Lays in an entry of the past. To be done, for each command, with every entry of its user and event.
    pub fn lay_in_entry(&mut self, entry: Entry) {
        self.entries.insert(entry.key(), entry);
    }

    /// Rules on one command, and notes what it does.
    ///
    /// The checks come in the contract's order: user, rolled back, replay or conflict, balance and limit. (That the
    /// command is well formed and its amount not negative is given by its type.)
    ///
    /// # Panics
    /// If the command's wallet was not laid in: that is a bug of the store, and deciding would be a guess.
    pub fn decide(&mut self, command: &Command) -> Outcome {
        let Command { user_id, event_id, action } = *command;
        let state = *self.wallets.get(&user_id).expect("the wallets of a batch are laid in before it is decided");
        let outcome = match (state, action) {
            (None, Action::Open { wallet_id, opening }) => self.open(user_id, wallet_id, opening),
            (None, _) => Err(Refusal::UnknownUser),
            (Some(state), action) => self.decide_for(user_id, event_id, state, action),
        };
        outcome.unwrap_or_else(Outcome::Refused)
    }

    /// The first opening of a wallet.
    fn open(&mut self, user_id: UserId, wallet_id: WalletId, opening: Amount) -> Result<Outcome, Refusal> {
        let entry = self.write(user_id, EventId::OPENING, Kind::Open, opening, None)?;
        self.wallet_ids.insert(user_id, wallet_id);
        Ok(Outcome::Applied(Receipt { entry, applied: true, wallet_id: Some(wallet_id) }))
    }

    /// Any action on a wallet that exists.
    fn decide_for(
        &mut self,
        user_id: UserId,
        event_id: EventId,
        state: WalletState,
        action: Action,
    ) -> Result<Outcome, Refusal> {
        let kind = action.kind();
        let of_event = |kind| EntryKey { user_id, kind, event_id };
        if kind == Kind::Charge && self.entries.contains_key(&of_event(Kind::Rollback)) {
            return Err(Refusal::RolledBack);
        }
        let (amount, applied) = match action {
            Action::Open { opening, .. } => (opening, true),
            Action::Charge(amount) | Action::Win(amount) | Action::Deposit(amount) | Action::Withdraw(amount) => {
                (amount, true)
            }
            // An unknown charge is rolled back by an entry of nothing, which bars it for good.
            Action::Rollback => match self.entries.get(&of_event(Kind::Charge)) {
                Some(charge) => (charge.amount, true),
                None => (Amount::ZERO, false),
            },
        };
        if let Some(&entry) = self.entries.get(&of_event(kind)) {
            if entry.amount != amount {
                return Err(Refusal::EventConflict { recorded: entry.amount });
            }
            let wallet_id = if kind == Kind::Open { self.wallet_ids.get(&user_id).copied() } else { None };
            let receipt = Receipt { entry, applied, wallet_id };
            return Ok(Outcome::Replayed { receipt, current_balance: state.balance });
        }
        let entry = self.write(user_id, event_id, kind, amount, Some(state))?;
        Ok(Outcome::Applied(Receipt { entry, applied, wallet_id: None }))
    }

    /// Appends the entry that moves `amount`, and moves the wallet on to it.
    fn write(
        &mut self,
        user_id: UserId,
        event_id: EventId,
        kind: Kind,
        amount: Amount,
        state: Option<WalletState>,
    ) -> Result<Entry, Refusal> {
        let before = state.map_or(Balance::ZERO, |state| state.balance);
        let balance_after = kind.apply(before, amount).ok_or(match kind {
            Kind::Charge | Kind::Withdrawal => Refusal::BalanceTooLow { balance: before },
            Kind::Open | Kind::Win | Kind::Rollback | Kind::Deposit => Refusal::BalanceLimit,
        })?;
        assert_eq!(before.minor().abs_diff(balance_after.minor()), amount.minor().unsigned_abs(), "money is conserved");
        let last_entry_id = self.written.last().map_or(self.head.last_entry_id, |entry| entry.entry_id);
        let entry = Entry {
            entry_id: last_entry_id.next(),
            user_id,
            sequence: state.map_or(0, |state| state.sequence) + 1,
            kind,
            event_id,
            amount,
            balance_after,
            previous_entry_id: state.map(|state| state.last_entry_id),
            created_at: self.now,
        };
        let state = WalletState { balance: balance_after, sequence: entry.sequence, last_entry_id: entry.entry_id };
        self.wallets.insert(user_id, Some(state));
        let known = self.entries.insert(entry.key(), entry);
        assert!(known.is_none(), "an entry is written once: {entry:?}");
        self.written.push(entry);
        Ok(entry)
    }

    /// Closes the book: what is to be written, in one transaction, for the outcomes to be true.
    ///
    /// # Panics
    /// Never: a wallet with an entry exists.
    #[must_use]
    pub fn changes(self) -> Changes {
        let Some(last) = self.written.last() else { return Changes::default() };
        let commit = Commit {
            commit_id: self.head.commit_id + 1,
            last_entry_id: last.entry_id,
            hash: self.head.hash.chain(&self.written),
            created_at: self.now,
        };
        let opened: HashSet<UserId> =
            self.written.iter().filter(|entry| entry.kind == Kind::Open).map(|entry| entry.user_id).collect();
        let mut touched: Vec<UserId> = self.written.iter().map(|entry| entry.user_id).collect();
        touched.sort_unstable();
        touched.dedup();
        let mut changes = Changes { commit: Some(commit), ..Changes::default() };
        for user_id in touched {
            let state = self.wallets[&user_id].expect("a wallet with an entry exists");
            if opened.contains(&user_id) {
                changes.opened.push((user_id, self.wallet_ids[&user_id], state));
            } else {
                changes.updated.push((user_id, state));
            }
        }
        changes.entries = self.written;
        changes
    }
}

#[cfg(test)]
mod tests {
    //! Each refusal beside its rule, in the contract's order of precedence.

    use super::super::EntryId;
    use super::*;

    const USER: i64 = 123_123;

    fn user() -> UserId {
        UserId::new(USER).unwrap()
    }

    fn event(number: i64) -> EventId {
        EventId::new(number).unwrap()
    }

    fn open(minor: i64) -> Command {
        Command::open(user(), WalletId::from_bytes([1; 16]), minor).unwrap()
    }

    fn charge(number: i64, minor: i64) -> Command {
        Command::charge(user(), event(number), minor).unwrap()
    }

    fn win(number: i64, minor: i64) -> Command {
        Command::win(user(), event(number), minor).unwrap()
    }

    fn rollback(number: i64) -> Command {
        Command::rollback(user(), event(number))
    }

    /// A book in which only the user's wallet exists, with this balance.
    fn book(minor: i64) -> Book {
        let mut book = Book::new(Commit::GENESIS, Timestamp::from_microseconds(7));
        book.lay_in_wallet(user(), None);
        assert_eq!(balance(book.decide(&open(minor))), minor);
        book
    }

    fn balance(outcome: Outcome) -> i64 {
        match outcome {
            Outcome::Applied(receipt) => receipt.entry.balance_after.minor(),
            other => panic!("not applied: {other:?}"),
        }
    }

    fn refusal(outcome: Outcome) -> Refusal {
        match outcome {
            Outcome::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn amount(minor: i64) -> Amount {
        Amount::from_minor(minor).unwrap()
    }

    #[test]
    fn a_negative_amount_is_refused_before_anything_is_known() {
        assert_eq!(Command::charge(user(), event(1), -1), Err(Refusal::NegativeAmount(Kind::Charge)));
        assert_eq!(Command::win(user(), event(1), i64::MIN), Err(Refusal::NegativeAmount(Kind::Win)));
        assert_eq!(Command::deposit(user(), event(1), -1), Err(Refusal::NegativeAmount(Kind::Deposit)));
        assert_eq!(Command::withdraw(user(), event(1), -1), Err(Refusal::NegativeAmount(Kind::Withdrawal)));
        let wallet_id = WalletId::from_bytes([1; 16]);
        assert_eq!(Command::open(user(), wallet_id, -1), Err(Refusal::NegativeAmount(Kind::Open)));
    }

    #[test]
    fn an_unknown_user_is_refused_whatever_is_asked() {
        let mut book = Book::new(Commit::GENESIS, Timestamp::default());
        book.lay_in_wallet(user(), None);
        for command in [charge(1, 0), win(1, i64::MAX), rollback(1)] {
            assert_eq!(refusal(book.decide(&command)), Refusal::UnknownUser);
        }
        assert!(book.changes().commit.is_none());
    }

    #[test]
    fn a_charge_that_was_rolled_back_is_refused_before_it_is_a_replay_or_a_conflict() {
        let mut book = book(1_000);
        book.decide(&charge(1, 100));
        assert_eq!(balance(book.decide(&rollback(1))), 1_000);
        assert_eq!(refusal(book.decide(&charge(1, 100))), Refusal::RolledBack);
        assert_eq!(refusal(book.decide(&charge(1, 999_999))), Refusal::RolledBack);
    }

    #[test]
    fn a_rollback_of_an_unknown_charge_is_remembered() {
        let mut book = book(1_000);
        let Outcome::Applied(first) = book.decide(&rollback(1)) else { panic!() };
        assert!(!first.applied);
        assert_eq!(first.entry.amount, Amount::ZERO);
        assert_eq!(refusal(book.decide(&charge(1, 100))), Refusal::RolledBack);
        let again = book.decide(&rollback(1));
        assert_eq!(again, Outcome::Replayed { receipt: first, current_balance: first.entry.balance_after });
        assert_eq!(balance(book.decide(&win(1, 100))), 1_100, "a win of the same number is another event");
    }

    #[test]
    fn a_rollback_of_a_charge_of_nothing_was_applied_each_time() {
        let mut book = book(0);
        book.decide(&charge(1, 0));
        assert!(matches!(book.decide(&rollback(1)), Outcome::Applied(Receipt { applied: true, .. })));
        let again = book.decide(&rollback(1));
        assert!(matches!(again, Outcome::Replayed { receipt: Receipt { applied: true, .. }, .. }));
    }

    #[test]
    fn a_replay_comes_before_the_balance_and_a_conflict_too() {
        let mut book = book(100);
        let Outcome::Applied(first) = book.decide(&charge(1, 100)) else { panic!() };
        let again = book.decide(&charge(1, 100));
        assert_eq!(again, Outcome::Replayed { receipt: first, current_balance: Balance::ZERO });
        let other = book.decide(&charge(1, 999));
        assert_eq!(refusal(other), Refusal::EventConflict { recorded: amount(100) });
    }

    #[test]
    fn a_wallet_is_opened_once() {
        let mut book = book(1_000);
        book.decide(&charge(1, 100));
        let again = Command::open(user(), WalletId::from_bytes([2; 16]), 1_000).unwrap();
        let Outcome::Replayed { receipt, current_balance } = book.decide(&again) else { panic!() };
        assert_eq!(receipt.wallet_id, Some(WalletId::from_bytes([1; 16])));
        assert_eq!((receipt.entry.balance_after.minor(), current_balance.minor()), (1_000, 900));
        assert_eq!(refusal(book.decide(&open(1))), Refusal::EventConflict { recorded: amount(1_000) });
    }

    #[test]
    fn what_was_laid_in_is_known() {
        let mut first = book(1_000);
        let Outcome::Applied(charged) = first.decide(&charge(1, 100)) else { panic!() };
        let changes = first.changes();
        let mut later = Book::new(changes.commit.unwrap(), Timestamp::from_microseconds(8));
        assert!(!later.has_wallet(user()));
        later.lay_in_wallet(user(), Some(changes.opened[0].2));
        assert!(later.has_wallet(user()));
        later.lay_in_wallet_id(user(), changes.opened[0].1);
        changes.entries.iter().for_each(|entry| later.lay_in_entry(*entry));
        let again = later.decide(&charge(1, 100));
        assert_eq!(again, Outcome::Replayed { receipt: charged, current_balance: charged.entry.balance_after });
        let Outcome::Replayed { receipt, .. } = later.decide(&open(1_000)) else { panic!() };
        assert_eq!(receipt.wallet_id, Some(WalletId::from_bytes([1; 16])));
        assert!(later.changes().commit.is_none(), "replays write nothing");
    }

    #[test]
    fn too_little_is_refused_and_leaves_no_trace() {
        let mut book = book(1_000);
        let low = Refusal::BalanceTooLow { balance: Balance::from_minor(1_000).unwrap() };
        assert_eq!(refusal(book.decide(&charge(1, 1_001))), low);
        assert_eq!(refusal(book.decide(&charge(1, i64::MAX))), low);
        assert_eq!(refusal(book.decide(&Command::withdraw(user(), event(1), 1_001).unwrap())), low);
        assert_eq!(balance(book.decide(&charge(1, 1_000))), 0, "the refused event's id may be used again");
    }

    #[test]
    fn a_balance_past_the_limit_is_refused() {
        let max = Balance::MAX.minor();
        let mut book = book(max - 100);
        assert_eq!(refusal(book.decide(&win(1, 101))), Refusal::BalanceLimit);
        assert_eq!(refusal(book.decide(&Command::deposit(user(), event(1), i64::MAX).unwrap())), Refusal::BalanceLimit);
        assert_eq!(balance(book.decide(&charge(2, 50))), max - 150);
        assert_eq!(balance(book.decide(&win(1, 150))), max);
        assert_eq!(refusal(book.decide(&rollback(2))), Refusal::BalanceLimit);
        let mut empty = Book::new(Commit::GENESIS, Timestamp::default());
        empty.lay_in_wallet(user(), None);
        assert_eq!(refusal(empty.decide(&open(max + 1))), Refusal::BalanceLimit);
    }

    #[test]
    fn the_same_number_is_another_event_for_another_kind() {
        let mut book = book(1_000);
        assert_eq!(balance(book.decide(&charge(1, 100))), 900);
        assert_eq!(balance(book.decide(&win(1, 7))), 907);
        assert_eq!(balance(book.decide(&Command::deposit(user(), event(1), 9).unwrap())), 916);
        assert_eq!(balance(book.decide(&Command::withdraw(user(), event(1), 16).unwrap())), 900);
        assert_eq!(balance(book.decide(&rollback(1))), 1_000);
    }

    #[test]
    fn changes_hold_the_entries_in_order_and_where_each_wallet_stands() {
        let mut book = book(1_000);
        let other = UserId::new(1).unwrap();
        let state = WalletState { balance: Balance::ZERO, sequence: 4, last_entry_id: EntryId::new(9).unwrap() };
        book.lay_in_wallet(other, Some(state));
        book.decide(&charge(1, 100));
        book.decide(&Command::win(other, event(1), 5).unwrap());
        let changes = book.changes();
        let places: Vec<_> = changes.entries.iter().map(|entry| (entry.entry_id.get(), entry.sequence)).collect();
        assert_eq!(places, [(1, 1), (2, 2), (3, 5)]);
        assert_eq!(changes.entries[2].previous_entry_id, EntryId::new(9));
        assert_eq!(changes.opened.len(), 1);
        assert_eq!(changes.opened[0].2.balance.minor(), 900);
        assert_eq!(changes.updated.len(), 1);
        assert_eq!(changes.updated[0].1.sequence, 5);
        let commit = changes.commit.unwrap();
        assert_eq!((commit.commit_id, commit.last_entry_id.get()), (1, 3));
        assert_eq!(commit.hash, Commit::GENESIS.hash.chain(&changes.entries));
    }

    #[test]
    fn time_never_goes_back() {
        let head = Commit { created_at: Timestamp::from_microseconds(50), ..Commit::GENESIS };
        let mut book = Book::new(head, Timestamp::from_microseconds(40));
        book.lay_in_wallet(user(), None);
        book.decide(&open(0));
        assert_eq!(book.changes().entries[0].created_at.microseconds(), 50);
    }
}
