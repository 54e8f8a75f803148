//! The wallets that are charged, and the balance of each, which every reply is checked against.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// The number of wallets, without the hot one.
pub const COUNT: i64 = 10_000;
/// The wallet that all callers charge where one hot wallet is measured.
pub const HOT: i64 = COUNT;
/// The opening balance of each wallet, in minor units.
pub const OPENING: i64 = 1_000_000_000;

/// The first event of a filled ledger. It is a large number, as from an engine that has numbered events for years.
const EVENT_FILLED: i64 = 1 << 40;
/// The distance between two events of a filled ledger.
const SPACING: i64 = 1 << 10;
/// The first event after those of a filled ledger.
const EVENT_RISING: i64 = 1 << 42;

/// How the events of charges are numbered. Two of these never give the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ids {
    /// Upwards, with a distance between any two. These events fill a large ledger.
    Spaced,
    /// Upwards, after all spaced and random events.
    Rising,
    /// In no order, among the events of a filled ledger (or among a million numbers, if it was not filled). Each event
    /// is on another page of the index, as it is when an engine draws its ids at random.
    Random,
}

/// All wallets of one ledger.
pub struct Wallets {
    /// The balance of each wallet after every charge that was issued.
    balances: Vec<AtomicI64>,
    /// The number of charges that were issued, by [`Ids`].
    issued: [AtomicI64; 3],
}

/// One charge of 1 minor unit.
#[derive(Clone, Copy, Debug)]
pub struct Charge {
    pub user: i64,
    pub event: i64,
    /// The highest balance that the charge can leave.
    highest: i64,
}

impl Wallets {
    pub fn new() -> Self {
        let balances = (0..=HOT).map(|_| AtomicI64::new(OPENING)).collect();
        Self { balances, issued: Default::default() }
    }

    /// The number of entries in the ledger after every charge was answered.
    pub fn entries(&self) -> i64 {
        COUNT + 1 + self.issued.iter().map(|issued| issued.load(Relaxed)).sum::<i64>()
    }

    /// The balance of `user` after every charge was answered.
    pub fn balance(&self, user: i64) -> i64 {
        self.cell(user).load(Relaxed)
    }

    /// The balances of `user` that a read may return if the balance was `before` when the read began. One or two
    /// charges may be in flight.
    pub fn readable(&self, user: i64, before: i64) -> Range<i64> {
        self.balance(user)..before + 2
    }

    fn cell(&self, user: i64) -> &AtomicI64 {
        usize::try_from(user).ok().and_then(|user| self.balances.get(user)).expect("a user of this benchmark")
    }

    fn event(&self, ids: Ids) -> i64 {
        let number = self.issued[ids as usize].fetch_add(1, Relaxed);
        match ids {
            Ids::Spaced => EVENT_FILLED + number * SPACING,
            Ids::Rising => EVENT_RISING + number,
            Ids::Random => {
                let filled = self.issued[Ids::Spaced as usize].load(Relaxed).max(1_000_000);
                // A prime that divides no such size. So this is a permutation: it gives each place once, then again.
                let place = number.wrapping_mul(2_654_435_761).rem_euclid(filled);
                EVENT_FILLED + place * SPACING + 1 + number / filled
            }
        }
    }
}

impl Clone for Wallets {
    fn clone(&self) -> Self {
        let copy = |cell: &AtomicI64| AtomicI64::new(cell.load(Relaxed));
        Self { balances: self.balances.iter().map(copy).collect(), issued: self.issued.each_ref().map(copy) }
    }
}

/// The wallets that one caller charges. No other caller charges them at that time, except the hot one, so the caller
/// knows to the cent what each reply must say.
pub struct Share {
    pub wallets: Arc<Wallets>,
    ids: Ids,
    users: Users,
    /// The number of callers that charge the same wallets.
    sharers: i64,
}

enum Users {
    Hot,
    /// `many` wallets, every `step`th from `first` on.
    Own {
        first: i64,
        step: i64,
        many: i64,
        turn: i64,
    },
}

impl Share {
    /// One share for each of `callers` callers. Every wallet is in exactly one share.
    pub fn deal(wallets: &Arc<Wallets>, callers: usize, ids: Ids) -> Vec<Self> {
        let step = i64::try_from(callers).expect("not that many callers");
        let own = |first| Users::Own { first, step, many: (COUNT - first - 1) / step + 1, turn: first };
        (0..step).map(|first| Self { wallets: Arc::clone(wallets), ids, users: own(first), sharers: 1 }).collect()
    }

    /// The hot wallet, for each of `callers` callers.
    pub fn hot(wallets: &Arc<Wallets>, callers: usize) -> Vec<Self> {
        let sharers = i64::try_from(callers).expect("not that many callers");
        let share = || Self { wallets: Arc::clone(wallets), ids: Ids::Rising, users: Users::Hot, sharers };
        (0..callers).map(|_| share()).collect()
    }

    /// One of the wallets. Consecutive calls return wallets that are far apart in the table.
    pub fn user(&mut self) -> i64 {
        match &mut self.users {
            Users::Hot => HOT,
            Users::Own { first, step, many, turn } => {
                *turn += 1;
                *first + *step * turn.wrapping_mul(7_919).rem_euclid(*many)
            }
        }
    }

    /// The next charge. It counts as issued, so the caller must make it.
    pub fn charge(&mut self) -> Charge {
        let user = self.user();
        let highest = self.wallets.cell(user).fetch_sub(1, Relaxed) - 1 + self.sharers - 1;
        Charge { user, event: self.wallets.event(self.ids), highest }
    }

    /// Checks the balance that a charge left.
    ///
    /// # Panics
    /// If the charge cannot have left this balance.
    pub fn check(&self, charge: &Charge, balance: i64) {
        let possible = self.wallets.balance(charge.user)..=charge.highest;
        assert!(possible.contains(&balance), "{charge:?} left {balance}, not one of {possible:?}");
    }
}
