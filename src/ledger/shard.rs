//! How a ledger is divided: users are spread over shards, each of which has its own entries and its own chain.

use std::fmt;

use super::{EntryId, UserId};

/// How many bits of an entry's id count the entries of its shard. With the number of the shard above them, an id stays
/// below 2^53.
const PLACE_BITS: u32 = 45;

/// The number of shards that a ledger has, 1 to [`Shards::MAX`], fixed when it is made.
///
/// ```
/// use wallet::ledger::{Shards, UserId};
///
/// let user = UserId::new(123_123).unwrap();
/// assert_eq!(Shards::ONE.of(user).index(), 0);
/// let four = Shards::new(4).unwrap();
/// assert!(four.all().any(|shard| shard == four.of(user)));
/// assert_eq!((Shards::new(0), Shards::new(257)), (None, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards(u16);

impl Shards {
    /// A ledger that is not divided.
    pub const ONE: Self = Self(1);
    /// The most shards that there can be.
    pub const MAX: u16 = 256;

    /// So many shards; `None` if a ledger cannot have so many.
    #[must_use]
    pub const fn new(count: u16) -> Option<Self> {
        if count == 0 || count > Self::MAX { None } else { Some(Self(count)) }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.0
    }

    /// Every shard, in order.
    pub fn all(self) -> impl Iterator<Item = Shard> + use<> {
        (0..self.0).map(Shard)
    }

    /// The shard of a user: it never changes, because ledgers are divided by it. It is the user's id, mixed as
    /// Stafford's variant 13 of the finalizer of `MurmurHash3` mixes it (the one of `SplitMix64`), modulo the number of
    /// shards.
    #[must_use]
    pub fn of(self, user_id: UserId) -> Shard {
        let mut mixed = user_id.get().cast_unsigned();
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // Less than the number of shards, and so never cut.
        Shard(u16::try_from(mixed % u64::from(self.0)).unwrap_or_default())
    }
}

impl fmt::Display for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 shard"),
            count => write!(f, "{count} shards"),
        }
    }
}

/// One shard of a ledger. They are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u16);

impl Shard {
    /// The first shard: the only one of a ledger that is not divided.
    pub const FIRST: Self = Self(0);

    /// The shard of an entry.
    #[must_use]
    pub fn of_entry(entry_id: EntryId) -> Self {
        // An id has 63 bits: more than there are shards is no entry's, and belongs to none that a ledger has.
        Self(u16::try_from(entry_id.get() >> PLACE_BITS).unwrap_or(u16::MAX))
    }

    /// Its number.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.0
    }

    /// Its place in a list of one for each shard.
    #[must_use]
    pub fn place(self) -> usize {
        self.0.into()
    }

    /// The id before that of its first entry. Of the first shard it is [`EntryId::ZERO`]: its entries are numbered 1,
    /// 2, 3, ….
    #[must_use]
    pub fn base(self) -> EntryId {
        // 16 bits and 45 are fewer than 63.
        EntryId::new(i64::from(self.0) << PLACE_BITS).unwrap_or(EntryId::MAX)
    }

    /// The place of one of its entries among them: 1, 2, 3, …; 0 of its base.
    #[must_use]
    pub fn place_of(self, entry_id: EntryId) -> i64 {
        entry_id.get() - self.base().get()
    }

    /// The id of its entry at a place; `None` if it cannot have so many.
    #[must_use]
    pub fn entry_at(self, place: i64) -> Option<EntryId> {
        let fits = (0..1 << PLACE_BITS).contains(&place);
        if fits { EntryId::new(self.base().get() + place) } else { None }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_never_move_to_another_shard() {
        // Computed with Python.
        let shards = Shards::new(16).unwrap();
        let of = |number| shards.of(UserId::new(number).unwrap()).index();
        assert_eq!([0, 1, 2, 3, 123_123, i64::MAX].map(of), [0, 5, 10, 0, 15, 13]);
    }

    #[test]
    fn users_are_spread_evenly() {
        let shards = Shards::new(7).unwrap();
        let mut counts = [0; 7];
        for number in 0..70_000 {
            counts[shards.of(UserId::new(number).unwrap()).place()] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn an_entry_tells_its_shard_and_its_place() {
        assert_eq!(Shard::FIRST.base(), EntryId::ZERO);
        let last = Shards::new(Shards::MAX).unwrap().all().last().unwrap();
        for shard in [Shard::FIRST, Shard(1), last] {
            let third = shard.base().next().next().next();
            assert_eq!((Shard::of_entry(third), shard.place_of(third)), (shard, 3));
            assert_eq!(shard.entry_at(3), Some(third));
            assert!(third.get() < 1 << 53, "{third}");
        }
        assert_eq!((Shard::FIRST.entry_at(1 << PLACE_BITS), Shard::FIRST.entry_at(-1)), (None, None));
    }
}
