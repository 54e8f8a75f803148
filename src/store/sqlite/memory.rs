//! What the writer remembers between transactions, so that it need not be read again.
//!
//! The writer is the only one that writes, as long as nobody opens the file with another program. SQLite tells when
//! somebody did (`pragma data_version`), and then everything is forgotten.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::row::{self, SELECT_HEAD, commit_row};
use super::writer::failed;
use crate::ledger::{Changes, Commit, EventId, UserId, WalletState};
use crate::store::StoreError;

const SELECT_LAST_EVENT: &str = "select max(event_id) from entry";

/// The wallets that are remembered, at the most: a few megabytes. Past that all are forgotten, which costs less than to
/// know which to forget.
const WALLETS_MAX: usize = 65_536;

/// The state of the ledger, as far as the last transaction of this connection saw it.
pub(super) struct Memory {
    data_version: i64,
    head: Commit,
    /// The highest event id of any entry: no entry has one above it. `None` if there is no entry.
    last_event_id: Option<EventId>,
    wallets: HashMap<UserId, WalletState>,
}

impl Memory {
    /// What was `remembered`, if it still holds in this transaction; else what the transaction sees.
    pub(super) fn of(tx: &Connection, remembered: Option<Self>) -> Result<Self, StoreError> {
        let data_version =
            tx.prepare_cached("pragma data_version").and_then(|mut select| select.query_row([], |row| row.get(0)));
        let data_version = data_version.map_err(failed)?;
        match remembered {
            Some(memory) if memory.data_version == data_version => Ok(memory),
            _ => Self::read(tx, data_version),
        }
    }

    fn read(tx: &Connection, data_version: i64) -> Result<Self, StoreError> {
        let head = tx.query_row(SELECT_HEAD, [], commit_row).optional().map_err(failed)?;
        let head = head.map_or(Ok(Commit::GENESIS), row::commit)?;
        let last_event_id: Option<i64> = tx.query_row(SELECT_LAST_EVENT, [], |row| row.get(0)).map_err(failed)?;
        let last_event_id = last_event_id.and_then(EventId::new);
        Ok(Self { data_version, head, last_event_id, wallets: HashMap::new() })
    }

    /// The head of the commit chain.
    pub(super) const fn head(&self) -> Commit {
        self.head
    }

    /// Where the user's wallet stands, if that is remembered.
    pub(super) fn state(&self, user_id: UserId) -> Option<WalletState> {
        self.wallets.get(&user_id).copied()
    }

    /// Whether no entry can have this event id. Engines number events upwards, so most commands bring such a one.
    pub(super) fn is_new(&self, event_id: EventId) -> bool {
        self.last_event_id.is_none_or(|last| event_id > last)
    }

    /// Takes in what was just committed.
    pub(super) fn learn(&mut self, changes: &Changes) {
        let Changes { entries, opened, updated, commit } = changes;
        self.head = commit.unwrap_or(self.head);
        self.last_event_id = self.last_event_id.max(entries.iter().map(|entry| entry.event_id).max());
        if self.wallets.len() + opened.len() + updated.len() > WALLETS_MAX {
            self.wallets.clear();
        }
        self.wallets.extend(opened.iter().map(|(user_id, _, state)| (*user_id, *state)));
        self.wallets.extend(updated.iter().copied());
    }
}
