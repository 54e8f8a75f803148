//! SQLite's errors as the store's.

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// What SQLite answers, in the store's terms.
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked,
        // Every constraint is also a rule of the ledger: a new row can only break one because an old row is wrong.
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
            StoreError::Corrupt { table: "entry", column: "*", row: 0, found: error.to_string() }
        }
        _ => StoreError::unavailable(error),
    }
}
