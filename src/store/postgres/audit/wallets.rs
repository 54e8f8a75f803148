//! Compares wallets and users as they are stored with what the entries have made them.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{Stop, Walk};
use crate::ledger::{Finding, UserId};
use crate::store::StoreError;
use crate::store::postgres::shard_id;
use crate::store::row::{self as stored, Columns as _};

/// Wallets in a page.
const WALLETS: usize = 1_024;

/// Selects wallets with their users, as [`check`] reads them.
macro_rules! select_wallet {
    ($rest:literal) => {
        concat!(
            "select wallet.user_id, wallet.balance, wallet.sequence, wallet.last_entry_id, wallet.frozen,
             account.wallet_id, account.created_at
             from wallet left join account on account.shard_id = wallet.shard_id and account.user_id = wallet.user_id ",
            $rest
        )
    };
}

const SELECT_PAGE: &str =
    select_wallet!("where wallet.shard_id = $1 and wallet.user_id >= $2 order by wallet.user_id limit $3");
// Its keys hold the shard as well, as those of the write statement do.
const SELECT_USERS: &str = select_wallet!(
    "join unnest($2::bigint[], array_fill($1::smallint, array[cardinality($2::bigint[])])) as key (user_id, shard_id)
         on wallet.shard_id = key.shard_id and wallet.user_id = key.user_id"
);
const SELECT_WITHOUT_WALLET: &str = "select user_id from account
     where shard_id = $1 and user_id >= $2 and user_id <= $3 and not exists (
         select from wallet where wallet.shard_id = account.shard_id and wallet.user_id = account.user_id)
     order by user_id limit 1";

/// Checks a page of wallets from the user `first` on, and that no user among them lacks one. Returns the user that the
/// next page begins with; `None` if there is no more.
pub(super) fn check_page(walk: &mut Walk<'_>, first: i64) -> Result<Option<i64>, Stop> {
    let (shard, limit) = (shard_id(walk.shard), i64::try_from(WALLETS).unwrap_or(i64::MAX));
    let rows = walk.session.rows(sqlx::query(SELECT_PAGE).bind(shard).bind(first).bind(limit))?;
    for found in &rows {
        check(walk, found)?;
    }
    let last = rows.last().filter(|_| rows.len() == WALLETS);
    let last: Option<i64> = last.map(|last| last.try_get(0)).transpose().map_err(StoreError::unavailable)?;
    let query = sqlx::query(SELECT_WITHOUT_WALLET).bind(shard).bind(first).bind(last.unwrap_or(i64::MAX));
    if let Some(found) = walk.session.rows(query)?.first() {
        return Err(Finding::UserMissing { user_id: stored::user_id(found, 0, "account")? }.into());
    }
    Ok(last.and_then(|last| last.checked_add(1)))
}

/// Checks the wallets that were in no page.
pub(super) fn check_rest(walk: &mut Walk<'_>) -> Result<(), Stop> {
    let users: Vec<i64> = walk.audit.unchecked().into_iter().map(UserId::get).collect();
    if users.is_empty() {
        return Ok(());
    }
    for found in walk.session.rows(sqlx::query(SELECT_USERS).bind(shard_id(walk.shard)).bind(users))? {
        check(walk, &found)?;
    }
    Ok(())
}

/// Checks a wallet and its user.
fn check(walk: &mut Walk<'_>, found: &PgRow) -> Result<(), Stop> {
    let user_id = stored::user_id(found, 0, "wallet")?;
    if matches!(found.integer(6), Ok(None)) {
        return Err(Finding::UserMissing { user_id }.into());
    }
    let stored = stored::stored_wallet(found, "account")?;
    walk.audit.wallet(user_id, stored.state(), stored.wallet.created_at)?;
    Ok(())
}
