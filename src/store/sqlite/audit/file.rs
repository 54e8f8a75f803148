//! Checks the file itself: its pages, the types of its values, and that its indexes agree with its tables.

use std::path::Path;

use rusqlite::Connection;

use super::Stop;
use crate::ledger::Finding;
use crate::store::sqlite::open::open_to_read;

/// The tables with an index, or ordered by a key of their own. That of the entries is left out: its index is as large
/// as the table itself, and is compared as a whole while the entries are walked.
const SELECT_INDEXED: &str = "select distinct part.name from sqlite_schema as part, pragma_index_list(part.name)
     where part.type = 'table' and part.name <> 'entry' order by part.name";

/// Checks everything of the file but the index of the entries' events.
///
/// SQLite checks the pages in one transaction: pages move from one table to another, so only one moment can be proved.
pub(super) fn check(path: &Path) -> Result<(), Stop> {
    let connection = open_to_read(path)?;
    expect_ok(connection.query_row("pragma quick_check(1)", [], |row| row.get(0))?)?;
    let mut select = connection.prepare(SELECT_INDEXED)?;
    let tables: Vec<String> = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    tables.iter().try_for_each(|table| check_table(&connection, table))
}

/// Checks a table, looks up each row in the table's indexes, and names the first that is missing.
pub(super) fn check_table(connection: &Connection, table: &str) -> Result<(), Stop> {
    let mut answer = None;
    connection.pragma(None, "integrity_check", table, |row| {
        answer.get_or_insert(row.get(0)?);
        Ok(())
    })?;
    answer.map_or(Ok(()), expect_ok)
}

fn expect_ok(answer: String) -> Result<(), Stop> {
    if answer == "ok" { Ok(()) } else { Err(Finding::File { found: answer }.into()) }
}
