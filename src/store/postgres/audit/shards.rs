//! Checks that the tables have the shards of the ledger and no others.

use sqlx::Row as _;

use super::{Stop, changed, foreign};
use crate::ledger::Shards;
use crate::store::StoreError;
use crate::store::postgres::blocking::Blocking;

/// Selects a shard that a table has and the ledger has not.
macro_rules! select_other {
    ($table:literal) => {
        concat!(
            "select shard_id from ",
            $table,
            " where shard_id < 0 union all select shard_id from ",
            $table,
            " where shard_id >= $1 limit 1"
        )
    };
}

/// What is in each table, and the statement that finds what is in another shard.
const OTHERS: [(&str, &str); 5] = [
    ("row of the table `shard`", select_other!("shard")),
    ("commit", select_other!("ledger_commit")),
    ("entry", select_other!("entry")),
    ("wallet", select_other!("wallet")),
    ("user", select_other!("account")),
];
const SELECT_COUNT: &str = "select count(*) from shard where shard_id >= 0 and shard_id < $1";

/// Checks that each shard has its row, and that nothing is in a shard that the ledger does not have.
pub(super) fn check(session: &mut Blocking, shards: Shards) -> Result<(), Stop> {
    let count = i32::from(shards.count());
    for (what, select) in OTHERS {
        if let Some(found) = session.rows(sqlx::query(select).bind(count))?.first() {
            let shard: i16 = found.try_get(0).map_err(StoreError::unavailable)?;
            return Err(foreign(format!("{what} of shard {shard}")));
        }
    }
    let rows = session.rows(sqlx::query(SELECT_COUNT).bind(count))?;
    let found: i64 = rows[0].try_get(0).map_err(StoreError::unavailable)?;
    if found == i64::from(count) { Ok(()) } else { Err(changed("list of shards in the table `shard`")) }
}
