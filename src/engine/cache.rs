//! What the writer remembers of the ledger between transactions, so that it need not be fetched again.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::ledger::{Changes, Fetched, Head, Keys, Outcome, UserId, WalletState};
use crate::store::Version;

/// The most wallets that are remembered: a few megabytes. When there are more, the cache is cleared, which costs less
/// than finding out which to forget.
const WALLETS_MAX: usize = 65_536;

/// What was decided about a batch, and is not known to be on disk.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) head: Head,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) changes: Changes,
}

/// The state of the ledger, as far as the last transaction of one writer saw it.
#[derive(Debug, Default)]
pub struct Cache {
    /// The state that everything here belongs to.
    version: Option<Version>,
    head: Option<Head>,
    wallets: HashMap<UserId, WalletState, RandomState>,
    /// What the last commit was to make true, while it is in doubt.
    pub(super) in_doubt: Option<Decided>,
}

impl Cache {
    /// Forgets everything, unless it belongs to this version.
    pub(super) fn revalidate(&mut self, version: Version) {
        if self.version != Some(version) {
            self.head = None;
            self.wallets.clear();
            self.version = Some(version);
        }
    }

    /// Where the ledger ends, if that is remembered.
    pub(super) const fn head(&self) -> Option<Head> {
        self.head
    }

    /// Answers the keys that are remembered. Returns the answers, and the keys that remain to be fetched.
    pub(super) fn lookup(&self, mut keys: Keys) -> (Fetched, Keys) {
        let mut known = Fetched::default();
        keys.wallets.retain(|user_id| match self.wallets.get(user_id) {
            Some(state) => {
                known.wallets.push((*user_id, Some(*state)));
                false
            }
            None => true,
        });
        (known, keys)
    }

    /// Takes in what was committed after `head`, and the version that the ledger has since.
    pub(super) fn apply(&mut self, head: &Head, changes: &Changes, version: Version) {
        let Changes { opened, updated, .. } = changes;
        self.version = Some(version);
        self.head = Some(head.after(changes));
        if self.wallets.len() + opened.len() + updated.len() > WALLETS_MAX {
            self.wallets.clear();
        }
        self.wallets.extend(opened.iter().map(|(user_id, _, state)| (*user_id, *state)));
        self.wallets.extend(updated.iter().copied());
    }
}
