//! The proof that a ledger is what its commands made it: every entry, balance, sequence and hash, once more.

use std::collections::HashMap;
use std::fmt;

use thiserror::Error;

use super::{Amount, Balance, Commit, CommitHash, Entry, EntryId, Kind, Standing, UserId};

/// Walks a whole ledger in order and recomputes it.
///
/// Feed it the entries of each commit ([`entry`](Audit::entry)) and then the commit ([`commit`](Audit::commit)), from
/// the first to the last; then every wallet as it is stored ([`wallet`](Audit::wallet)); then
/// [`finish`](Audit::finish). The first thing that is wrong ends the walk. It holds one [`Standing`] a wallet in
/// memory, and the entries of one commit.
#[derive(Debug)]
pub struct Audit {
    head: Commit,
    pending: Vec<Entry>,
    /// Where each wallet should stand. A wallet that was checked is taken out.
    standings: HashMap<UserId, Standing>,
    wallets: u64,
}

/// What a whole and correct ledger holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// The head of the chain.
    pub head: Commit,
    /// The number of wallets.
    pub wallets: u64,
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head: Commit { commit_id, last_entry_id, hash, .. }, wallets } = self;
        writeln!(
            f,
            "ok: {wallets} wallets, {last_entry_id} entries, {commit_id} commits; every balance and hash is right"
        )?;
        write!(f, "checkpoint: commit {commit_id}, entry {last_entry_id}, hash {hash}")
    }
}

/// The first thing that is wrong with a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Finding {
    /// Entries are numbered without gaps.
    #[error("entry {found} stands where entry {expected} belongs")]
    EntryOrder { expected: EntryId, found: EntryId },
    /// Times never go back.
    #[error("entry {entry_id} is older than the entry before it")]
    Time { entry_id: EntryId },
    /// A wallet's first entry opens it, and no other does.
    #[error("entry {entry_id} of user {user_id}: the wallet's opening must be its first entry, and only that")]
    Opening { entry_id: EntryId, user_id: UserId },
    /// A wallet's entries are numbered without gaps.
    #[error("entry {entry_id} of user {user_id}: sequence is {found}, must be {expected}")]
    Sequence { entry_id: EntryId, user_id: UserId, expected: i64, found: i64 },
    /// Each entry points to the one before.
    #[error("entry {entry_id} of user {user_id}: previous entry is {found:?}, must be {expected:?}")]
    Previous { entry_id: EntryId, user_id: UserId, expected: Option<EntryId>, found: Option<EntryId> },
    /// Each balance is the one before, moved by the amount.
    #[error(
        "entry {entry_id} of user {user_id}: balance after is {} minor units, but {} {} by {} does not give that",
        found.minor(), before.minor(), kind.name(), amount.minor()
    )]
    Balance { entry_id: EntryId, user_id: UserId, kind: Kind, before: Balance, amount: Amount, found: Balance },
    /// A rollback gives back its charge, or bars an unknown one.
    #[error("entry {entry_id} of user {user_id}: the rollback does not give back what its charge took")]
    Rollback { entry_id: EntryId, user_id: UserId },
    /// Commits are numbered without gaps.
    #[error("commit {found} stands where commit {expected} belongs")]
    CommitOrder { expected: i64, found: i64 },
    /// A commit ends with the entry it says.
    #[error("commit {commit_id}: its last entry is {found}, must be {expected}")]
    CommitEntries { commit_id: i64, expected: EntryId, found: EntryId },
    /// A commit's hash is that of its entries.
    #[error("commit {commit_id}: hash is {found}, must be {expected}")]
    CommitHash { commit_id: i64, expected: CommitHash, found: CommitHash },
    /// Every entry belongs to a commit.
    #[error("entry {entry_id} belongs to no commit")]
    Uncommitted { entry_id: EntryId },
    /// A stored wallet stands where its entries left it.
    #[error("the wallet of user {user_id} stands at {found:?}, its entries leave it at {expected:?}")]
    Standing { user_id: UserId, expected: Option<Standing>, found: Standing },
    /// Every wallet that has entries is stored.
    #[error("the wallet of user {user_id} has entries but is not stored")]
    WalletMissing { user_id: UserId },
}

impl Default for Audit {
    fn default() -> Self {
        Self { head: Commit::GENESIS, pending: Vec::new(), standings: HashMap::new(), wallets: 0 }
    }
}

impl Audit {
    /// Checks the next entry. For a rollback, `charge` is the stored charge of the same user and event, if any.
    ///
    /// # Errors
    /// The first [`Finding`].
    pub fn entry(&mut self, entry: &Entry, charge: Option<&Entry>) -> Result<(), Finding> {
        let Entry { entry_id, user_id, .. } = *entry;
        let last = self.pending.last();
        let expected = last.map_or(self.head.last_entry_id, |last| last.entry_id).next();
        if entry_id != expected {
            return Err(Finding::EntryOrder { expected, found: entry_id });
        }
        if entry.created_at < last.map_or(self.head.created_at, |last| last.created_at) {
            return Err(Finding::Time { entry_id });
        }
        let standing = self.standings.get(&user_id);
        if (entry.kind == Kind::Open) != standing.is_none() {
            return Err(Finding::Opening { entry_id, user_id });
        }
        let expected = standing.map_or(0, |standing| standing.sequence) + 1;
        if entry.sequence != expected {
            return Err(Finding::Sequence { entry_id, user_id, expected, found: entry.sequence });
        }
        let expected = standing.map(|standing| standing.last_entry_id);
        if entry.previous_entry_id != expected {
            return Err(Finding::Previous { entry_id, user_id, expected, found: entry.previous_entry_id });
        }
        let before = standing.map_or(Balance::ZERO, |standing| standing.balance);
        let Entry { kind, amount, balance_after: balance, .. } = *entry;
        if kind.apply(before, amount) != Some(balance) {
            return Err(Finding::Balance { entry_id, user_id, kind, before, amount, found: balance });
        }
        if kind == Kind::Rollback && !gives_back(entry, charge) {
            return Err(Finding::Rollback { entry_id, user_id });
        }
        self.standings.insert(user_id, Standing { balance, sequence: entry.sequence, last_entry_id: entry_id });
        self.pending.push(*entry);
        Ok(())
    }

    /// Checks the commit of the entries since the last one.
    ///
    /// # Errors
    /// The first [`Finding`].
    pub fn commit(&mut self, commit: &Commit) -> Result<(), Finding> {
        let Commit { commit_id, last_entry_id, .. } = *commit;
        let expected = self.head.commit_id + 1;
        if commit_id != expected {
            return Err(Finding::CommitOrder { expected, found: commit_id });
        }
        let expected = self.pending.last().map_or(self.head.last_entry_id.next(), |last| last.entry_id);
        if last_entry_id != expected || self.pending.is_empty() {
            return Err(Finding::CommitEntries { commit_id, expected, found: last_entry_id });
        }
        let expected = self.head.hash.chain(&self.pending);
        if commit.hash != expected {
            return Err(Finding::CommitHash { commit_id, expected, found: commit.hash });
        }
        self.pending.clear();
        self.head = *commit;
        Ok(())
    }

    /// Checks a wallet as it is stored, after all entries.
    ///
    /// # Errors
    /// [`Finding::Standing`].
    pub fn wallet(&mut self, user_id: UserId, found: Standing) -> Result<(), Finding> {
        let expected = self.standings.remove(&user_id);
        if expected != Some(found) {
            return Err(Finding::Standing { user_id, expected, found });
        }
        self.wallets += 1;
        Ok(())
    }

    /// Ends the walk.
    ///
    /// # Errors
    /// [`Finding::Uncommitted`], [`Finding::WalletMissing`].
    pub fn finish(self) -> Result<AuditReport, Finding> {
        if let Some(entry) = self.pending.first() {
            return Err(Finding::Uncommitted { entry_id: entry.entry_id });
        }
        if let Some(&user_id) = self.standings.keys().min() {
            return Err(Finding::WalletMissing { user_id });
        }
        Ok(AuditReport { head: self.head, wallets: self.wallets })
    }
}

/// Whether a rollback undoes exactly its charge: one that came before, or none at all, ever.
fn gives_back(rollback: &Entry, charge: Option<&Entry>) -> bool {
    charge.map_or(rollback.amount == Amount::ZERO, |charge| {
        charge.entry_id < rollback.entry_id && charge.amount == rollback.amount
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Book, Changes, Command, EventId, Timestamp, WalletId};
    use super::*;

    fn user() -> UserId {
        UserId::new(1).unwrap()
    }

    /// A ledger of one commit: opened with 1000, charge of 100, rolled back, charge of 5.
    fn ledger() -> Changes {
        let event = |number| EventId::new(number).unwrap();
        let mut book = Book::new(Commit::GENESIS, Timestamp::from_microseconds(3));
        book.lay_in_wallet(user(), None);
        book.decide(&Command::open(user(), WalletId::from_bytes([1; 16]), 1_000).unwrap());
        book.decide(&Command::charge(user(), event(1), 100).unwrap());
        book.decide(&Command::rollback(user(), event(1)));
        book.decide(&Command::charge(user(), event(2), 5).unwrap());
        book.changes()
    }

    fn audit(changes: &Changes) -> Result<AuditReport, Finding> {
        let mut audit = Audit::default();
        for entry in &changes.entries {
            let charge = changes.entries.iter().find(|e| e.kind == Kind::Charge && e.event_id == entry.event_id);
            audit.entry(entry, charge)?;
        }
        audit.commit(&changes.commit.unwrap())?;
        for (user_id, _, standing) in &changes.opened {
            audit.wallet(*user_id, *standing)?;
        }
        audit.finish()
    }

    /// What the audit finds after `alter` was at the ledger.
    fn found(alter: impl FnOnce(&mut Changes)) -> Finding {
        let mut changes = ledger();
        alter(&mut changes);
        audit(&changes).unwrap_err()
    }

    #[test]
    fn a_correct_ledger_passes() {
        let report = audit(&ledger()).unwrap();
        assert_eq!(report.wallets, 1);
        assert_eq!(report.head, ledger().commit.unwrap());
    }

    #[test]
    fn every_alteration_is_found_and_named() {
        let zero = Balance::ZERO;
        assert!(matches!(found(|l| l.entries[1].balance_after = zero), Finding::Balance { .. }));
        assert!(matches!(found(|l| l.entries[1].amount = Amount::ZERO), Finding::Balance { .. }));
        assert!(matches!(found(|l| l.entries[1].sequence = 7), Finding::Sequence { expected: 2, found: 7, .. }));
        assert!(matches!(found(|l| l.entries[1].previous_entry_id = None), Finding::Previous { .. }));
        assert!(matches!(found(|l| l.entries[1].kind = Kind::Open), Finding::Opening { .. }));
        assert!(matches!(found(|l| _ = l.entries.remove(0)), Finding::EntryOrder { .. }));
        assert!(matches!(found(|l| _ = l.entries.pop()), Finding::CommitEntries { .. }));
        let late = Timestamp::from_microseconds(9);
        assert!(matches!(found(|l| l.entries[0].created_at = late), Finding::Time { .. }));
        let early = Timestamp::from_microseconds(4);
        assert!(matches!(found(|l| l.entries[3].created_at = early), Finding::CommitHash { commit_id: 1, .. }));
        let other = EventId::new(77).unwrap();
        assert!(matches!(found(|l| l.entries[1].event_id = other), Finding::Rollback { .. }));
        assert!(matches!(found(|l| l.entries[3].event_id = other), Finding::CommitHash { .. }));
        assert!(matches!(found(|l| l.opened[0].2.balance = zero), Finding::Standing { .. }));
        assert!(matches!(found(|l| l.opened.clear()), Finding::WalletMissing { .. }));
        let commit = |l: &mut Changes, id| l.commit.as_mut().unwrap().commit_id = id;
        assert!(matches!(found(|l| commit(l, 2)), Finding::CommitOrder { expected: 1, found: 2 }));
    }

    #[test]
    fn an_entry_after_the_last_commit_is_found() {
        let changes = ledger();
        let mut audit = Audit::default();
        audit.entry(&changes.entries[0], None).unwrap();
        assert!(matches!(audit.finish(), Err(Finding::Uncommitted { .. })));
    }
}
