//! Writes a batch's changes, in the transaction that is open.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::history::{self, INSERT_INDEX};
use crate::ledger::{Annotations, Caller, Changes, Commit, Entry, EntryId, RoundId, UserId, WalletId, WalletState};

const INSERT_ENTRY: &str = "insert into entry (entry_id, user_id, sequence, kind, event_id, amount, balance_after,
     previous_entry_id, created_at, round_id, caller_id) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
const INSERT_NOTE: &str = "insert into entry_note (entry_id, note) values (?1, ?2)";
const SELECT_CALLER: &str = "select caller_id from caller where name = ?1";
const INSERT_CALLER: &str = "insert into caller (name) values (?1) returning caller_id";
const INSERT_USER: &str = "insert into user (user_id, wallet_id, created_at) values (?1, ?2, ?3)";
const INSERT_WALLET: &str =
    "insert into wallet (user_id, balance, sequence, last_entry_id, frozen) values (?1, ?2, ?3, ?4, ?5)";
const UPDATE_WALLET: &str =
    "update wallet set balance = ?2, sequence = ?3, last_entry_id = ?4, frozen = ?5 where user_id = ?1";
const INSERT_COMMIT: &str =
    "insert into ledger_commit (commit_id, form, last_entry_id, hash, created_at) values (?1, ?2, ?3, ?4, ?5)";

/// Writes `changes`.
///
/// # Panics
/// If a wallet that the batch changed is not there: it was when the transaction began.
pub(super) fn changes(tx: &Connection, changes: &Changes) -> rusqlite::Result<()> {
    let Changes { entries, opened, updated, commit: Some(commit) } = changes else { return Ok(()) };
    insert_entries(tx, entries)?;
    for (user_id, wallet_id, state) in opened {
        insert_wallet(tx, *user_id, *wallet_id, state, commit)?;
    }
    let mut update = tx.prepare_cached(UPDATE_WALLET)?;
    for (user_id, state) in updated {
        let rows = update.execute(wallet_row(*user_id, state))?;
        assert_eq!(rows, 1, "the wallet of user {user_id} was there when the transaction began");
    }
    let Commit { commit_id, form, last_entry_id, hash, created_at } = commit;
    let row = params![commit_id, form.code(), last_entry_id.get(), hash.0, created_at.microseconds()];
    tx.prepare_cached(INSERT_COMMIT)?.execute(row)?;
    Ok(())
}

fn insert_wallet(
    tx: &Connection,
    user_id: UserId,
    wallet_id: WalletId,
    state: &WalletState,
    commit: &Commit,
) -> rusqlite::Result<()> {
    let user = params![user_id.get(), wallet_id.as_bytes(), commit.created_at.microseconds()];
    tx.prepare_cached(INSERT_USER)?.execute(user)?;
    tx.prepare_cached(INSERT_WALLET)?.execute(wallet_row(user_id, state))?;
    Ok(())
}

/// The values of a wallet's row.
const fn wallet_row(user_id: UserId, state: &WalletState) -> (i64, i64, i64, i64, bool) {
    let WalletState { balance, sequence, last_entry_id, frozen } = *state;
    (user_id.get(), balance.minor(), sequence, last_entry_id.get(), frozen)
}

fn insert_entries(tx: &Connection, entries: &[Entry]) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(INSERT_ENTRY)?;
    let mut callers = CallerIds { tx, ids: HashMap::new() };
    for entry in entries {
        let Annotations { round_id, note, caller } = &entry.annotations;
        let caller_id = caller.as_ref().map(|caller| callers.id(caller)).transpose()?;
        insert_entry(&mut insert, entry, *round_id, caller_id)?;
        if history::is_indexed(entry) {
            tx.prepare_cached(INSERT_INDEX)?.execute(history::index_row(entry))?;
        }
        if let Some(note) = note {
            tx.prepare_cached(INSERT_NOTE)?.execute(params![entry.entry_id.get(), &**note])?;
        }
    }
    Ok(())
}

fn insert_entry(
    insert: &mut CachedStatement<'_>,
    entry: &Entry,
    round_id: Option<RoundId>,
    caller_id: Option<i64>,
) -> rusqlite::Result<()> {
    insert.execute(params![
        entry.entry_id.get(),
        entry.user_id.get(),
        entry.sequence,
        entry.kind.code(),
        entry.event_id.get(),
        entry.amount.minor(),
        entry.balance_after.minor(),
        entry.previous_entry_id.map(EntryId::get),
        entry.created_at.microseconds(),
        round_id.map(RoundId::get),
        caller_id,
    ])?;
    Ok(())
}

/// The ids of callers, cached for one batch only: if the batch is rolled back, so are the ids that it inserted.
struct CallerIds<'tx> {
    tx: &'tx Connection,
    ids: HashMap<Caller, i64>,
}

impl CallerIds<'_> {
    fn id(&mut self, caller: &Caller) -> rusqlite::Result<i64> {
        if let Some(id) = self.ids.get(caller) {
            return Ok(*id);
        }
        let name = &**caller;
        let known = self.tx.prepare_cached(SELECT_CALLER)?.query_row([name], |row| row.get(0)).optional()?;
        let id = match known {
            Some(id) => id,
            None => self.tx.prepare_cached(INSERT_CALLER)?.query_row([name], |row| row.get(0))?,
        };
        self.ids.insert(caller.clone(), id);
        Ok(id)
    }
}
