//! PostgreSQL's errors, sorted by what they leave behind.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::store::StoreError;

/// What became of a statement that failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was done, and it may be tried again on the same connection: another has the lock.
    Busy,
    /// Nothing was done: the server said so, and the connection is as it was.
    Refused(StoreError),
    /// Nothing was done, but this server takes no writes any more.
    ReadOnly(sqlx::Error),
    /// The connection is not to be trusted. If the statement writes, it is not known whether it did.
    Lost(sqlx::Error),
}

/// Sorts an error by its SQLSTATE (PostgreSQL's documentation, appendix A).
pub(super) fn sort(error: sqlx::Error) -> Failure {
    let sqlx::Error::Database(found) = &error else {
        return match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Failure::Refused(StoreError::unavailable(error))
            }
            error => Failure::Lost(error),
        };
    };
    let found = found.downcast_ref::<PgDatabaseError>();
    match found.code() {
        // lock_not_available, serialization_failure, deadlock_detected
        "55P03" | "40001" | "40P01" => Failure::Busy,
        // read_only_sql_transaction
        "25006" => Failure::ReadOnly(error),
        // statement_completion_unknown
        "40003" => Failure::Lost(error),
        // operator_intervention (shut down, terminated), connection_exception
        code if code.starts_with("57P") || code.starts_with("08") => Failure::Lost(error),
        // Every constraint is also a rule of the ledger: a new row can only break one because an old row is wrong. And
        // division_by_zero, by which the write statement says that a wallet is not there.
        code if code.starts_with("23") || code == "22012" => {
            let tables = ["account", "entry", "ledger_commit"];
            let table = tables.into_iter().find(|table| found.table() == Some(table)).unwrap_or("wallet");
            let found = format!("such that no batch fits behind it: {}", found.message());
            Failure::Refused(StoreError::Corrupt { table, column: "*", row: 0, found })
        }
        _ if matches!(found.severity(), PgSeverity::Fatal | PgSeverity::Panic) => Failure::Lost(error),
        _ => Failure::Refused(StoreError::unavailable(error)),
    }
}

impl Failure {
    /// The error, where nothing was committed.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Busy => StoreError::Locked,
            Self::Refused(error) => error,
            Self::ReadOnly(error) | Self::Lost(error) => StoreError::unavailable(error),
        }
    }
}

/// Why a database cannot be opened.
pub(super) fn cannot_open(shown: &str, error: &sqlx::Error) -> StoreError {
    StoreError::Incompatible(if is_forbidden(error) {
        format!(
            "the tables in {shown} are not made, or this role may not use them ({error}): run `wallet init` of this \
             version as their owner, and then deploy/postgres/role.sql"
        )
    } else {
        format!("cannot open the database {shown}: {error}")
    })
}

/// Whether the role has not the right to do it (`insufficient_privilege`).
pub(super) fn is_forbidden(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42501"))
}
