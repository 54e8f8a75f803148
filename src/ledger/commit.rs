//! The chain of commits: each hash covers everything that was committed before.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{Currency, Entry, EntryId, Timestamp};

/// The version of the form in which a commit's entries are hashed. A later version leaves the commits before it as they
/// are. The numbers are stored and hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// As [`Entry::append_canonical_bytes`] documents it.
    V1 = 1,
}

impl Form {
    /// The form that commits are written in.
    pub const CURRENT: Self = Self::V1;

    /// The number by which the form is stored and hashed.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The form with this code, if there is one.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        (code == i64::from(Self::V1.code())).then_some(Self::V1)
    }
}

/// SHA-256 over everything that was ever committed, up to and including one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitHash(pub [u8; 32]);

impl CommitHash {
    /// What the first commit of a ledger in this currency follows: SHA-256 over `wallet ledger in EUR`, in ASCII, with
    /// the currency's own code.
    #[must_use]
    pub fn genesis(currency: Currency) -> Self {
        Self(Sha256::digest(format!("wallet ledger in {currency}")).into())
    }

    /// Parses 64 hexadecimal digits, in either case; `None` if the text is anything else.
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
    /// SHA-256 over this hash's 32 bytes, the form's code as one byte, and each entry's canonical bytes in ledger
    /// order.
    #[must_use]
    pub fn chain(&self, form: Form, entries: &[Entry]) -> Self {
        let mut hasher = CommitHasher::new(*self, form);
        for entry in entries {
            hasher.add(entry);
        }
        hasher.finish()
    }
}

impl fmt::Display for CommitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Computes the hash of a commit entry by entry, as [`CommitHash::chain`] documents it.
#[derive(Clone, Debug)]
pub(super) struct CommitHasher {
    form: Form,
    hasher: Sha256,
    /// The canonical bytes of one entry, kept for their capacity.
    bytes: Vec<u8>,
}

impl CommitHasher {
    /// The hasher of the commit that follows the one with this hash.
    pub(super) fn new(CommitHash(before): CommitHash, form: Form) -> Self {
        let mut hasher = Sha256::new_with_prefix(before);
        hasher.update([form.code()]);
        Self { form, hasher, bytes: Vec::with_capacity(Entry::CANONICAL_LEN_MIN) }
    }

    /// Adds the commit's next entry.
    pub(super) fn add(&mut self, entry: &Entry) {
        self.bytes.clear();
        match self.form {
            Form::V1 => entry.append_canonical_bytes(&mut self.bytes),
        }
        self.hasher.update(&self.bytes);
    }

    /// The hash of the commit with the entries that were added.
    pub(super) fn finish(self) -> CommitHash {
        CommitHash(self.hasher.finalize().into())
    }
}

/// One commit: the head of the chain when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// 1, 2, 3, … without gaps; 0 is the empty ledger.
    pub commit_id: i64,
    /// The form in which its entries are hashed.
    pub form: Form,
    /// The last entry it wrote.
    pub last_entry_id: EntryId,
    pub hash: CommitHash,
    pub created_at: Timestamp,
}

impl Commit {
    /// The commit that writes `entries` after this one; `None` if there are no entries.
    #[must_use]
    pub fn next(&self, entries: &[Entry]) -> Option<Self> {
        let last = entries.last()?;
        Some(Self {
            commit_id: self.commit_id + 1,
            form: Form::CURRENT,
            last_entry_id: last.entry_id,
            hash: self.hash.chain(Form::CURRENT, entries),
            created_at: last.created_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::charge;
    use super::super::{Amount, Genesis, Shard};
    use super::*;

    fn genesis(code: &str) -> CommitHash {
        CommitHash::genesis(code.parse().unwrap())
    }

    #[test]
    fn the_hashes_never_change() {
        // Computed with Python's hashlib.
        let eur = "1b297af105d7c0869145cb2d812d32afcdb36c4fbb8a8b3442061b13bdfe2f17";
        assert_eq!(genesis("EUR").to_string(), eur);
        let one = genesis("EUR").chain(Form::V1, &[charge()]);
        assert_eq!(one.to_string(), "c2cef895bad8fff1a8a5d2c5ff9eefeb9ce5ff4d5a8cba10a8cbce23917e1f88");
    }

    #[test]
    fn a_hash_covers_the_currency_the_commit_before_and_every_entry() {
        let one = genesis("EUR").chain(Form::V1, &[charge()]);
        assert_ne!(genesis("USD").chain(Form::V1, &[charge()]), one);
        let altered = Entry { amount: Amount::ZERO, ..charge() };
        assert_ne!(genesis("EUR").chain(Form::V1, &[altered]), one);
        assert_ne!(one.chain(Form::V1, &[charge()]), one);
        assert_ne!(genesis("EUR").chain(Form::V1, &[charge(), charge()]), one.chain(Form::V1, &[charge()]));
    }

    #[test]
    fn a_form_is_known_by_its_code() {
        assert_eq!(Form::from_code(1), Some(Form::V1));
        assert_eq!((Form::from_code(0), Form::from_code(2)), (None, None));
    }

    #[test]
    fn a_commit_of_nothing_is_none() {
        let genesis = Genesis::new("EUR".parse().unwrap()).commit(Shard::FIRST);
        assert_eq!(genesis.next(&[]), None);
        let next = genesis.next(&[charge()]).unwrap();
        assert_eq!((next.commit_id, next.last_entry_id, next.created_at), (1, charge().entry_id, charge().created_at));
    }
}
