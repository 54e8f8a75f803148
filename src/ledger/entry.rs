//! The facts of the ledger: entries, wallets, and the commits that chain them.

use sha2::{Digest, Sha256};

use super::{Amount, Balance, EntryId, EventId, UserId, WalletId};

/// A moment in UTC, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Later than any entry.
    pub const MAX: Self = Self(i64::MAX);

    /// The moment `microseconds` after (or, negative, before) 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_microseconds(microseconds: i64) -> Self {
        Self(microseconds)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn microseconds(self) -> i64 {
        self.0
    }
}

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
    /// Money came in on the operator's word.
    Deposit = 5,
    /// Money went out on the operator's word.
    Withdrawal = 6,
}

impl Kind {
    /// Every kind, in the order of their codes.
    pub const ALL: [Self; 6] = [Self::Open, Self::Charge, Self::Win, Self::Rollback, Self::Deposit, Self::Withdrawal];

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

    /// The kind's name in the contract's words: `charge`, `withdrawal`, ….
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Charge => "charge",
            Self::Win => "win",
            Self::Rollback => "rollback",
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
        }
    }

    /// `before` after an entry of this kind and `amount`; `None` if that is below 0 or past [`Balance::MAX`].
    ///
    /// The one place that says which way money moves.
    #[must_use]
    pub fn apply(self, before: Balance, amount: Amount) -> Option<Balance> {
        match self {
            Self::Charge | Self::Withdrawal => before.debit(amount),
            Self::Open | Self::Win | Self::Rollback | Self::Deposit => before.credit(amount),
        }
    }
}

/// What an entry is known by: at most one exists for each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryKey {
    pub user_id: UserId,
    pub kind: Kind,
    pub event_id: EventId,
}

/// One immutable fact in a wallet's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the ledger.
    pub entry_id: EntryId,
    /// Whose wallet.
    pub user_id: UserId,
    /// Its place in the wallet's history: 1, 2, 3, ….
    pub sequence: i64,
    /// What it did.
    pub kind: Kind,
    /// The event it is known by, together with user and kind.
    pub event_id: EventId,
    /// The money it moved; [`Kind::apply`] says which way.
    pub amount: Amount,
    /// The balance it left.
    pub balance_after: Balance,
    /// The wallet's entry before this one; `None` for the first.
    pub previous_entry_id: Option<EntryId>,
    /// When it was committed. Never goes back along the ledger.
    pub created_at: Timestamp,
}

impl Entry {
    /// The length of [`canonical_bytes`](Self::canonical_bytes).
    pub const CANONICAL_LEN: usize = 9 * 8;

    /// What the entry is known by.
    #[must_use]
    pub const fn key(&self) -> EntryKey {
        EntryKey { user_id: self.user_id, kind: self.kind, event_id: self.event_id }
    }

    /// The bytes that the commit chain hashes: nine big-endian 64-bit integers, in this order: entry id, user id,
    /// sequence, kind (its code), event id, amount, balance after, previous entry id (0 for none), time (µs).
    #[must_use]
    pub fn canonical_bytes(&self) -> [u8; Self::CANONICAL_LEN] {
        let fields = [
            self.entry_id.get(),
            self.user_id.get(),
            self.sequence,
            i64::from(self.kind.code()),
            self.event_id.get(),
            self.amount.minor(),
            self.balance_after.minor(),
            self.previous_entry_id.unwrap_or(EntryId::ZERO).get(),
            self.created_at.microseconds(),
        ];
        let mut bytes = [0; Self::CANONICAL_LEN];
        for (slot, field) in bytes.chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }
}

/// A user's wallet, as a caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wallet {
    pub user_id: UserId,
    pub wallet_id: WalletId,
    pub balance: Balance,
    /// How many entries its history has.
    pub sequence: i64,
    pub created_at: Timestamp,
}

/// Where a wallet stands: all that a rule needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletState {
    pub balance: Balance,
    /// How many entries its history has.
    pub sequence: i64,
    /// The newest of them.
    pub last_entry_id: EntryId,
}

/// A link of the commit chain: SHA-256 over everything that was ever committed up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitHash(pub [u8; 32]);

impl CommitHash {
    /// What the first commit follows: 32 zero bytes.
    pub const GENESIS: Self = Self([0; 32]);

    /// The hash that these 64 hexadecimal digits are, in either case; `None` if they are none.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut hash = [0; 32];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(hash))
    }

    /// The hash of the commit that wrote `entries` after the commit with this hash.
    ///
    /// SHA-256 over this hash's 32 bytes and each entry's canonical bytes, in ledger order.
    #[must_use]
    pub fn chain(&self, entries: &[Entry]) -> Self {
        let mut hasher = Sha256::new_with_prefix(self.0);
        for entry in entries {
            hasher.update(entry.canonical_bytes());
        }
        Self(hasher.finalize().into())
    }
}

impl std::fmt::Display for CommitHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One commit: the head of the chain when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// 1, 2, 3, … without gaps; 0 is the empty ledger.
    pub commit_id: i64,
    /// The last entry it wrote.
    pub last_entry_id: EntryId,
    pub hash: CommitHash,
    pub created_at: Timestamp,
}

impl Commit {
    /// The head of a ledger in which nothing was committed yet.
    pub const GENESIS: Self = Self {
        commit_id: 0,
        last_entry_id: EntryId::ZERO,
        hash: CommitHash::GENESIS,
        created_at: Timestamp::from_microseconds(0),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            entry_id: EntryId::new(2).unwrap(),
            user_id: UserId::new(123_123).unwrap(),
            sequence: 2,
            kind: Kind::Charge,
            event_id: EventId::new(321_123).unwrap(),
            amount: Amount::from_minor(100).unwrap(),
            balance_after: Balance::from_minor(900).unwrap(),
            previous_entry_id: EntryId::new(1),
            created_at: Timestamp::from_microseconds(1_700_000_000_000_000),
        }
    }

    #[test]
    fn the_canonical_bytes_never_change() {
        let hex = entry().canonical_bytes().map(|byte| format!("{byte:02x}")).concat();
        let fields: Vec<&str> = hex.as_bytes().chunks(16).map(|field| std::str::from_utf8(field).unwrap()).collect();
        assert_eq!(
            fields,
            [
                "0000000000000002",
                "000000000001e0f3",
                "0000000000000002",
                "0000000000000002",
                "000000000004e663",
                "0000000000000064",
                "0000000000000384",
                "0000000000000001",
                "00060a24181e4000",
            ]
        );
    }

    #[test]
    fn a_commit_hash_covers_the_one_before_and_every_entry() {
        let one = CommitHash::GENESIS.chain(&[entry()]);
        // Computed with Python's hashlib over 32 zero bytes and the 72 bytes above.
        assert_eq!(one.to_string(), "6870ad92761a5b023216f0e165b06752978a65e1d4b2bc687fcee1840749a93a");
        let altered = Entry { amount: Amount::ZERO, ..entry() };
        assert_ne!(CommitHash::GENESIS.chain(&[altered]), one);
        assert_ne!(one.chain(&[entry()]), one);
        assert_ne!(CommitHash::GENESIS.chain(&[entry(), entry()]), one.chain(&[entry()]));
    }

    #[test]
    fn kinds_are_known_by_their_codes() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_code(i64::from(kind.code())), Some(kind));
        }
        let names = Kind::ALL.map(Kind::name);
        assert_eq!(names, ["open", "charge", "win", "rollback", "deposit", "withdrawal"]);
        assert_eq!(Kind::from_code(0), None);
        assert_eq!(Kind::from_code(7), None);
    }
}
