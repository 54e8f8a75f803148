//! The tables, keys, indexes and triggers of a ledger, compared with what the program makes.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{Stop, changed, foreign};
use crate::store::StoreError;
use crate::store::postgres::blocking::Blocking;
use crate::store::postgres::open::MIGRATIONS;

/// What the migrations make: a line for each part, with its sort, its name, and its definition.
///
/// A part that the server does not look after counts as missing: a key that is not valid, a trigger that is off, a table
/// that is not logged and would be empty after a crash.
const PARTS: &str = include_str!("shape.txt");

const SELECT_PARTS: &str = "with tables as (
         select class.oid, class.relname, class.relpersistence, class.relrowsecurity
         from unnest(array['account', 'entry', 'ledger_commit', 'setting', 'shard', 'wallet']) as name
         join pg_class as class on class.oid = to_regclass(name)
     )
     select 'table', relname::text, 'logged'
     from tables where relpersistence = 'p' and not relrowsecurity
     union all
     select 'column', relname || '.' || attname,
         format_type(atttypid, atttypmod) || case when attnotnull then ' not null' else '' end
     from tables join pg_attribute on attrelid = tables.oid where attnum > 0 and not attisdropped
     union all
     select 'constraint', conname::text, relname || ' ' || pg_get_constraintdef(pg_constraint.oid)
     from tables join pg_constraint on conrelid = tables.oid
     left join pg_index on pg_index.indexrelid = conindid
     where contype in ('p', 'u', 'c', 'x', 'f') and convalidated and coalesce(indisvalid and indisready, true)
     union all
     select 'index', index.relname::text, pg_get_indexdef(index.oid, 0, true)
     from tables join pg_index on indrelid = tables.oid join pg_class as index on index.oid = indexrelid
     where indisvalid and indisready and not exists (select from pg_constraint where conindid = index.oid)
     union all
     select 'trigger', tgname::text, pg_get_triggerdef(pg_trigger.oid, true)
     from tables join pg_trigger on tgrelid = tables.oid where not tgisinternal and tgenabled in ('O', 'A')
     union all
     select 'rule', rulename::text, relname::text from tables join pg_rewrite on ev_class = tables.oid
     union all
     select distinct 'function', proname::text, regexp_replace(btrim(prosrc, E' \\n'), '\\s+', ' ', 'g')
     from tables join pg_trigger on tgrelid = tables.oid join pg_proc on pg_proc.oid = tgfoid where not tgisinternal";
const SELECT_MIGRATIONS: &str = "select version, checksum from _sqlx_migrations where success order by version";

/// Compares the tables and what belongs to them with what the migrations make. Other tables are no matter of the ledger.
///
/// # Errors
/// [`StoreError::Incompatible`] if there is no ledger.
pub(super) fn check(session: &mut Blocking) -> Result<(), Stop> {
    let found = session.rows(sqlx::query(SELECT_PARTS))?;
    let found: Vec<Part> =
        found.iter().map(Part::read).collect::<sqlx::Result<_>>().map_err(StoreError::unavailable)?;
    let is_ledger = |part: &Part| part.sort == "table" && ["setting", "ledger_commit"].contains(&part.name.as_str());
    if !found.iter().any(is_ledger) {
        return Err(StoreError::Incompatible(format!("there is no ledger in {}", session.shown())).into());
    }
    let expected: Vec<Part> = PARTS.lines().filter_map(Part::parse).collect();
    if let Some(Part { sort, name, .. }) = expected.iter().find(|part| !found.contains(part)) {
        return Err(changed(format!("{sort} `{name}`")));
    }
    if let Some(Part { sort, name, .. }) = found.iter().find(|part| !expected.contains(part)) {
        return Err(foreign(format!("{sort} `{name}`")));
    }
    check_migrations(session)
}

/// A table, or something that belongs to one.
#[derive(PartialEq, Eq)]
struct Part {
    sort: String,
    name: String,
    definition: String,
}

impl Part {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self { sort: row.try_get(0)?, name: row.try_get(1)?, definition: row.try_get(2)? })
    }

    fn parse(line: &str) -> Option<Self> {
        let [sort, name, definition] = line.splitn(3, " | ").collect::<Vec<_>>().try_into().ok()?;
        let [sort, name, definition] = [sort, name, definition].map(ToOwned::to_owned);
        Some(Self { sort, name, definition })
    }
}

/// Compares the notes of which migrations were made with the program's: a service would not open the database.
fn check_migrations(session: &mut Blocking) -> Result<(), Stop> {
    let table = session.rows(sqlx::query("select 1 where to_regclass('_sqlx_migrations') is not null"))?;
    if table.is_empty() {
        return Err(changed("table `_sqlx_migrations`"));
    }
    let rows = session.rows(sqlx::query(SELECT_MIGRATIONS))?;
    let row = |row: &PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
    let found: Vec<(i64, Vec<u8>)> =
        rows.iter().map(row).collect::<sqlx::Result<_>>().map_err(StoreError::unavailable)?;
    let made = MIGRATIONS.iter().map(|migration| (migration.version, migration.checksum.to_vec()));
    let expected: Vec<(i64, Vec<u8>)> = made.collect();
    let differs = expected
        .iter()
        .find(|migration| !found.contains(migration))
        .or_else(|| found.iter().find(|migration| !expected.contains(migration)));
    differs.map_or(Ok(()), |(version, _)| Err(changed(format!("note of migration {version}"))))
}
