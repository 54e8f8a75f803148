//! The ids of users, events, rounds, entries and wallets. Parsed once, valid from then on.

use std::fmt;

use uuid::Uuid;

/// Declares an id: a whole number 0 … 2^63 − 1, so that every store and every wire format holds it.
macro_rules! whole_number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// The id `number`; `None` if it is negative.
            #[must_use]
            pub const fn new(number: i64) -> Option<Self> {
                if number < 0 { None } else { Some(Self(number)) }
            }

            /// The number itself.
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

whole_number_id! {
    /// A player, as the game engines number them.
    UserId
}

whole_number_id! {
    /// A stake, a prize, an operator's transaction: the number by which a caller names a movement of money.
    ///
    /// Known only together with its user and its [`Kind`](super::Kind).
    EventId
}

whole_number_id! {
    /// A game's own number for what belongs together.
    RoundId
}

whole_number_id! {
    /// The place of an entry in the ledger: unique, and a newer entry has a higher one. On a ledger of one shard they
    /// are 1, 2, 3, … in commit order, without gaps.
    EntryId
}

impl EventId {
    /// The event of every wallet's opening: a wallet is opened once.
    pub const OPENING: Self = Self(0);
}

impl EntryId {
    /// The place before the first entry.
    pub const ZERO: Self = Self(0);
    /// The last place that there can be.
    pub const MAX: Self = Self(i64::MAX);

    /// The place before this one; `None` before [`EntryId::ZERO`].
    #[must_use]
    pub const fn previous(self) -> Option<Self> {
        Self::new(self.0 - 1)
    }

    /// The place after this one.
    ///
    /// # Panics
    /// After 2^63 − 1 entries.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("fewer than 2^63 entries"))
    }
}

/// The unique id of a user's wallet: a UUID version 7 (RFC 9562), made when the user is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WalletId(Uuid);

impl WalletId {
    /// The wallet id with these sixteen bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The sixteen bytes, as a store keeps them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl From<Uuid> for WalletId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for WalletId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_numbered_one_after_the_other() {
        let place = |number| EntryId::new(number).unwrap();
        assert_eq!((place(2).next(), place(2).previous()), (place(3), Some(place(1))));
        assert_eq!(EntryId::ZERO.previous(), None);
    }

    #[test]
    fn a_wallet_id_is_written_as_a_uuid() {
        assert_eq!(WalletId::from_bytes([0x5a; 16]).to_string(), "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a");
    }
}
