//! What can be wrong with a ledger.

use std::fmt;

use thiserror::Error;

use super::{Amount, Balance, CommitHash, EntryId, Kind, UserId, WalletState};

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
    #[error("entry {entry_id} of user {user_id}: previous entry is {}, must be {}", Place(*found), Place(*expected))]
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
    /// A commit has entries.
    #[error("commit {commit_id} has no entries")]
    CommitEmpty { commit_id: i64 },
    /// A commit has the time of its entries.
    #[error("commit {commit_id}: its time is not that of its entries")]
    CommitTime { commit_id: i64 },
    /// A commit's hash is that of its entries.
    #[error("commit {commit_id}: hash is {found}, must be {expected}")]
    CommitHash { commit_id: i64, expected: CommitHash, found: CommitHash },
    /// Every entry belongs to a commit.
    #[error("entry {entry_id} belongs to no commit")]
    Uncommitted { entry_id: EntryId },
    /// A stored wallet stands where its entries left it.
    #[error("the wallet of user {user_id} stands at {found}, its entries leave it at {expected}")]
    WalletState { user_id: UserId, expected: WalletState, found: WalletState },
    /// Every wallet has entries.
    #[error("the wallet of user {user_id} has no entries")]
    WalletWithoutEntries { user_id: UserId },
    /// Every wallet that has entries is stored.
    #[error("the wallet of user {user_id} has entries but is not stored")]
    WalletMissing { user_id: UserId },
    /// Every wallet has its user, and every user a wallet.
    #[error("user {user_id} has no wallet, or the wallet no user")]
    UserMissing { user_id: UserId },
    /// A user was made when the wallet was opened.
    #[error("the time of user {user_id} is not that of the wallet's first entry")]
    UserTime { user_id: UserId },
    /// What was there at an earlier checkpoint is there still, and as it was.
    #[error("commit {commit_id}: hash is not {expected}, as it was at the checkpoint")]
    Checkpoint { commit_id: i64, expected: CommitHash },
    /// Nothing else lies in the database than what the program has put there.
    #[error("{what} is not as the wallet made it")]
    Foreign { what: String },
}

/// An entry that may not be there.
struct Place(Option<EntryId>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(entry_id) => entry_id.fmt(f),
            None => f.write_str("none"),
        }
    }
}

impl fmt::Display for WalletState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { balance, sequence, last_entry_id } = self;
        write!(f, "{} minor units after {sequence} entries, the last of them {last_entry_id}", balance.minor())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Balance;
    use super::*;

    #[test]
    fn a_finding_says_what_is_and_what_must_be() {
        let user_id = UserId::new(7).unwrap();
        let entry_id = EntryId::new(3).unwrap();
        let finding = Finding::Previous { entry_id, user_id, expected: EntryId::new(2), found: None };
        let text = finding.to_string();
        assert!(text.contains("none") && text.contains('2'), "{text}");
        let balance = Balance::from_minor(900).unwrap();
        let state = WalletState { balance, sequence: 2, last_entry_id: entry_id };
        assert_eq!(state.to_string(), "900 minor units after 2 entries, the last of them 3");
    }
}
