//! What can be wrong with a ledger.

use std::fmt;

use thiserror::Error;

use super::{Amount, Balance, CommitHash, Currency, EntryId, Kind, UserId, WalletState};

/// The first thing that is wrong with a ledger. Each variant is documented by the invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Finding {
    /// Entries are numbered without gaps.
    #[error("entry {found} is where entry {expected} must be")]
    EntryOrder { expected: EntryId, found: EntryId },
    /// Times never go back.
    #[error("entry {entry_id} is older than the entry before it")]
    Time { entry_id: EntryId },
    /// A wallet's first entry opens it, and no other does.
    #[error("entry {entry_id} of user {user_id}: a wallet's opening must be its first entry, and only that")]
    Opening { entry_id: EntryId, user_id: UserId },
    /// A wallet's entries are numbered without gaps.
    #[error("entry {entry_id} of user {user_id}: sequence is {found}, must be {expected}")]
    Sequence { entry_id: EntryId, user_id: UserId, expected: i64, found: i64 },
    /// Each entry points to the one before.
    #[error("entry {entry_id} of user {user_id}: previous entry is {}, must be {}", Link(*found), Link(*expected))]
    Previous { entry_id: EntryId, user_id: UserId, expected: Option<EntryId>, found: Option<EntryId> },
    /// Each balance is the one before, moved by the amount.
    #[error(
        "entry {entry_id} of user {user_id}: a {} of {} minor units on a balance of {} cannot leave {}",
        kind.name(), amount.minor(), before.minor(), found.minor()
    )]
    Balance { entry_id: EntryId, user_id: UserId, kind: Kind, before: Balance, amount: Amount, found: Balance },
    /// An entry is in the shard of its user.
    #[error("entry {entry_id} of user {user_id} is not in the user's shard")]
    Shard { entry_id: EntryId, user_id: UserId },
    /// A rollback undoes its charge or win, or bars an unknown one.
    #[error("entry {entry_id} of user {user_id}: the rollback does not undo exactly what it names")]
    Rollback { entry_id: EntryId, user_id: UserId },
    /// A frozen wallet gives nothing out.
    #[error("entry {entry_id} of user {user_id}: money was taken out of a frozen wallet")]
    Frozen { entry_id: EntryId, user_id: UserId },
    /// Commits are numbered without gaps.
    #[error("commit {found} is where commit {expected} must be")]
    CommitOrder { expected: i64, found: i64 },
    /// A commit ends with the entry that it names.
    #[error("commit {commit_id}: its last entry is {found}, must be {expected}")]
    CommitEntries { commit_id: i64, expected: EntryId, found: EntryId },
    /// A commit has entries.
    #[error("commit {commit_id} has no entries")]
    CommitEmpty { commit_id: i64 },
    /// A commit has the time of its entries.
    #[error("commit {commit_id}: its time is not that of its entries")]
    CommitTime { commit_id: i64 },
    /// A commit's hash is that of its entries; the first one's also that of the currency.
    #[error("commit {commit_id}: hash is {found}, must be {expected}")]
    CommitHash { commit_id: i64, expected: CommitHash, found: CommitHash },
    /// The first commit was hashed for another currency than the one that is stored.
    #[error("the ledger was made in {recorded}, but its currency setting is {stored}")]
    Currency { stored: Currency, recorded: Currency },
    /// Every entry belongs to a commit.
    #[error("entry {entry_id} belongs to no commit")]
    Uncommitted { entry_id: EntryId },
    /// A stored wallet is what its entries made it.
    #[error("user {user_id}: {}", Difference { currency: *currency, expected: *expected, found: *found })]
    WalletState { user_id: UserId, currency: Currency, expected: WalletState, found: WalletState },
    /// Every wallet has entries.
    #[error("user {user_id}: the wallet has no entries")]
    WalletWithoutEntries { user_id: UserId },
    /// Every wallet that has entries is stored.
    #[error("user {user_id}: the wallet has entries but is not stored")]
    WalletMissing { user_id: UserId },
    /// Every wallet has its user, and every user a wallet.
    #[error("user {user_id} has no wallet, or the wallet no user")]
    UserMissing { user_id: UserId },
    /// A user was made when the wallet was opened.
    #[error("user {user_id}: the user's time is not that of the wallet's first entry")]
    UserTime { user_id: UserId },
    /// The ledger reaches as far as an earlier checkpoint.
    #[error("the ledger ends at commit {head}; the checkpoint is of commit {checkpoint}")]
    CheckpointMissing { head: i64, checkpoint: i64 },
    /// What was there at an earlier checkpoint was not altered since.
    #[error("commit {commit_id}: hash is {found}, the checkpoint has {expected}")]
    CheckpointHash { commit_id: i64, expected: CommitHash, found: CommitHash },
    /// A part of the database that the program makes is as it made it.
    #[error("the {what} was changed or removed")]
    Changed { what: String },
    /// Nothing else is in the database than what the program makes.
    #[error("the {what} does not belong to a wallet's database")]
    Foreign { what: String },
    /// The database can be read, and its indexes agree with its tables.
    #[error("the database is damaged: {found}")]
    File { found: String },
}

/// Where in a ledger something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub commit_id: Option<i64>,
    pub entry_id: Option<EntryId>,
    pub user_id: Option<UserId>,
}

impl Finding {
    /// Where it is, as far as one commit, entry or user can be named.
    #[must_use]
    pub fn place(&self) -> Place {
        let nowhere = Place::default();
        match *self {
            Self::EntryOrder { found: entry_id, .. } | Self::Time { entry_id } | Self::Uncommitted { entry_id } => {
                Place { entry_id: Some(entry_id), ..nowhere }
            }
            Self::Opening { entry_id, user_id }
            | Self::Sequence { entry_id, user_id, .. }
            | Self::Previous { entry_id, user_id, .. }
            | Self::Balance { entry_id, user_id, .. }
            | Self::Frozen { entry_id, user_id }
            | Self::Shard { entry_id, user_id }
            | Self::Rollback { entry_id, user_id } => {
                Place { entry_id: Some(entry_id), user_id: Some(user_id), ..nowhere }
            }
            Self::CommitOrder { found: commit_id, .. }
            | Self::CommitEntries { commit_id, .. }
            | Self::CommitEmpty { commit_id }
            | Self::CommitTime { commit_id }
            | Self::CommitHash { commit_id, .. }
            | Self::CheckpointHash { commit_id, .. } => Place { commit_id: Some(commit_id), ..nowhere },
            Self::WalletState { user_id, .. }
            | Self::WalletWithoutEntries { user_id }
            | Self::WalletMissing { user_id }
            | Self::UserMissing { user_id }
            | Self::UserTime { user_id } => Place { user_id: Some(user_id), ..nowhere },
            Self::CheckpointMissing { head, .. } => Place { commit_id: Some(head), ..nowhere },
            Self::Currency { .. } | Self::Changed { .. } | Self::Foreign { .. } | Self::File { .. } => nowhere,
        }
    }

    /// The name of the invariant that does not hold, for programs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::EntryOrder { .. } => "ENTRY_ORDER",
            Self::Time { .. } => "ENTRY_TIME",
            Self::Opening { .. } => "OPENING",
            Self::Sequence { .. } => "SEQUENCE",
            Self::Previous { .. } => "PREVIOUS_ENTRY",
            Self::Balance { .. } => "BALANCE",
            Self::Shard { .. } => "SHARD",
            Self::Rollback { .. } => "ROLLBACK",
            Self::Frozen { .. } => "FROZEN",
            Self::CommitOrder { .. } => "COMMIT_ORDER",
            Self::CommitEntries { .. } => "COMMIT_ENTRIES",
            Self::CommitEmpty { .. } => "COMMIT_EMPTY",
            Self::CommitTime { .. } => "COMMIT_TIME",
            Self::CommitHash { .. } => "COMMIT_HASH",
            Self::Currency { .. } => "CURRENCY",
            Self::Uncommitted { .. } => "UNCOMMITTED",
            Self::WalletState { .. } => "WALLET_STATE",
            Self::WalletWithoutEntries { .. } => "WALLET_WITHOUT_ENTRIES",
            Self::WalletMissing { .. } => "WALLET_MISSING",
            Self::UserMissing { .. } => "USER_MISSING",
            Self::UserTime { .. } => "USER_TIME",
            Self::CheckpointMissing { .. } => "CHECKPOINT_MISSING",
            Self::CheckpointHash { .. } => "CHECKPOINT_HASH",
            Self::Changed { .. } => "CHANGED",
            Self::Foreign { .. } => "FOREIGN",
            Self::File { .. } => "DAMAGED",
        }
    }
}

/// An entry that may not be there.
struct Link(Option<EntryId>);

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(entry_id) => entry_id.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// How a stored wallet differs from what its entries made it.
struct Difference {
    currency: Currency,
    expected: WalletState,
    found: WalletState,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { currency, expected, found } = self;
        let money = |balance: Balance| currency.format_minor(balance.minor());
        if found.balance != expected.balance {
            let (stored, given) = (money(found.balance), money(expected.balance));
            write!(f, "stored balance {stored}, its {} entries give {given}", expected.sequence)
        } else if found.sequence != expected.sequence {
            write!(f, "stored sequence {}, it has {} entries", found.sequence, expected.sequence)
        } else if found.last_entry_id != expected.last_entry_id {
            write!(f, "stored last entry {}, its last entry is {}", found.last_entry_id, expected.last_entry_id)
        } else {
            let state = |frozen| if frozen { "frozen" } else { "not frozen" };
            write!(f, "stored as {}, its entries leave it {}", state(found.frozen), state(expected.frozen))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_is_and_what_must_be() {
        let user_id = UserId::new(7).unwrap();
        let entry_id = EntryId::new(3).unwrap();
        let finding = Finding::Previous { entry_id, user_id, expected: EntryId::new(2), found: None };
        assert_eq!(finding.to_string(), "entry 3 of user 7: previous entry is none, must be 2");
        let place = Place { commit_id: None, entry_id: Some(entry_id), user_id: Some(user_id) };
        assert_eq!((finding.name(), finding.place()), ("PREVIOUS_ENTRY", place));
    }

    #[test]
    fn a_wallet_that_differs_is_described_in_money() {
        let user_id = UserId::new(123_123).unwrap();
        let state = |minor, sequence, last| WalletState {
            balance: Balance::from_minor(minor).unwrap(),
            sequence,
            last_entry_id: EntryId::new(last).unwrap(),
            frozen: false,
        };
        let text = |found| {
            let (currency, expected) = ("EUR".parse().unwrap(), state(1_800, 7, 8));
            Finding::WalletState { user_id, currency, expected, found }.to_string()
        };
        assert_eq!(text(state(101_800, 9, 9)), "user 123123: stored balance 1018.00, its 7 entries give 18.00");
        assert_eq!(text(state(1_800, 9, 9)), "user 123123: stored sequence 9, it has 7 entries");
        assert_eq!(text(state(1_800, 7, 9)), "user 123123: stored last entry 9, its last entry is 8");
        let frozen = WalletState { frozen: true, ..state(1_800, 7, 8) };
        assert_eq!(text(frozen), "user 123123: stored as frozen, its entries leave it not frozen");
    }
}
