//! What was decided when the ledger was made, as the table `setting` has it.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::error::cannot_open;
use crate::ledger::{CommitHash, Currency, Genesis, Shards};
use crate::store::StoreError;

/// What was decided when the ledger was made; `None` if there is none yet.
pub(super) async fn stored(connection: &mut PgConnection, shown: &str) -> Result<Option<Genesis>, StoreError> {
    let failed = |error| cannot_open(shown, &error);
    let table = "select to_regclass('setting') is not null and to_regclass('ledger_commit') is not null";
    if !sqlx::query_scalar::<_, bool>(table).fetch_one(&mut *connection).await.map_err(failed)? {
        return Ok(None);
    }
    let rows = sqlx::query("select name, value from setting").fetch_all(connection).await.map_err(failed)?;
    let (mut currency, mut shards, mut anchor) = (None, None, None);
    for row in &rows {
        let (name, value): (String, String) =
            (row.try_get(0).map_err(StoreError::unavailable)?, row.try_get(1).map_err(StoreError::unavailable)?);
        let wrong = || corrupt_setting(&value);
        match name.as_str() {
            "currency" => currency = Some(value.parse::<Currency>().map_err(|_| wrong())?),
            "shards" => shards = Some(value.parse().ok().and_then(Shards::new).ok_or_else(wrong)?),
            "anchor" => anchor = Some(CommitHash::from_hex(&value).ok_or_else(wrong)?),
            _ => (),
        }
    }
    let Some(currency) = currency else { return Ok(None) };
    Ok(Some(Genesis { currency, shards: shards.ok_or_else(|| corrupt_setting("missing"))?, anchor }))
}

pub(super) fn corrupt_setting(found: &str) -> StoreError {
    StoreError::Corrupt { table: "setting", column: "value", row: 0, found: found.to_owned() }
}
