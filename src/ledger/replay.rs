//! Writes the history of one ledger into a chain of another.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{Changes, Commit, Entry, Genesis, Shard, UserId, WalletState};

/// A chain that another ledger's history is written into, as far as it has come.
///
/// It holds one [`WalletState`] a wallet in memory.
#[derive(Debug)]
pub struct Replay {
    head: Commit,
    wallets: HashMap<UserId, WalletState, RandomState>,
}

impl Replay {
    /// A chain of a shard of a ledger, in which nothing was committed yet.
    #[must_use]
    pub fn new(genesis: Genesis, shard: Shard) -> Self {
        Self { head: genesis.commit(shard), wallets: HashMap::default() }
    }

    /// The next commit, as it is in the other ledger. The chain begins as the other's does.
    #[must_use]
    pub fn copy(&mut self, entries: Vec<Entry>, commit: Commit) -> Changes {
        for entry in &entries {
            let state = WalletState::after(self.wallets.get(&entry.user_id).copied(), entry);
            self.wallets.insert(entry.user_id, state);
        }
        self.head = commit;
        Changes::new(entries, Some(commit), |user_id| self.wallets[&user_id])
    }

    /// The next commit, of entries of another chain: they get new ids, and keep all else. They must come in the order
    /// of their times. Returns no commit if there are none.
    #[must_use]
    pub fn append(&mut self, mut entries: Vec<Entry>) -> Changes {
        let mut last_entry_id = self.head.last_entry_id;
        let mut previous: HashMap<UserId, _, RandomState> = HashMap::default();
        for entry in &mut entries {
            last_entry_id = last_entry_id.next();
            entry.entry_id = last_entry_id;
            let before = self.wallets.get(&entry.user_id).map(|state| state.last_entry_id);
            entry.previous_entry_id = previous.insert(entry.user_id, last_entry_id).or(before);
        }
        let Some(commit) = self.head.next(&entries) else { return Changes::default() };
        self.copy(entries, commit)
    }

    /// The last commit.
    #[must_use]
    pub const fn head(&self) -> &Commit {
        &self.head
    }

    /// Each wallet after the last commit.
    #[must_use]
    pub const fn wallets(&self) -> &HashMap<UserId, WalletState, RandomState> {
        &self.wallets
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Command, EntryId, EventId, Fetched, Form, Head, Shards, Timestamp, WalletId};
    use super::*;

    fn user(number: i64) -> UserId {
        UserId::new(number).unwrap()
    }

    fn genesis(shards: u16) -> Genesis {
        Genesis { shards: Shards::new(shards).unwrap(), ..Genesis::new("EUR".parse().unwrap()) }
    }

    /// A commit of two users, the first of which is charged and frozen.
    fn commit() -> Changes {
        let head = Head { commit: genesis(1).commit(Shard::FIRST), last_event_id: None };
        let fetched = Fetched { wallets: vec![(user(1), None), (user(2), None)], ..Fetched::default() };
        let mut batch = Batch::new(head, Timestamp::from_microseconds(3), fetched);
        let event = |number| EventId::new(number).unwrap();
        batch.decide(&Command::open(user(1), WalletId::from_bytes([1; 16]), 1_000).unwrap());
        batch.decide(&Command::open(user(2), WalletId::from_bytes([2; 16]), 50).unwrap());
        batch.decide(&Command::charge(user(1), event(7), 100).unwrap());
        batch.decide(&Command::freeze(user(1), event(8)));
        batch.changes()
    }

    #[test]
    fn a_commit_that_is_copied_leaves_what_it_left() {
        let original = commit();
        let mut replay = Replay::new(genesis(1), Shard::FIRST);
        let copy = replay.copy(original.entries.clone(), original.commit.unwrap());
        assert_eq!((&copy.entries, copy.commit), (&original.entries, original.commit));
        assert_eq!((copy.opened, copy.updated), (original.opened, original.updated));
        assert_eq!(Some(*replay.head()), original.commit);
    }

    #[test]
    fn entries_that_are_appended_are_numbered_anew() {
        let shard = genesis(4).shards.all().nth(3).unwrap();
        let mut replay = Replay::new(genesis(4), shard);
        let entries = commit().entries;
        let (first, rest): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.sequence == 1);
        let first = replay.append(first);
        let second = replay.append(rest);
        let places = |changes: &Changes| {
            let place = |entry_id: EntryId| shard.place_of(entry_id);
            let places = |entry: &Entry| (place(entry.entry_id), entry.previous_entry_id.map(place));
            changes.entries.iter().map(places).collect::<Vec<_>>()
        };
        assert_eq!(places(&first), [(1, None), (2, None)]);
        assert_eq!(places(&second), [(3, Some(1)), (4, Some(3))]);
        assert_eq!((first.opened.len(), second.updated.len()), (2, 1));
        assert!(second.updated[0].1.frozen);
        assert_eq!(second.commit.unwrap().hash, first.commit.unwrap().hash.chain(Form::CURRENT, &second.entries));
        assert!(replay.append(Vec::new()).commit.is_none());
        let joined = Changes::joined(&[first.clone(), second.clone()]);
        assert_eq!((joined.entries.len(), joined.commit, joined.updated.len()), (4, second.commit, 0));
        let states: Vec<WalletState> = joined.opened.iter().map(|(_, _, state)| *state).collect();
        assert_eq!(states, [second.updated[0].1, first.opened[1].2]);
    }
}
