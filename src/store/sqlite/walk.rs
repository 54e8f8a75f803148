//! Reads the entries of a ledger in order, a page at a time.
//!
//! Each page is a short transaction of its own, unless the caller has one open. Entries and what belongs to them are
//! only ever added, so pages that were read at different moments fit together, and a walk does not keep the WAL from
//! being begun again.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{Connection, Rows};

use super::error::failed;
use super::query::query;
use super::row;
use crate::ledger::{Caller, Entry, EntryId, Kind, Note, UserId, WalletId};
use crate::store::StoreError;

/// The most entries in a page.
pub(super) const PAGE: usize = 2_048;

const SELECT_PAGE: &str = concat!(
    "select ",
    row::entry_columns!(),
    " from entry where entry_id > ?1 and entry_id <= ?2 order by entry_id limit ?3"
);
const SELECT_NOTES: &str =
    "select entry_id, note from entry_note where entry_id > ?1 and entry_id <= ?2 order by entry_id";
const SELECT_CALLER: &str = "select name from caller where caller_id = ?1";
const SELECT_WALLET_ID: &str = "select wallet_id from user where user_id = ?1";

/// Reads pages of entries over one connection.
///
/// It looks up callers once, and merges the notes in. So a page takes half of the time that the same rows take when
/// each is joined with its caller, note and user.
pub(super) struct EntryPages<'c> {
    connection: &'c Connection,
    /// The callers that were met so far.
    callers: HashMap<i64, Caller, RandomState>,
}

impl<'c> EntryPages<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, callers: HashMap::default() }
    }

    /// Appends to `page` the next [`PAGE`] entries after `after` (`None`: from the very first on) up to `last`. Fewer
    /// means that there are no more.
    ///
    /// # Errors
    /// [`StoreError`]; `page` has the entries before the one that cannot be read.
    pub(super) fn read(
        &mut self,
        after: Option<EntryId>,
        last: EntryId,
        page: &mut Vec<Entry>,
    ) -> Result<(), StoreError> {
        let connection = self.connection;
        // Below the first id that there can be: what is there was not written by the ledger, and must be seen.
        let after = after.map_or(i64::MIN, EntryId::get);
        let mut select = connection.prepare_cached(SELECT_PAGE).map_err(failed)?;
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let mut rows = select.query((after, last.get(), limit)).map_err(failed)?;
        let mut select = connection.prepare_cached(SELECT_NOTES).map_err(failed)?;
        let mut notes = Notes { rows: select.query((after, last.get())).map_err(failed)?, next: None };
        notes.advance()?;
        while let Some(found) = rows.next().map_err(failed)? {
            let (mut entry, caller_id) = row::own_columns(found)?;
            if let Some(caller_id) = caller_id {
                entry.annotations.caller = Some(self.caller(entry.entry_id, caller_id)?);
            }
            if entry.kind == Kind::Open {
                entry.wallet_id = Some(self.wallet_id(entry.user_id)?);
            }
            entry.annotations.note = notes.of(entry.entry_id)?;
            page.push(entry);
        }
        Ok(())
    }

    fn caller(&mut self, entry_id: EntryId, caller_id: i64) -> Result<Caller, StoreError> {
        if let Some(caller) = self.callers.get(&caller_id) {
            return Ok(caller.clone());
        }
        let found = query(self.connection, SELECT_CALLER, [caller_id], |found| row::caller(found, 0, caller_id))?;
        let caller = found.flatten().ok_or_else(|| row::unknown_caller(entry_id, caller_id))?;
        self.callers.insert(caller_id, caller.clone());
        Ok(caller)
    }

    fn wallet_id(&self, user_id: UserId) -> Result<WalletId, StoreError> {
        let found =
            query(self.connection, SELECT_WALLET_ID, [user_id.get()], |found| row::wallet_id(found, 0, user_id));
        found?.ok_or_else(|| row::missing_user(user_id))
    }
}

/// The notes of a page, in the order of its entries.
struct Notes<'s> {
    rows: Rows<'s>,
    next: Option<(i64, Result<Option<Note>, StoreError>)>,
}

impl Notes<'_> {
    /// Goes to the next note.
    fn advance(&mut self) -> Result<(), StoreError> {
        self.next = self.rows.next().map_err(failed)?.map(row::note).transpose()?;
        Ok(())
    }

    /// The note of an entry, which comes after the entry that was asked for before.
    fn of(&mut self, entry_id: EntryId) -> Result<Option<Note>, StoreError> {
        while let Some((noted, note)) = self.next.take() {
            if noted > entry_id.get() {
                self.next = Some((noted, note));
                return Ok(None);
            }
            self.advance()?;
            if noted == entry_id.get() {
                return note;
            }
        }
        Ok(None)
    }
}
