//! The tables, triggers, indexes and settings of a ledger, compared with what the program makes.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::Stop;
use crate::ledger::{Currency, Finding};
use crate::store::sqlite::open::MIGRATIONS;

/// Compares the database's tables, triggers and indexes with what the migrations up to `version` make. Tables whose
/// names begin with `_` belong to sqlx and to other programs that use the file, such as a replicator.
pub(super) fn check(connection: &Connection, version: i64) -> Result<(), Stop> {
    check_migrations(connection, version)?;
    let pattern = Connection::open_in_memory()?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version <= version) {
        pattern.execute_batch(migration.sql.as_str())?;
    }
    let (expected, found) = (parts(&pattern)?, parts(connection)?);
    if let Some(Part { kind, name, .. }) = expected.iter().find(|part| !found.contains(part)) {
        return Err(Finding::Changed { what: format!("{kind} `{name}`") }.into());
    }
    if let Some(Part { kind, name, .. }) = found.iter().find(|part| !expected.contains(part)) {
        return Err(Finding::Foreign { what: format!("{kind} `{name}`") }.into());
    }
    Ok(())
}

/// Compares the notes of which migrations were made with the program's: a service would not open the database.
fn check_migrations(connection: &Connection, version: i64) -> Result<(), Stop> {
    let changed = |what: String| Stop::from(Finding::Changed { what });
    let select = connection.prepare("select version, checksum from _sqlx_migrations where success order by version");
    let mut select = select.map_err(|_| changed("table `_sqlx_migrations`".to_owned()))?;
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found: Vec<(i64, Vec<u8>)> = select.query_map([], row)?.collect::<Result<_, _>>()?;
    let made = MIGRATIONS.iter().filter(|migration| migration.version <= version);
    let expected: Vec<(i64, Vec<u8>)> =
        made.map(|migration| (migration.version, migration.checksum.to_vec())).collect();
    let differs = expected
        .iter()
        .find(|migration| !found.contains(migration))
        .or_else(|| found.iter().find(|migration| !expected.contains(migration)));
    differs.map_or(Ok(()), |(version, _)| Err(changed(format!("note of migration {version}"))))
}

/// The currency that is stored.
pub(super) fn currency(connection: &Connection) -> Result<Currency, Stop> {
    let select = "select value from setting where name = 'currency'";
    let code: Option<String> = connection.query_row(select, [], |row| row.get(0)).optional()?;
    let currency = code.and_then(|code| code.parse().ok());
    currency.ok_or_else(|| Finding::Changed { what: "currency setting".to_owned() }.into())
}

/// A table, trigger or index of a database.
#[derive(PartialEq, Eq)]
struct Part {
    kind: String,
    name: String,
    table: String,
    /// `None` of an index that SQLite makes by itself.
    sql: Option<String>,
}

fn parts(connection: &Connection) -> rusqlite::Result<Vec<Part>> {
    let mut select = connection.prepare(
        "select type, name, tbl_name, sql from sqlite_schema
         where substr(tbl_name, 1, 1) <> '_' and substr(name, 1, 11) <> 'sqlite_stat'",
    )?;
    let part = |row: &Row<'_>| Ok(Part { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? });
    select.query_map([], part)?.collect()
}
