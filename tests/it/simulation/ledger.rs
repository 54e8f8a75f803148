//! A ledger in memory, built from the rules alone.

use std::collections::BTreeMap;

use wallet::ledger::{
    Action, Audit, AuditReport, Book, Changes, Command, Commit, Entry, EntryId, Finding, Kind, Outcome, Timestamp,
    UserId, WalletId, WalletState,
};

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub entries: Vec<Entry>,
    pub commits: Vec<Commit>,
    pub wallets: BTreeMap<UserId, (WalletId, Timestamp, WalletState)>,
}

impl Ledger {
    /// Decides a batch; `forgetful`, without looking up what its events did before.
    pub fn decide(&self, batch: &[Command], now: Timestamp, forgetful: bool) -> (Vec<Outcome>, Changes) {
        let mut book = Book::new(self.commits.last().copied().unwrap_or(Commit::GENESIS), now);
        for Command { user_id, event_id, action } in batch {
            let wallet = self.wallets.get(user_id);
            if !book.has_wallet(*user_id) {
                book.lay_in_wallet(*user_id, wallet.map(|(.., state)| *state));
            }
            let of_event = |entry: &&Entry| entry.user_id == *user_id && entry.event_id == *event_id;
            let known = self.entries.iter().filter(of_event).filter(|_| !forgetful);
            known.for_each(|entry| book.lay_in_entry(*entry));
            if let (Action::Open { .. }, Some((wallet_id, ..))) = (action, wallet) {
                book.lay_in_wallet_id(*user_id, *wallet_id);
            }
        }
        let outcomes = batch.iter().map(|command| book.decide(command)).collect();
        (outcomes, book.changes())
    }

    pub fn write(&mut self, Changes { entries, opened, updated, commit }: Changes) {
        let created_at = commit.map(|commit| commit.created_at).unwrap_or_default();
        self.wallets.extend(opened.into_iter().map(|(user, id, state)| (user, (id, created_at, state))));
        for (user_id, state) in updated {
            self.wallets.get_mut(&user_id).expect("a wallet that moves is there").2 = state;
        }
        self.entries.extend(entries);
        self.commits.extend(commit);
    }

    /// Puts everything back to before the last commit.
    pub fn lose_last_commit(&mut self) {
        self.commits.pop();
        let end = self.commits.last().map_or(EntryId::ZERO, |commit| commit.last_entry_id);
        self.entries.retain(|entry| entry.entry_id <= end);
        let entries = &self.entries;
        self.wallets.retain(|user_id, (.., state)| {
            let last = entries.iter().rfind(|entry| entry.user_id == *user_id);
            last.map(|entry| {
                let Entry { balance_after: balance, sequence, entry_id: last_entry_id, .. } = *entry;
                *state = WalletState { balance, sequence, last_entry_id };
            })
            .is_some()
        });
    }

    /// The ledger's own proof.
    pub fn audit(&self) -> Result<AuditReport, Finding> {
        let Ledger { entries, commits, wallets } = self;
        let (mut audit, mut rest) = (Audit::new(None), &entries[..]);
        for commit in commits {
            let count = rest.iter().take_while(|entry| entry.entry_id <= commit.last_entry_id).count();
            let (of_commit, after) = rest.split_at(count);
            for entry in of_commit {
                let is_charge = |other: &&Entry| other.kind == Kind::Charge && other.event_id == entry.event_id;
                audit.entry(entry, entries.iter().filter(|other| other.user_id == entry.user_id).find(is_charge))?;
            }
            audit.commit(commit)?;
            rest = after;
        }
        for (user_id, (_, created_at, state)) in wallets {
            audit.wallet(*user_id, *state, *created_at)?;
        }
        audit.finish()
    }
}
