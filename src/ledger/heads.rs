//! Where a whole ledger ends: the head of each shard's chain.

use sha2::{Digest, Sha256};

use super::{Checkpoint, Checkpoints, Commit, CommitHash, EntryId, Shard, Timestamp};

/// The head of each shard's chain, in the order of the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads(Vec<Commit>);

impl Heads {
    /// These heads, one for each shard in order.
    ///
    /// # Panics
    /// If there are none: every ledger has a shard.
    #[must_use]
    pub fn new(heads: Vec<Commit>) -> Self {
        assert!(!heads.is_empty(), "every ledger has a shard");
        Self(heads)
    }

    /// Each shard with its head, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Shard, &Commit)> {
        self.0.iter().map(|head| (Shard::of_entry(head.last_entry_id), head))
    }

    /// The last entry of each shard, in order.
    pub fn last_entry_ids(&self) -> impl Iterator<Item = EntryId> {
        self.0.iter().map(|head| head.last_entry_id)
    }

    /// How many commits there are. On a ledger of one shard, the number of the last.
    #[must_use]
    pub fn commits(&self) -> i64 {
        self.0.iter().map(|head| head.commit_id).sum()
    }

    /// How many entries there are. On a ledger of one shard, the id of the last.
    #[must_use]
    pub fn entries(&self) -> i64 {
        self.iter().map(|(shard, head)| shard.place_of(head.last_entry_id)).sum()
    }

    /// When the last commit was made.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.0.iter().map(|head| head.created_at).max().unwrap_or_default()
    }

    /// One hash that covers all: that of the head if there is one shard. Of more: SHA-256 over each head's number, a
    /// big-endian 64-bit integer, and its hash, in the order of the shards.
    #[must_use]
    pub fn hash(&self) -> CommitHash {
        if let [only] = self.0.as_slice() {
            return only.hash;
        }
        let mut hasher = Sha256::new();
        for head in &self.0 {
            hasher.update(head.commit_id.to_be_bytes());
            hasher.update(head.hash.0);
        }
        CommitHash(hasher.finalize().into())
    }

    /// What to keep elsewhere, to prove later that nothing before was altered.
    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.0.iter().map(|head| Checkpoint::from(*head)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Genesis, Shards};
    use super::*;

    #[test]
    fn one_head_is_its_own_sum() {
        let head = Commit {
            commit_id: 7,
            last_entry_id: EntryId::new(9).unwrap(),
            ..Genesis::new("EUR".parse().unwrap()).commit(Shard::FIRST)
        };
        let heads = Heads::new(vec![head]);
        assert_eq!((heads.commits(), heads.entries(), heads.hash()), (7, 9, head.hash));
        assert_eq!(heads.checkpoints().to_string(), Checkpoint::from(head).to_string());
    }

    #[test]
    fn several_heads_are_added_up_and_hashed_together() {
        let genesis = Genesis { shards: Shards::new(2).unwrap(), ..Genesis::new("EUR".parse().unwrap()) };
        let mut commits: Vec<Commit> = genesis.shards.all().map(|shard| genesis.commit(shard)).collect();
        commits[1] = Commit { commit_id: 3, last_entry_id: commits[1].last_entry_id.next(), ..commits[1] };
        let heads = Heads::new(commits.clone());
        assert_eq!((heads.commits(), heads.entries()), (3, 1));
        let bytes = [&0_i64.to_be_bytes()[..], &commits[0].hash.0, &3_i64.to_be_bytes()[..], &commits[1].hash.0];
        assert_eq!(heads.hash(), CommitHash(Sha256::digest(bytes.concat()).into()));
        assert_eq!(heads.checkpoints().to_string().matches(',').count(), 1);
    }
}
