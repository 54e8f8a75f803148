//! Compares what is stored beside the entries with them, at one moment: wallets, users, notes, the history index.

use rusqlite::{Connection, OptionalExtension as _};

use super::Stop;
use crate::ledger::{Audit, Finding, Timestamp};
use crate::store::sqlite::{history, row};

/// Checks that the history index has no more rows than it must.
pub(super) fn check_history_index(connection: &Connection, expected: i64) -> Result<(), Stop> {
    let found: i64 = connection.query_row("select count(*) from history_index", [], |row| row.get(0))?;
    if found == expected {
        return Ok(());
    }
    Err(Finding::Foreign { what: format!("history index with {found} rows, not {expected},") }.into())
}

/// Checks that the index of freezings has no more rows than it must.
pub(super) fn check_freezings(connection: &Connection, expected: i64) -> Result<(), Stop> {
    let count = history::freezings(connection)?;
    if count == expected {
        return Ok(());
    }
    Err(Finding::File { found: format!("the index of freezings has {count} rows, not {expected}") }.into())
}

/// Checks that each note belongs to an entry: one that does is covered by the entry's hash.
pub(super) fn check_notes(connection: &Connection) -> Result<(), Stop> {
    let stray = "select entry_id from entry_note where entry_id not in (select entry_id from entry) limit 1";
    match connection.query_row(stray, [], |row| row.get::<_, i64>(0)).optional()? {
        Some(entry_id) => Err(Finding::Foreign { what: format!("note of entry {entry_id}") }.into()),
        None => Ok(()),
    }
}

/// Checks each wallet and its user, and that there is neither without the other. In a ledger of a version that could
/// not freeze them, none is frozen.
pub(super) fn check_wallets(connection: &Connection, audit: &mut Audit, can_freeze: bool) -> Result<(), Stop> {
    let frozen = if can_freeze { "frozen" } else { "0" };
    let mut select = connection.prepare(&format!(
        "select wallet.user_id, balance, sequence, last_entry_id, {frozen}, wallet_id, created_at
         from wallet left join user using (user_id) order by wallet.user_id",
    ))?;
    let mut wallets = select.query([])?;
    while let Some(found) = wallets.next()? {
        let user_id = row::user_id(found, 0, "wallet")?;
        let state = row::wallet_state(found, 1, user_id)?;
        let created_at: Option<i64> = found.get(6)?;
        let created_at = created_at.ok_or(Finding::UserMissing { user_id })?;
        row::wallet_id(found, 5, user_id)?;
        audit.wallet(user_id, state, Timestamp::from_microseconds(created_at))?;
    }
    let mut select =
        connection.prepare("select user_id from user where user_id not in (select user_id from wallet) limit 1")?;
    match select.query([])?.next()? {
        Some(found) => Err(Finding::UserMissing { user_id: row::user_id(found, 0, "user")? }.into()),
        None => Ok(()),
    }
}
