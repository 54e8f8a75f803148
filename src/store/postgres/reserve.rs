//! Reserves a database for a copy.

use super::PostgresUrl;
use super::blocking::Blocking;
use crate::store::StoreError;

/// The number of the lock in each database: "wallet", in ASCII.
const KEY: i64 = 0x7761_6c6c_6574;

const LOCK: &str = "select pg_try_advisory_lock($1)";
const LOCK_SHARED: &str = "select pg_try_advisory_lock_shared($1)";

/// The right to copy from a database, or into it, held until dropped.
pub struct Reserved(#[expect(dead_code, reason = "it is held")] Blocking);

/// Reserves a database: as the target of one copy, or as the source, which several copies may share. It may be served
/// all the same.
///
/// # Errors
/// [`StoreError::Incompatible`] if another copy has reserved it, or this one has, which would copy it into itself, and
/// if it cannot be reached. [`StoreError::Unavailable`] if it does not answer.
pub fn reserve(url: &PostgresUrl, is_target: bool) -> Result<Reserved, StoreError> {
    let mut session = Blocking::open(url)?;
    let lock = sqlx::query_scalar(if is_target { LOCK } else { LOCK_SHARED }).bind(KEY);
    let is_reserved =
        session.run(async |connection| lock.fetch_one(connection).await.map_err(StoreError::unavailable))?;
    if is_reserved {
        return Ok(Reserved(session));
    }
    Err(StoreError::Incompatible(format!(
        "a `wallet migrate` uses the database {}: another one, or this one by another name",
        session.shown()
    )))
}
