//! The proof that a ledger is what its commands made it: every entry, balance, sequence and hash, once more.

use std::collections::HashMap;
use std::fmt;

use super::{Amount, Balance, Checkpoint, Commit, Entry, Finding, Kind, Timestamp, UserId, WalletState};

/// Walks a whole ledger in order and recomputes it.
///
/// Feed it the entries of each commit ([`entry`](Audit::entry)) and then the commit ([`commit`](Audit::commit)), from
/// the first to the last; then every wallet as it is stored ([`wallet`](Audit::wallet)); then
/// [`finish`](Audit::finish). The first thing that is wrong ends the walk. It holds one [`WalletState`] a wallet in
/// memory, and the entries of one commit.
#[derive(Debug)]
pub struct Audit {
    head: Commit,
    pending: Vec<Entry>,
    /// Where each wallet should stand, and when it was opened. A wallet that was checked is taken out.
    wallets: HashMap<UserId, (WalletState, Timestamp)>,
    wallets_right: u64,
    /// What the walk must come by, if an earlier checkpoint is known.
    checkpoint: Option<Checkpoint>,
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

impl Audit {
    /// An audit that has seen nothing yet, and will hold the ledger to an earlier `checkpoint`, if one is known.
    #[must_use]
    pub fn new(checkpoint: Option<Checkpoint>) -> Self {
        let (pending, wallets) = (Vec::new(), HashMap::new());
        Self { head: Commit::GENESIS, pending, wallets, wallets_right: 0, checkpoint }
    }

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
        let known = self.wallets.get(&user_id).copied();
        let state = known.map(|(state, _)| state);
        if (entry.kind == Kind::Open) != state.is_none() {
            return Err(Finding::Opening { entry_id, user_id });
        }
        let expected = state.map_or(0, |state| state.sequence) + 1;
        if entry.sequence != expected {
            return Err(Finding::Sequence { entry_id, user_id, expected, found: entry.sequence });
        }
        let expected = state.map(|state| state.last_entry_id);
        if entry.previous_entry_id != expected {
            return Err(Finding::Previous { entry_id, user_id, expected, found: entry.previous_entry_id });
        }
        let before = state.map_or(Balance::ZERO, |state| state.balance);
        let Entry { kind, amount, balance_after: balance, .. } = *entry;
        if kind.apply(before, amount) != Some(balance) {
            return Err(Finding::Balance { entry_id, user_id, kind, before, amount, found: balance });
        }
        if kind == Kind::Rollback && !gives_back(entry, charge) {
            return Err(Finding::Rollback { entry_id, user_id });
        }
        let state = WalletState { balance, sequence: entry.sequence, last_entry_id: entry_id };
        let opened_at = known.map_or(entry.created_at, |(_, opened_at)| opened_at);
        self.wallets.insert(user_id, (state, opened_at));
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
        let Some(last) = self.pending.last() else { return Err(Finding::CommitEmpty { commit_id }) };
        if last_entry_id != last.entry_id {
            return Err(Finding::CommitEntries { commit_id, expected: last.entry_id, found: last_entry_id });
        }
        if commit.created_at != last.created_at {
            return Err(Finding::CommitTime { commit_id });
        }
        let expected = self.head.hash.chain(&self.pending);
        if commit.hash != expected {
            return Err(Finding::CommitHash { commit_id, expected, found: commit.hash });
        }
        if let Some(checkpoint) = self.checkpoint.filter(|checkpoint| checkpoint.commit_id == commit_id) {
            checkpoint.check(commit.hash)?;
        }
        self.pending.clear();
        self.head = *commit;
        Ok(())
    }

    /// Checks a wallet as it is stored, and when its user was made, after all entries.
    ///
    /// # Errors
    /// [`Finding::WalletWithoutEntries`], [`Finding::WalletState`], [`Finding::UserTime`].
    pub fn wallet(&mut self, user_id: UserId, found: WalletState, created_at: Timestamp) -> Result<(), Finding> {
        let known = self.wallets.remove(&user_id);
        let (expected, opened_at) = known.ok_or(Finding::WalletWithoutEntries { user_id })?;
        if expected != found {
            return Err(Finding::WalletState { user_id, expected, found });
        }
        if opened_at != created_at {
            return Err(Finding::UserTime { user_id });
        }
        self.wallets_right += 1;
        Ok(())
    }

    /// Ends the walk.
    ///
    /// # Errors
    /// [`Finding::Uncommitted`], [`Finding::WalletMissing`], [`Finding::Checkpoint`].
    pub fn finish(self) -> Result<AuditReport, Finding> {
        if let Some(entry) = self.pending.first() {
            return Err(Finding::Uncommitted { entry_id: entry.entry_id });
        }
        if let Some(&user_id) = self.wallets.keys().min() {
            return Err(Finding::WalletMissing { user_id });
        }
        match self.checkpoint {
            Some(checkpoint) if checkpoint.commit_id > self.head.commit_id => Err(checkpoint.missing()),
            _ => Ok(AuditReport { head: self.head, wallets: self.wallets_right }),
        }
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
    use super::super::{Book, Changes, Command, CommitHash, EventId, WalletId};
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
        let mut audit = Audit::new(None);
        for entry in &changes.entries {
            let charge = changes.entries.iter().find(|e| e.kind == Kind::Charge && e.event_id == entry.event_id);
            audit.entry(entry, charge)?;
        }
        audit.commit(&changes.commit.unwrap())?;
        for (user_id, _, state) in &changes.opened {
            audit.wallet(*user_id, *state, Timestamp::from_microseconds(3))?;
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
        let text = report.to_string();
        let told = ["ok: 1 wallets, 4 entries, 1 commits;", "commit 1, entry 4,", &report.head.hash.to_string()];
        assert!(told.into_iter().all(|told| text.contains(told)), "{text}");
    }

    #[test]
    fn a_rollback_gives_back_all_of_a_charge_that_came_before_it() {
        let [_, charge, rollback, _] = ledger().entries[..] else { panic!("four entries") };
        assert!(gives_back(&rollback, Some(&charge)));
        let less = Entry { amount: Amount::from_minor(99).unwrap(), ..charge };
        assert!(!gives_back(&rollback, Some(&less)));
        for entry_id in [rollback.entry_id, rollback.entry_id.next()] {
            assert!(!gives_back(&rollback, Some(&Entry { entry_id, ..charge })), "{entry_id}");
        }
        assert!(!gives_back(&rollback, None));
        assert!(gives_back(&Entry { amount: Amount::ZERO, ..rollback }, None), "what bars an unknown charge");
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
        assert!(matches!(found(|l| l.entries.clear()), Finding::CommitEmpty { commit_id: 1 }));
        let late = Timestamp::from_microseconds(9);
        assert!(matches!(found(|l| l.entries[0].created_at = late), Finding::Time { .. }));
        let early = Timestamp::from_microseconds(4);
        assert!(matches!(found(|l| l.entries[3].created_at = early), Finding::CommitTime { commit_id: 1 }));
        let time = |l: &mut Changes| l.commit.as_mut().unwrap().created_at = late;
        assert!(matches!(found(time), Finding::CommitTime { commit_id: 1 }));
        let other = EventId::new(77).unwrap();
        assert!(matches!(found(|l| l.entries[1].event_id = other), Finding::Rollback { .. }));
        assert!(matches!(found(|l| l.entries[3].event_id = other), Finding::CommitHash { .. }));
        assert!(matches!(found(|l| l.opened[0].2.balance = zero), Finding::WalletState { .. }));
        assert!(matches!(found(|l| l.opened.clear()), Finding::WalletMissing { .. }));
        let commit = |l: &mut Changes, id| l.commit.as_mut().unwrap().commit_id = id;
        assert!(matches!(found(|l| commit(l, 2)), Finding::CommitOrder { expected: 1, found: 2 }));
    }

    #[test]
    fn a_wallet_without_entries_or_with_another_time_is_found() {
        let changes = ledger();
        let (user_id, _, state) = changes.opened[0];
        let mut audit = Audit::new(None);
        let nobody = UserId::new(2).unwrap();
        let found = audit.wallet(nobody, state, Timestamp::default());
        assert_eq!(found, Err(Finding::WalletWithoutEntries { user_id: nobody }));
        audit.entry(&changes.entries[0], None).unwrap();
        let state = WalletState { last_entry_id: changes.entries[0].entry_id, sequence: 1, ..state };
        let state = WalletState { balance: changes.entries[0].balance_after, ..state };
        let found = audit.wallet(user_id, state, Timestamp::from_microseconds(4));
        assert_eq!(found, Err(Finding::UserTime { user_id }));
    }

    #[test]
    fn an_earlier_checkpoint_must_be_met() {
        let head = ledger().commit.unwrap();
        let audit_against = |commit_id, hash| {
            let changes = ledger();
            let mut audit = Audit::new(Some(Checkpoint { commit_id, hash }));
            changes.entries.iter().try_for_each(|entry| {
                let charge = changes.entries.iter().find(|e| e.kind == Kind::Charge && e.event_id == entry.event_id);
                audit.entry(entry, charge)
            })?;
            audit.commit(&head)?;
            let (user_id, _, state) = changes.opened[0];
            audit.wallet(user_id, state, Timestamp::from_microseconds(3))?;
            audit.finish()
        };
        assert!(audit_against(1, head.hash).is_ok());
        assert!(audit_against(0, CommitHash::GENESIS).is_ok());
        assert!(matches!(audit_against(1, CommitHash::GENESIS), Err(Finding::Checkpoint { commit_id: 1, .. })));
        assert!(matches!(audit_against(2, head.hash), Err(Finding::Checkpoint { commit_id: 2, .. })));
    }

    #[test]
    fn an_entry_after_the_last_commit_is_found() {
        let changes = ledger();
        let mut audit = Audit::new(None);
        audit.entry(&changes.entries[0], None).unwrap();
        assert!(matches!(audit.finish(), Err(Finding::Uncommitted { .. })));
    }
}
