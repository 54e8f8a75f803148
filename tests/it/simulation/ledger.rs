//! One shard of a ledger in memory, which keeps what a store is given.

use std::collections::BTreeMap;

use wallet::ledger::{
    Audit, AuditReport, Batch, Changes, Command, Commit, Currency, Entry, EntryFilter, EntryId, EventKey, Fetched,
    Finding, Genesis, Head, Keys, Outcome, Shard, Timestamp, Undone, UserId, WalletId, WalletState, prefetch,
};
use wallet::store::{Scan, ScanLimits};

#[derive(Clone, Debug)]
pub struct Ledger {
    genesis: Genesis,
    pub shard: Shard,
    pub entries: Vec<Entry>,
    pub commits: Vec<Commit>,
    /// By whom each commit was made: no two batches have the same number.
    pub writers: Vec<u64>,
    pub wallets: BTreeMap<UserId, (WalletId, Timestamp, WalletState)>,
}

pub fn currency() -> Currency {
    "EUR".parse().expect("a code")
}

impl Ledger {
    pub fn new(genesis: Genesis, shard: Shard) -> Self {
        let (entries, commits, writers, wallets) = (Vec::new(), Vec::new(), Vec::new(), BTreeMap::new());
        Self { genesis, shard, entries, commits, writers, wallets }
    }

    pub fn head(&self) -> Head {
        let commit = self.commits.last().copied().unwrap_or_else(|| self.genesis.commit(self.shard));
        Head { commit, last_event_id: self.entries.iter().map(|entry| entry.event_id).max() }
    }

    pub fn fetch(&self, keys: &Keys) -> Fetched {
        let wallet = |user_id: &UserId| self.wallets.get(user_id);
        let state = |user_id: &UserId| (*user_id, wallet(user_id).map(|(.., state)| *state));
        Fetched {
            wallets: keys.wallets.iter().map(state).collect(),
            events: keys.events.iter().map(|event| (*event, self.of_event(*event))).collect(),
        }
    }

    fn of_event(&self, event: EventKey) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.key().event() == event).cloned().collect()
    }

    pub fn write(&mut self, changes: &Changes, writer: u64) {
        let Changes { entries, opened, updated, commit } = changes.clone();
        let created_at = commit.map(|commit| commit.created_at).unwrap_or_default();
        self.wallets.extend(opened.into_iter().map(|(user, id, state)| (user, (id, created_at, state))));
        for (user_id, state) in updated {
            self.wallets.get_mut(&user_id).expect("a wallet that changes is there").2 = state;
        }
        self.entries.extend(entries);
        self.writers.extend(commit.map(|_| writer));
        self.commits.extend(commit);
    }

    /// Decides one command and writes what it does, as another process would.
    pub fn apply(&mut self, command: &Command, now: Timestamp, writer: u64) -> Outcome {
        let head = self.head();
        let keys = prefetch(&head, std::slice::from_ref(command));
        let mut batch = Batch::new(head, now, self.fetch(&keys));
        let outcome = batch.decide(command);
        self.write(&batch.changes(), writer);
        outcome
    }

    /// Puts everything back to before the last commit.
    pub fn lose_last_commit(&mut self) {
        self.commits.pop();
        self.writers.pop();
        let end = self.head().commit.last_entry_id;
        self.entries.retain(|entry| entry.entry_id <= end);
        let entries = &self.entries;
        self.wallets.retain(|user_id, (.., state)| {
            let own = entries.iter().filter(|entry| entry.user_id == *user_id);
            let left = own.fold(None, |before, entry| Some(WalletState::after(before, entry)));
            left.inspect(|left| *state = *left).is_some()
        });
    }

    /// The ledger's own proof.
    pub fn audit(&self) -> Result<AuditReport, Finding> {
        let Ledger { genesis, shard, entries, commits, wallets, .. } = self;
        let (mut audit, mut rest) = (Audit::new(*genesis, *shard, None), &entries[..]);
        for commit in commits {
            let count = rest.iter().take_while(|entry| entry.entry_id <= commit.last_entry_id).count();
            let (of_commit, after) = rest.split_at(count);
            for entry in of_commit {
                audit.entry(entry, self.undone(entry), commit.form)?;
            }
            audit.commit(commit)?;
            rest = after;
        }
        for (user_id, (_, created_at, state)) in wallets {
            audit.wallet(*user_id, *state, *created_at)?;
        }
        audit.finish()
    }

    /// Reads from behind an entry on, as a store does.
    pub fn scan(&self, after: EntryId, filter: &EntryFilter, limits: ScanLimits) -> Scan {
        let behind = self.entries.iter().filter(|entry| entry.entry_id > after).take(limits.rows_max);
        let (mut entries, mut end) = (Vec::new(), after);
        for entry in behind {
            end = entry.entry_id;
            if filter.matches(entry) {
                entries.push(entry.clone());
            }
            if entries.len() == limits.entries_max {
                break;
            }
        }
        Scan { entries, end, head: self.head().commit.last_entry_id }
    }

    fn undone(&self, rollback: &Entry) -> Option<Undone> {
        let kind = rollback.kind.undoes()?;
        let named = |entry: &&Entry| entry.kind == kind && entry.key().event() == rollback.key().event();
        self.entries.iter().find(named).map(|entry| Undone { entry_id: entry.entry_id, amount: entry.amount })
    }
}
