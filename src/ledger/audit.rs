//! Verifies a ledger: recomputes every balance, sequence and hash.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::fmt;

use foldhash::fast::RandomState;

use super::commit::CommitHasher;
use super::{
    Amount, Balance, Checkpoint, Checkpoints, Commit, CommitHash, Currency, Entry, EntryId, Finding, Form, Genesis,
    Heads, Kind, Shard, Timestamp, UserId, WalletState,
};

/// The most entries of the first commit that are kept, to name the currency that it was hashed for. More than one
/// commit has.
const FIRST_ENTRIES_MAX: usize = 65_536;

/// Walks a whole shard of a ledger in order and recomputes it.
///
/// Feed it the entries of each commit ([`entry`](Audit::entry)) and then the commit ([`commit`](Audit::commit)), from
/// the first to the last; then every wallet as it is stored ([`wallet`](Audit::wallet)); then
/// [`finish`](Audit::finish). Commits may also be added between one stored wallet and the next, as long as each wallet
/// is checked as it was after the last commit. The first thing that is wrong ends the walk. It holds one
/// [`WalletState`] a wallet in memory, and the entries of the first commit until that is checked.
#[derive(Debug)]
pub struct Audit {
    head: Commit,
    /// The commit whose entries are being walked, as far as they go.
    open: Option<OpenCommit>,
    /// The entries of the first commit, until that is checked.
    first_entries: Vec<Entry>,
    /// What each wallet should be.
    wallets: HashMap<UserId, Expected, RandomState>,
    wallets_right: u64,
    genesis: Genesis,
    shard: Shard,
    /// An earlier checkpoint that the ledger must still agree with, if one is known.
    checkpoint: Option<Checkpoint>,
}

/// What a wallet should be after the entries that were walked.
#[derive(Debug)]
struct Expected {
    state: WalletState,
    opened_at: Timestamp,
    /// Whether it was found to be that.
    checked: bool,
}

/// The entries since the last commit.
#[derive(Debug)]
struct OpenCommit {
    hasher: CommitHasher,
    last_entry_id: EntryId,
    /// The time of the last entry.
    created_at: Timestamp,
}

/// What a rollback names: a stored charge or win.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undone {
    pub entry_id: EntryId,
    pub amount: Amount,
}

/// What a whole and correct shard of a ledger holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// The head of the chain.
    pub head: Commit,
    /// The number of wallets.
    pub wallets: u64,
    /// The currency of every wallet.
    pub currency: Currency,
}

/// What a whole and correct ledger holds, all shards together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerReport {
    /// Where it ends.
    pub heads: Heads,
    /// The number of wallets.
    pub wallets: u64,
    /// The currency of every wallet.
    pub currency: Currency,
}

impl LedgerReport {
    /// The report of a ledger of which these are all shards, in order.
    ///
    /// # Panics
    /// If there are none: every ledger has a shard.
    #[must_use]
    pub fn of_shards(reports: &[AuditReport]) -> Self {
        let heads = Heads::new(reports.iter().map(|report| report.head).collect());
        let wallets = reports.iter().map(|report| report.wallets).sum();
        Self { heads, wallets, currency: reports[0].currency }
    }

    /// Whether nothing was committed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.commits() == 0
    }

    /// What to keep elsewhere, to prove later that nothing before was altered.
    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints {
        self.heads.checkpoints()
    }
}

impl From<AuditReport> for LedgerReport {
    fn from(report: AuditReport) -> Self {
        Self::of_shards(&[report])
    }
}

impl fmt::Display for LedgerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { heads, wallets, currency } = self;
        let (entries, commits, shards) = (heads.entries(), heads.commits(), heads.iter().count());
        if self.is_empty() {
            writeln!(f, "ok: the ledger is empty")?;
        } else {
            writeln!(
                f,
                "ok: {wallets} wallets, {entries} entries, {commits} commits; every balance and hash is right"
            )?;
        }
        if shards > 1 {
            writeln!(f, "shards: {shards}")?;
        }
        writeln!(f, "currency: {currency}")?;
        write!(f, "checkpoint: {}", self.checkpoints())
    }
}

impl Audit {
    /// An audit of a shard of a ledger that has checked nothing yet. If an earlier `checkpoint` is known, the shard
    /// must still agree with it.
    #[must_use]
    pub fn new(genesis: Genesis, shard: Shard, checkpoint: Option<Checkpoint>) -> Self {
        Self {
            head: genesis.commit(shard),
            open: None,
            first_entries: Vec::new(),
            wallets: HashMap::default(),
            wallets_right: 0,
            genesis,
            shard,
            checkpoint,
        }
    }

    /// Checks the next entry, of a commit in this form. For a rollback, `undone` is the stored charge or win of the
    /// same user and event, if any.
    ///
    /// # Errors
    /// The first [`Finding`].
    pub fn entry(&mut self, entry: &Entry, undone: Option<Undone>, form: Form) -> Result<(), Finding> {
        let Entry { entry_id, user_id, .. } = *entry;
        let before = (self.head.last_entry_id, self.head.created_at);
        let (last_entry_id, last_time) =
            self.open.as_ref().map_or(before, |open| (open.last_entry_id, open.created_at));
        let expected = last_entry_id.next();
        if entry_id != expected {
            return Err(Finding::EntryOrder { expected, found: entry_id });
        }
        if entry.created_at < last_time {
            return Err(Finding::Time { entry_id });
        }
        if self.genesis.shards.of(user_id) != self.shard {
            return Err(Finding::Shard { entry_id, user_id });
        }
        let wallet = self.wallets.entry(user_id);
        let state = match &wallet {
            Occupied(known) => Some(known.get().state),
            Vacant(_) => None,
        };
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
        if state.is_some_and(|state| state.frozen) && entry.kind.is_refused_when_frozen() {
            return Err(Finding::Frozen { entry_id, user_id });
        }
        let before = state.map_or(Balance::ZERO, |state| state.balance);
        let Entry { kind, amount, balance_after: balance, .. } = *entry;
        if kind.apply(before, amount) != Some(balance) {
            return Err(Finding::Balance { entry_id, user_id, kind, before, amount, found: balance });
        }
        if kind.undoes().is_some() && !undoes_exactly(entry, undone) {
            return Err(Finding::Rollback { entry_id, user_id });
        }
        let state = WalletState::after(state, entry);
        let opened = || Expected { state, opened_at: entry.created_at, checked: false };
        wallet.and_modify(|expected| expected.state = state).or_insert_with(opened);
        self.add(entry, form);
        Ok(())
    }

    /// Adds an entry to the commit that is being walked.
    fn add(&mut self, entry: &Entry, form: Form) {
        let Entry { entry_id: last_entry_id, created_at, .. } = *entry;
        let begin = || OpenCommit { hasher: CommitHasher::new(self.head.hash, form), last_entry_id, created_at };
        let open = self.open.get_or_insert_with(begin);
        open.hasher.add(entry);
        (open.last_entry_id, open.created_at) = (last_entry_id, created_at);
        if self.head.commit_id == 0 && self.first_entries.len() < FIRST_ENTRIES_MAX {
            self.first_entries.push(entry.clone());
        }
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
        let Some(open) = self.open.take() else { return Err(Finding::CommitEmpty { commit_id }) };
        if last_entry_id != open.last_entry_id {
            return Err(Finding::CommitEntries { commit_id, expected: open.last_entry_id, found: last_entry_id });
        }
        if commit.created_at != open.created_at {
            return Err(Finding::CommitTime { commit_id });
        }
        let expected = open.hasher.finish();
        if commit.hash != expected {
            return Err(self.hash_finding(commit, expected));
        }
        if let Some(checkpoint) = self.checkpoint.filter(|checkpoint| checkpoint.commit_id == commit_id) {
            checkpoint.check(commit.hash)?;
        }
        self.first_entries = Vec::new();
        self.head = *commit;
        Ok(())
    }

    /// What is wrong with a commit whose hash is not `expected`. Of the first commit, tries every currency, to name the
    /// one that the ledger was made in.
    fn hash_finding(&self, commit: &Commit, expected: CommitHash) -> Finding {
        let Commit { commit_id, form, hash: found, .. } = *commit;
        let hashed_for = |currency: &Currency| {
            let genesis = Genesis { currency: *currency, ..self.genesis };
            genesis.hash(self.shard).chain(form, &self.first_entries) == found
        };
        match Currency::all().filter(|_| commit_id == 1).find(hashed_for) {
            Some(recorded) => Finding::Currency { stored: self.genesis.currency, recorded },
            None => Finding::CommitHash { commit_id, expected, found },
        }
    }

    /// The last commit that was checked.
    #[must_use]
    pub const fn head(&self) -> &Commit {
        &self.head
    }

    /// The users whose wallets were not checked yet.
    #[must_use]
    pub fn unchecked(&self) -> Vec<UserId> {
        self.wallets.iter().filter(|(_, expected)| !expected.checked).map(|(user_id, _)| *user_id).collect()
    }

    /// Checks a wallet as it was stored after the last commit, and when its user was made.
    ///
    /// # Errors
    /// [`Finding::WalletWithoutEntries`], [`Finding::WalletState`], [`Finding::UserTime`].
    pub fn wallet(&mut self, user_id: UserId, found: WalletState, created_at: Timestamp) -> Result<(), Finding> {
        let wallet = self.wallets.get_mut(&user_id).ok_or(Finding::WalletWithoutEntries { user_id })?;
        let expected = wallet.state;
        if expected != found {
            return Err(Finding::WalletState { user_id, currency: self.genesis.currency, expected, found });
        }
        if wallet.opened_at != created_at {
            return Err(Finding::UserTime { user_id });
        }
        self.wallets_right += u64::from(!std::mem::replace(&mut wallet.checked, true));
        Ok(())
    }

    /// Ends the walk.
    ///
    /// # Errors
    /// [`Finding::Uncommitted`], [`Finding::WalletMissing`], [`Finding::CheckpointMissing`].
    pub fn finish(self) -> Result<AuditReport, Finding> {
        if self.open.is_some() {
            return Err(Finding::Uncommitted { entry_id: self.head.last_entry_id.next() });
        }
        if let Some(user_id) = self.unchecked().into_iter().min() {
            return Err(Finding::WalletMissing { user_id });
        }
        match self.checkpoint {
            Some(Checkpoint { commit_id, .. }) if commit_id > self.head.commit_id => {
                return Err(Finding::CheckpointMissing { head: self.head.commit_id, checkpoint: commit_id });
            }
            // The empty ledger has no commit that the walk would have compared.
            Some(checkpoint) if checkpoint.commit_id == 0 => checkpoint.check(self.genesis.hash(self.shard))?,
            _ => (),
        }
        Ok(AuditReport { head: self.head, wallets: self.wallets_right, currency: self.genesis.currency })
    }
}

/// Whether a rollback undoes exactly what it names: an entry that came before, or an event that never had one.
fn undoes_exactly(rollback: &Entry, undone: Option<Undone>) -> bool {
    undone.map_or(rollback.amount == Amount::ZERO, |undone| {
        undone.entry_id < rollback.entry_id && undone.amount == rollback.amount
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Changes, Command, EventId, Fetched, Head, WalletId};
    use super::*;

    fn user() -> UserId {
        UserId::new(1).unwrap()
    }

    fn eur() -> Currency {
        "EUR".parse().unwrap()
    }

    /// A ledger of one commit: opened with 1000, a charge of 100, its rollback, a charge of 5, a win of 7, its
    /// rollback.
    fn ledger() -> Changes {
        let event = |number| EventId::new(number).unwrap();
        let head = Head { commit: Genesis::new(eur()).commit(Shard::FIRST), last_event_id: None };
        let fetched = Fetched { wallets: vec![(user(), None)], ..Fetched::default() };
        let mut batch = Batch::new(head, Timestamp::from_microseconds(3), fetched);
        batch.decide(&Command::open(user(), WalletId::from_bytes([1; 16]), 1_000).unwrap());
        batch.decide(&Command::charge(user(), event(1), 100).unwrap());
        batch.decide(&Command::rollback(user(), event(1)));
        batch.decide(&Command::charge(user(), event(2), 5).unwrap());
        batch.decide(&Command::win(user(), event(1), 7).unwrap());
        batch.decide(&Command::rollback_win(user(), event(1)));
        batch.changes()
    }

    /// An entry, as its rollback names it.
    fn named(&Entry { entry_id, amount, .. }: &Entry) -> Undone {
        Undone { entry_id, amount }
    }

    fn walk(audit: &mut Audit, changes: &Changes) -> Result<(), Finding> {
        for entry in &changes.entries {
            let undone = entry.kind.undoes().and_then(|kind| {
                changes.entries.iter().find(|other| other.kind == kind && other.event_id == entry.event_id)
            });
            audit.entry(entry, undone.map(named), Form::CURRENT)?;
        }
        audit.commit(&changes.commit.unwrap())
    }

    fn audit_with(
        changes: &Changes,
        currency: Currency,
        checkpoint: Option<Checkpoint>,
    ) -> Result<AuditReport, Finding> {
        let mut audit = Audit::new(Genesis::new(currency), Shard::FIRST, checkpoint);
        walk(&mut audit, changes)?;
        for (user_id, _, state) in &changes.opened {
            audit.wallet(*user_id, *state, Timestamp::from_microseconds(3))?;
        }
        audit.finish()
    }

    fn audit(changes: &Changes) -> Result<AuditReport, Finding> {
        audit_with(changes, eur(), None)
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
        let text = LedgerReport::from(report).to_string();
        assert!(text.starts_with("ok: 1 wallets, 6 entries, 1 commits;"), "{text}");
        assert!(text.ends_with(&format!("\ncheckpoint: 1:{}", report.head.hash)), "{text}");
    }

    #[test]
    fn a_rollback_undoes_all_of_what_came_before_it() {
        let entries = ledger().entries;
        let (charge, rollback) = (named(&entries[1]), entries[2].clone());
        assert!(undoes_exactly(&rollback, Some(charge)));
        let less = Undone { amount: Amount::from_minor(99).unwrap(), ..charge };
        assert!(!undoes_exactly(&rollback, Some(less)));
        for entry_id in [rollback.entry_id, rollback.entry_id.next()] {
            assert!(!undoes_exactly(&rollback, Some(Undone { entry_id, ..charge })), "{entry_id}");
        }
        assert!(!undoes_exactly(&rollback, None));
        assert!(undoes_exactly(&Entry { amount: Amount::ZERO, ..rollback }, None), "what bars an unknown charge");
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
        assert!(matches!(found(|l| l.entries[5].created_at = early), Finding::CommitTime { commit_id: 1 }));
        let time = |l: &mut Changes| l.commit.as_mut().unwrap().created_at = late;
        assert!(matches!(found(time), Finding::CommitTime { commit_id: 1 }));
        let other = EventId::new(77).unwrap();
        assert!(matches!(found(|l| l.entries[1].event_id = other), Finding::Rollback { .. }));
        assert!(matches!(found(|l| l.entries[4].event_id = other), Finding::Rollback { .. }));
        assert!(matches!(found(|l| l.entries[3].event_id = other), Finding::CommitHash { .. }));
        let round = |l: &mut Changes| l.entries[3].annotations.round_id = super::super::RoundId::new(1);
        assert!(matches!(found(round), Finding::CommitHash { .. }));
        let note = |l: &mut Changes| l.entries[3].annotations.note = super::super::Note::new("x");
        assert!(matches!(found(note), Finding::CommitHash { .. }));
        let wallet_id = |l: &mut Changes| l.entries[0].wallet_id = Some(WalletId::from_bytes([2; 16]));
        assert!(matches!(found(wallet_id), Finding::CommitHash { .. }));
        let caller = |l: &mut Changes| l.entries[3].annotations.caller = super::super::Caller::new("x");
        assert!(matches!(found(caller), Finding::CommitHash { .. }));
        assert!(matches!(found(|l| l.opened[0].2.balance = zero), Finding::WalletState { .. }));
        assert!(matches!(found(|l| l.opened.clear()), Finding::WalletMissing { .. }));
        let commit = |l: &mut Changes, id| l.commit.as_mut().unwrap().commit_id = id;
        assert!(matches!(found(|l| commit(l, 2)), Finding::CommitOrder { expected: 1, found: 2 }));
    }

    #[test]
    fn money_out_of_a_frozen_wallet_is_found() {
        let head = Head { commit: Genesis::new(eur()).commit(Shard::FIRST), last_event_id: None };
        let fetched = Fetched { wallets: vec![(user(), None)], ..Fetched::default() };
        let mut batch = Batch::new(head, Timestamp::from_microseconds(3), fetched);
        batch.decide(&Command::open(user(), WalletId::from_bytes([1; 16]), 1_000).unwrap());
        batch.decide(&Command::freeze(user(), EventId::new(1).unwrap()));
        batch.decide(&Command::deposit(user(), EventId::new(1).unwrap(), 5).unwrap());
        let mut changes = batch.changes();
        assert!(audit(&changes).is_ok());
        changes.entries[2].kind = Kind::Withdrawal;
        changes.entries[2].balance_after = Balance::from_minor(995).unwrap();
        let entry_id = changes.entries[2].entry_id;
        assert_eq!(audit(&changes), Err(Finding::Frozen { entry_id, user_id: user() }));
    }

    #[test]
    fn a_wallet_without_entries_or_with_another_time_is_found() {
        let changes = ledger();
        let (user_id, _, state) = changes.opened[0];
        let mut audit = Audit::new(Genesis::new(eur()), Shard::FIRST, None);
        let nobody = UserId::new(2).unwrap();
        let found = audit.wallet(nobody, state, Timestamp::default());
        assert_eq!(found, Err(Finding::WalletWithoutEntries { user_id: nobody }));
        audit.entry(&changes.entries[0], None, Form::CURRENT).unwrap();
        let state = WalletState { last_entry_id: changes.entries[0].entry_id, sequence: 1, ..state };
        let state = WalletState { balance: changes.entries[0].balance_after, ..state };
        let found = audit.wallet(user_id, state, Timestamp::from_microseconds(4));
        assert_eq!(found, Err(Finding::UserTime { user_id }));
    }

    #[test]
    fn an_earlier_checkpoint_must_be_met() {
        let head = ledger().commit.unwrap();
        let audit_against = |commit_id, hash| audit_with(&ledger(), eur(), Some(Checkpoint { commit_id, hash }));
        let genesis = CommitHash::genesis(eur());
        assert!(audit_against(1, head.hash).is_ok());
        assert!(audit_against(0, genesis).is_ok());
        assert!(matches!(audit_against(0, head.hash), Err(Finding::CheckpointHash { commit_id: 0, .. })));
        assert!(matches!(audit_against(1, genesis), Err(Finding::CheckpointHash { commit_id: 1, .. })));
        let missing = audit_against(2, head.hash).unwrap_err();
        assert_eq!(missing.to_string(), "the ledger ends at commit 1; the checkpoint is of commit 2");
    }

    #[test]
    fn another_currency_is_found_and_named() {
        let found = audit_with(&ledger(), "USD".parse().unwrap(), None).unwrap_err();
        assert_eq!(found.to_string(), "the ledger was made in EUR, but its currency setting is USD");
        let mut changes = ledger();
        changes.commit.as_mut().unwrap().hash = CommitHash::genesis(eur());
        assert!(matches!(audit(&changes), Err(Finding::CommitHash { commit_id: 1, .. })));
    }

    #[test]
    fn an_empty_ledger_passes_and_says_so() {
        let report = LedgerReport::from(Audit::new(Genesis::new(eur()), Shard::FIRST, None).finish().unwrap());
        assert!(report.is_empty() && report.to_string().starts_with("ok: the ledger is empty\n"), "{report}");
    }

    #[test]
    fn an_entry_after_the_last_commit_is_found() {
        let changes = ledger();
        let mut audit = Audit::new(Genesis::new(eur()), Shard::FIRST, None);
        audit.entry(&changes.entries[0], None, Form::CURRENT).unwrap();
        assert!(matches!(audit.finish(), Err(Finding::Uncommitted { .. })));
    }
}
