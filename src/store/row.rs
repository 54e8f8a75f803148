//! Rows as the ledger's types, whatever database they come from. A value that the ledger cannot have written is
//! reported as corrupt.

use super::{StoreError, StoredWallet};
use crate::ledger::{
    Amount, Annotations, Balance, Commit, CommitHash, Entry, EntryId, EventId, Form, Kind, RoundId, Timestamp, Undone,
    UserId, Wallet, WalletId, WalletState,
};

/// The columns of a row, by their place.
pub trait Columns {
    /// A whole number; `None` if it is null. A truth value is 0 or 1.
    ///
    /// # Errors
    /// [`Unreadable`].
    fn integer(&self, at: usize) -> Result<Option<i64>, Unreadable>;

    /// A text; `None` if it is null.
    ///
    /// # Errors
    /// [`Unreadable`].
    fn text(&self, at: usize) -> Result<Option<&str>, Unreadable>;

    /// Bytes; `None` if they are null.
    ///
    /// # Errors
    /// [`Unreadable`].
    fn bytes(&self, at: usize) -> Result<Option<Vec<u8>>, Unreadable>;
}

/// Why a column cannot be read.
pub enum Unreadable {
    /// It holds what cannot be there; what it holds instead.
    Found(String),
    /// The database failed.
    Failed(StoreError),
}

/// A row of which one column after another is read.
pub struct Source<'r, R> {
    row: &'r R,
    table: &'static str,
    key: i64,
}

impl<'r, R: Columns> Source<'r, R> {
    /// A row of this table, whose key is in the column `key_at`.
    pub fn keyed(row: &'r R, table: &'static str, key_at: usize) -> Result<Self, StoreError> {
        let mut source = Self { row, table, key: 0 };
        source.key = source.get(key_at, "key", Some)?;
        Ok(source)
    }

    /// A row of this table with this key.
    pub const fn of(row: &'r R, table: &'static str, key: i64) -> Self {
        Self { row, table, key }
    }

    /// The value of a column, or [`StoreError::Corrupt`].
    pub fn get<T>(&self, at: usize, column: &'static str, new: impl FnOnce(i64) -> Option<T>) -> Result<T, StoreError> {
        let found = self.get_optional(at, column, new)?;
        found.ok_or_else(|| self.corrupt(column, "null".to_owned()))
    }

    /// The value of a column that may be null.
    pub fn get_optional<T>(
        &self,
        at: usize,
        column: &'static str,
        new: impl FnOnce(i64) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        let found = self.row.integer(at).map_err(|error| self.unreadable(column, error))?;
        found.map(|found| new(found).ok_or_else(|| self.corrupt(column, found.to_string()))).transpose()
    }

    /// The text of a column that may be null.
    pub fn get_text<T>(
        &self,
        at: usize,
        column: &'static str,
        new: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        let found = self.row.text(at).map_err(|error| self.unreadable(column, error))?;
        found.map(|text| new(text).ok_or_else(|| self.corrupt(column, format!("{text:?}")))).transpose()
    }

    /// The bytes of a column, which must be exactly `N`.
    pub fn get_bytes<const N: usize>(&self, at: usize, column: &'static str) -> Result<[u8; N], StoreError> {
        let found = self.row.bytes(at).map_err(|error| self.unreadable(column, error))?;
        let found = found.ok_or_else(|| self.corrupt(column, "missing".to_owned()))?;
        found.try_into().map_err(|found: Vec<u8>| self.corrupt(column, format!("{} bytes long", found.len())))
    }

    fn unreadable(&self, column: &'static str, error: Unreadable) -> StoreError {
        match error {
            Unreadable::Found(found) => self.corrupt(column, found),
            Unreadable::Failed(error) => error,
        }
    }

    fn corrupt(&self, column: &'static str, found: String) -> StoreError {
        StoreError::Corrupt { table: self.table, column, row: self.key, found }
    }
}

/// Reads the user id in column `at` of a row of `table`.
pub fn user_id(row: &impl Columns, at: usize, table: &'static str) -> Result<UserId, StoreError> {
    Source::keyed(row, table, at)?.get(at, "user_id", UserId::new)
}

/// Reads an entry from the first ten columns: entry, user, sequence, kind, event, amount, balance after, previous
/// entry, time, round. Its note, its caller and its wallet id are for whoever knows where they are.
pub fn entry(row: &impl Columns) -> Result<Entry, StoreError> {
    let source = Source::keyed(row, "entry", 0)?;
    Ok(Entry {
        entry_id: source.get(0, "entry_id", EntryId::new)?,
        user_id: source.get(1, "user_id", UserId::new)?,
        sequence: source.get(2, "sequence", Some)?,
        kind: source.get(3, "kind", Kind::from_code)?,
        event_id: source.get(4, "event_id", EventId::new)?,
        amount: source.get(5, "amount", Amount::from_minor)?,
        balance_after: source.get(6, "balance_after", Balance::from_minor)?,
        previous_entry_id: source.get_optional(7, "previous_entry_id", EntryId::new)?,
        created_at: source.get(8, "created_at", |time| Some(Timestamp::from_microseconds(time)))?,
        wallet_id: None,
        annotations: Annotations { round_id: source.get_optional(9, "round_id", RoundId::new)?, ..Annotations::NONE },
    })
}

/// Reads what a rollback must know of the entry that it names from the columns from `at` on: id and amount. `None` if
/// the id is null.
pub fn undone(row: &impl Columns, at: usize) -> Result<Option<Undone>, StoreError> {
    let Some(entry_id) = Source::of(row, "entry", 0).get_optional(at, "entry_id", EntryId::new)? else {
        return Ok(None);
    };
    let amount = Source::of(row, "entry", entry_id.get()).get(at + 1, "amount", Amount::from_minor)?;
    Ok(Some(Undone { entry_id, amount }))
}

/// Reads a wallet's balance, sequence, last entry and whether it is frozen from the columns from `at` on.
pub fn wallet_state(row: &impl Columns, at: usize, user_id: UserId) -> Result<WalletState, StoreError> {
    let source = Source::of(row, "wallet", user_id.get());
    Ok(WalletState {
        balance: source.get(at, "balance", Balance::from_minor)?,
        sequence: source.get(at + 1, "sequence", Some)?,
        last_entry_id: source.get(at + 2, "last_entry_id", EntryId::new)?,
        frozen: source.get(at + 3, "frozen", |found| [0, 1].contains(&found).then_some(found == 1))?,
    })
}

/// Reads the wallet id in column `at` of a row of `table`, where users are.
pub fn wallet_id(row: &impl Columns, at: usize, table: &'static str, user_id: UserId) -> Result<WalletId, StoreError> {
    Ok(WalletId::from_bytes(Source::of(row, table, user_id.get()).get_bytes(at, "wallet_id")?))
}

/// Reads a wallet from the first seven columns: user, balance, sequence, last entry, whether it is frozen, wallet id, time.
/// The last two are of `users`, the table where users are.
pub fn stored_wallet(row: &impl Columns, users: &'static str) -> Result<StoredWallet, StoreError> {
    let user_id = user_id(row, 0, "wallet")?;
    let WalletState { balance, sequence, last_entry_id, frozen } = wallet_state(row, 1, user_id)?;
    let wallet_id = wallet_id(row, 5, users, user_id)?;
    let time = |time| Some(Timestamp::from_microseconds(time));
    let created_at = Source::of(row, users, user_id.get()).get(6, "created_at", time)?;
    let wallet = Wallet { user_id, wallet_id, balance, sequence, created_at, frozen };
    Ok(StoredWallet { wallet, last_entry_id })
}

/// Reads a commit from the first five columns: number, form, last entry, hash, time.
pub fn commit(row: &impl Columns) -> Result<Commit, StoreError> {
    let source = Source::keyed(row, "ledger_commit", 0)?;
    Ok(Commit {
        commit_id: source.get(0, "commit_id", Some)?,
        form: source.get(1, "form", Form::from_code)?,
        last_entry_id: source.get(2, "last_entry_id", EntryId::new)?,
        hash: CommitHash(source.get_bytes(3, "hash")?),
        created_at: source.get(4, "created_at", |time| Some(Timestamp::from_microseconds(time)))?,
    })
}

/// The ledger lacks an entry that it must have.
pub fn missing(entry_id: i64) -> StoreError {
    StoreError::Corrupt { table: "entry", column: "entry_id", row: entry_id, found: "missing".to_owned() }
}

/// Checks that an entry of a user's history is the user's.
pub fn check_owner(entry: &Entry, user_id: UserId) -> Result<(), StoreError> {
    if entry.user_id == user_id {
        return Ok(());
    }
    let (row, found) = (entry.entry_id.get(), format!("{}, in the history of {user_id}", entry.user_id));
    Err(StoreError::Corrupt { table: "entry", column: "user_id", row, found })
}
