//! Reserves a database for a copy.

use super::PostgresUrl;
use super::blocking::Blocking;
use crate::store::StoreError;

/// What the locks of a copy are known by in each database: "wallet", in ASCII.
const KEY: i64 = 0x0077_616c_6c65_7400;

/// The right to copy from a database, or into it, held until dropped.
pub struct Reserved(#[expect(dead_code, reason = "it is held")] Blocking);

/// Reserves a database to be copied, which several may do at a time, or to be copied into, which is for one alone. It
/// keeps nobody from serving it.
///
/// # Errors
/// [`StoreError::Incompatible`] if it is reserved already, as it is too if it is copied into itself.
pub fn reserve(url: &PostgresUrl, is_target: bool) -> Result<Reserved, StoreError> {
    let mut session = Blocking::open(url)?;
    let lock = if is_target { "pg_try_advisory_lock" } else { "pg_try_advisory_lock_shared" };
    let sql = sqlx::AssertSqlSafe(format!("select {lock}({KEY})"));
    let is_reserved = session.run(async |connection| {
        sqlx::query_scalar::<_, bool>(sql).fetch_one(connection).await.map_err(StoreError::unavailable)
    })?;
    if is_reserved {
        return Ok(Reserved(session));
    }
    Err(StoreError::Incompatible(format!(
        "a `wallet migrate` uses the database {}: another one, or this one by another name",
        session.shown()
    )))
}
