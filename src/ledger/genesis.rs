//! What was decided when a ledger was made, and what each of its chains begins with.

use sha2::{Digest, Sha256};

use super::{Commit, CommitHash, Currency, Form, Shard, Shards, Timestamp};

/// What was decided when a ledger was made. It never changes, and the chains cover it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The currency of every wallet.
    pub currency: Currency,
    /// How the ledger is divided.
    pub shards: Shards,
    /// Of a ledger that another was copied into and that is divided in another way: the hash of the other's heads.
    pub anchor: Option<CommitHash>,
}

impl Genesis {
    /// A ledger in this currency that is not divided.
    #[must_use]
    pub const fn new(currency: Currency) -> Self {
        Self { currency, shards: Shards::ONE, anchor: None }
    }

    /// What the first commit of a shard follows.
    ///
    /// Of a ledger that is not divided and has no anchor: [`CommitHash::genesis`]. Of any other: SHA-256 over `wallet
    /// ledger in EUR, shard 3 of 8`, in ASCII, with the currency's own code and the shard's number (from 0), and then
    /// the 32 bytes of the anchor, if there is one. So one shard's chain cannot be taken for another's.
    #[must_use]
    pub fn hash(&self, shard: Shard) -> CommitHash {
        let Self { currency, shards, anchor } = *self;
        if shards == Shards::ONE && anchor.is_none() {
            return CommitHash::genesis(currency);
        }
        let text = format!("wallet ledger in {currency}, shard {shard} of {}", shards.count());
        let mut hasher = Sha256::new_with_prefix(text);
        if let Some(CommitHash(anchor)) = anchor {
            hasher.update(anchor);
        }
        CommitHash(hasher.finalize().into())
    }

    /// The head of a shard in which nothing was committed yet.
    #[must_use]
    pub fn commit(&self, shard: Shard) -> Commit {
        Commit {
            commit_id: 0,
            form: Form::CURRENT,
            last_entry_id: shard.base(),
            hash: self.hash(shard),
            created_at: Timestamp::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::EntryId;
    use super::*;

    fn shard(index: usize) -> Shard {
        Shards::new(8).unwrap().all().nth(index).unwrap()
    }

    #[test]
    fn the_hashes_never_change() {
        // Computed with Python's hashlib.
        let genesis = Genesis { shards: Shards::new(8).unwrap(), ..Genesis::new("EUR".parse().unwrap()) };
        assert_eq!(
            genesis.hash(shard(3)).to_string(),
            "7a6ebba47a45d297a8b75983ecb5303909c0efb51acddae6e53e3f0535540d5f"
        );
        let anchored = Genesis { anchor: Some(CommitHash([0xab; 32])), ..genesis };
        assert_eq!(
            anchored.hash(shard(3)).to_string(),
            "f42b27e89eb084d780fbf3c0b25d24450a5a703725c71aaf6a613eb104ed7a1d"
        );
    }

    #[test]
    fn an_undivided_ledger_begins_with_the_hash_of_its_currency() {
        let currency = "EUR".parse().unwrap();
        let first = Genesis::new(currency).commit(Shard::FIRST);
        assert_eq!((first.last_entry_id, first.hash), (EntryId::ZERO, CommitHash::genesis(currency)));
    }

    #[test]
    fn each_shard_begins_with_a_hash_and_an_id_of_its_own() {
        let genesis = Genesis { shards: Shards::new(8).unwrap(), ..Genesis::new("EUR".parse().unwrap()) };
        let (one, two) = (genesis.commit(shard(1)), genesis.commit(shard(2)));
        assert!(one.hash != two.hash && one.last_entry_id < two.last_entry_id);
        let nine = Genesis { shards: Shards::new(9).unwrap(), ..genesis };
        assert_ne!(nine.hash(shard(1)), one.hash);
    }
}
