//! What was decided when the ledger was made, as the table `setting` has it.

use sqlx::postgres::PgConnection;

use crate::ledger::{CommitHash, Currency, Genesis, Shards};
use crate::store::StoreError;

/// The names and values that are stored; none if there are no tables yet.
pub(super) async fn select(connection: &mut PgConnection) -> Result<Vec<(String, String)>, sqlx::Error> {
    let tables = "select to_regclass('setting') is not null and to_regclass('ledger_commit') is not null";
    if !sqlx::query_scalar(tables).fetch_one(&mut *connection).await? {
        return Ok(Vec::new());
    }
    sqlx::query_as("select name, value from setting").fetch_all(connection).await
}

/// What they say was decided; `None` if there is no ledger yet.
pub(super) fn genesis(settings: &[(String, String)]) -> Result<Option<Genesis>, StoreError> {
    let (mut currency, mut shards, mut anchor) = (None, None, None);
    for (name, value) in settings {
        let wrong = || corrupt_setting(value);
        match name.as_str() {
            "currency" => currency = Some(value.parse::<Currency>().map_err(|_| wrong())?),
            "shards" => shards = Some(value.parse().ok().and_then(Shards::new).ok_or_else(wrong)?),
            "anchor" => anchor = Some(CommitHash::from_hex(value).ok_or_else(wrong)?),
            _ => (),
        }
    }
    let Some(currency) = currency else { return Ok(None) };
    Ok(Some(Genesis { currency, shards: shards.ok_or_else(|| corrupt_setting("missing"))?, anchor }))
}

pub(super) fn corrupt_setting(found: &str) -> StoreError {
    StoreError::Corrupt { table: "setting", column: "value", row: 0, found: found.to_owned() }
}
