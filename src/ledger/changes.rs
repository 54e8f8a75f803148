//! What commits leave to be written.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::prefetch::sort_dedup;
use super::{Commit, Entry, UserId, WalletId, WalletState};

/// What a batch leaves to be written. Nothing at all if every command was a replay or refused.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The new entries, in ledger order.
    pub entries: Vec<Entry>,
    /// The wallets that were made, with their state at the end, by user.
    pub opened: Vec<(UserId, WalletId, WalletState)>,
    /// The other wallets that changed, with their state at the end, by user.
    pub updated: Vec<(UserId, WalletState)>,
    /// The commit that chains the entries; `None` when there are none.
    pub commit: Option<Commit>,
}

impl Changes {
    /// What these entries change, if each wallet is left in its `state`.
    pub(super) fn new(entries: Vec<Entry>, commit: Option<Commit>, state: impl Fn(UserId) -> WalletState) -> Self {
        let opened: HashMap<UserId, WalletId, RandomState> =
            entries.iter().filter_map(|entry| Some((entry.user_id, entry.wallet_id?))).collect();
        let mut touched: Vec<UserId> = entries.iter().map(|entry| entry.user_id).collect();
        sort_dedup(&mut touched);
        let mut changes = Self { entries, commit, ..Self::default() };
        for user_id in touched {
            match opened.get(&user_id) {
                Some(wallet_id) => changes.opened.push((user_id, *wallet_id, state(user_id))),
                None => changes.updated.push((user_id, state(user_id))),
            }
        }
        changes
    }

    /// What several commits in a row leave, as one: every entry, each wallet as the last of them left it, and the last
    /// commit.
    #[must_use]
    pub fn joined(commits: &[Self]) -> Self {
        let mut states: HashMap<UserId, WalletState, RandomState> = HashMap::default();
        for Self { opened, updated, .. } in commits {
            states.extend(opened.iter().map(|(user_id, _, state)| (*user_id, *state)));
            states.extend(updated.iter().copied());
        }
        let entries = commits.iter().flat_map(|changes| changes.entries.iter().cloned()).collect();
        Self::new(entries, commits.last().and_then(|changes| changes.commit), |user_id| states[&user_id])
    }
}
