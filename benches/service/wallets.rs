//! The wallets that are charged, and what each must hold: every reply is checked against this.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// How many wallets there are, besides the hot one.
pub const COUNT: i64 = 10_000;
/// The wallet that everybody charges at once, when that is what is measured.
pub const HOT: i64 = COUNT;
/// What each wallet is opened with, in minor units.
pub const OPENING: i64 = 1_000_000_000;

/// The first event of a ledger that is filled; far up, as an engine's that has numbered events for years.
const EVENT_FILLED: i64 = 1 << 40;
/// The room between two of those.
const SPACING: i64 = 1 << 10;
/// The first event after those.
const EVENT_RISING: i64 = 1 << 42;

/// How a charge's event is numbered. No two ways ever give the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ids {
    /// Upwards, with room between any two: what fills a large ledger.
    Spaced,
    /// Upwards, after all others.
    Rising,
    /// All over the events of a filled ledger (or, in one that was not, all over as many numbers), so that each lands on
    /// another page of the index. Engines that draw their ids at random do this to a ledger.
    Random,
}

/// All wallets of one ledger.
pub struct Wallets {
    /// What each would hold if every charge that was issued were done.
    balances: Vec<AtomicI64>,
    /// How many charges were issued, by [`Ids`].
    issued: [AtomicI64; 3],
}

/// One charge of 1 minor unit.
#[derive(Clone, Copy, Debug)]
pub struct Charge {
    pub user: i64,
    pub event: i64,
    /// The highest balance that it can leave.
    highest: i64,
}

impl Wallets {
    pub fn new() -> Self {
        let balances = (0..=HOT).map(|_| AtomicI64::new(OPENING)).collect();
        Self { balances, issued: Default::default() }
    }

    /// The entries that a ledger must hold when every charge was answered.
    pub fn entries(&self) -> i64 {
        COUNT + 1 + self.issued.iter().map(|issued| issued.load(Relaxed)).sum::<i64>()
    }

    /// What `user` must hold when every charge was answered.
    pub fn balance(&self, user: i64) -> i64 {
        self.cell(user).load(Relaxed)
    }

    /// What a reader may see of `user`'s balance who began when it was at `before`: a charge or two may be under way.
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
                // A prime that divides no such size, so that this is a permutation: each place once, then each once more.
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

/// The wallets that one caller charges. Unless it is the hot one, nobody else does meanwhile, so that it knows to the
/// cent what each reply must say.
pub struct Share {
    pub wallets: Arc<Wallets>,
    ids: Ids,
    users: Users,
    /// Callers that charge the same wallets.
    sharers: i64,
}

enum Users {
    Hot,
    /// Every `step`th from the first, `many` of them.
    Own {
        first: i64,
        step: i64,
        many: i64,
        turn: i64,
    },
}

impl Share {
    /// One share for each of so many callers, every wallet in one of them.
    pub fn deal(wallets: &Arc<Wallets>, callers: usize, ids: Ids) -> Vec<Self> {
        let step = i64::try_from(callers).expect("not that many callers");
        let own = |first| Users::Own { first, step, many: (COUNT - first - 1) / step + 1, turn: first };
        (0..step).map(|first| Self { wallets: Arc::clone(wallets), ids, users: own(first), sharers: 1 }).collect()
    }

    /// The hot wallet, for each of so many callers.
    pub fn hot(wallets: &Arc<Wallets>, callers: usize) -> Vec<Self> {
        let sharers = i64::try_from(callers).expect("not that many callers");
        let share = || Self { wallets: Arc::clone(wallets), ids: Ids::Rising, users: Users::Hot, sharers };
        (0..callers).map(|_| share()).collect()
    }

    /// One of its wallets: neighbours in time are strangers in the table.
    pub fn user(&mut self) -> i64 {
        match &mut self.users {
            Users::Hot => HOT,
            Users::Own { first, step, many, turn } => {
                *turn += 1;
                *first + *step * turn.wrapping_mul(7_919).rem_euclid(*many)
            }
        }
    }

    /// The next charge, which must now be made.
    pub fn charge(&mut self) -> Charge {
        let user = self.user();
        let highest = self.wallets.cell(user).fetch_sub(1, Relaxed) - 1 + self.sharers - 1;
        Charge { user, event: self.wallets.event(self.ids), highest }
    }

    /// Whether the charge may have left this balance.
    ///
    /// # Panics
    /// If not.
    pub fn check(&self, charge: &Charge, balance: i64) {
        let possible = self.wallets.balance(charge.user)..=charge.highest;
        assert!(possible.contains(&balance), "{charge:?} left {balance}, not one of {possible:?}");
    }
}
