//! Decides whether a database may be served, and makes it ready.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use super::cluster::Cluster;
use crate::ledger::{CommitHash, Currency, Genesis, Shards};
use crate::store::{StoreError, StoreOptions};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The last migration that this program knows.
fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Makes the tables if they are missing, and says what was decided when the ledger was made. A ledger that is not as
/// the options expect is refused before anything is changed.
pub(super) async fn prepare(cluster: &Cluster, options: StoreOptions) -> Result<Genesis, StoreError> {
    let primary = cluster.connect().await.map_err(|error| cannot_open(cluster, &error))?;
    let mut connection = primary.connection;
    if let Some(stored) = stored(&mut connection, cluster).await? {
        expect(cluster, stored, options)?;
    }
    migrate(&mut connection, cluster).await?;
    let StoreOptions { currency, anchor, .. } = options;
    let asked = Genesis { currency, shards: options.shards.unwrap_or(Shards::ONE), anchor };
    found(&mut connection, asked).await.map_err(|error| cannot_open(cluster, &error))?;
    // Another process may have made the ledger in the meantime, and decided otherwise.
    let stored = stored(&mut connection, cluster).await?.ok_or_else(|| corrupt_setting("missing"))?;
    expect(cluster, stored, options)?;
    let _ = connection.close().await;
    Ok(stored)
}

/// Opens a ledger that must be there already, to read it.
pub(super) async fn genesis(connection: &mut PgConnection, cluster: &Cluster) -> Result<Genesis, StoreError> {
    let stored = stored(connection, cluster).await?;
    stored.ok_or_else(|| StoreError::Incompatible(format!("there is no ledger in {}", cluster.shown())))
}

/// Refuses a ledger that was made with other decisions than are asked for.
fn expect(cluster: &Cluster, stored: Genesis, options: StoreOptions) -> Result<(), StoreError> {
    let (shown, currency) = (cluster.shown(), options.currency);
    if stored.currency != currency {
        let found = stored.currency;
        return Err(StoreError::Incompatible(format!("the database {shown} is in {found}, not in {currency}")));
    }
    match options.shards.filter(|shards| *shards != stored.shards) {
        Some(asked) => {
            let found = stored.shards;
            let why = format!("the database {shown} has {found}, not {asked}: the number is fixed when it is made");
            Err(StoreError::Incompatible(why))
        }
        None => Ok(()),
    }
}

/// What was decided when the ledger was made; `None` if there is none yet.
async fn stored(connection: &mut PgConnection, cluster: &Cluster) -> Result<Option<Genesis>, StoreError> {
    let failed = |error| cannot_open(cluster, &error);
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

fn corrupt_setting(found: &str) -> StoreError {
    StoreError::Corrupt { table: "setting", column: "value", row: 0, found: found.to_owned() }
}

/// Brings the tables up to date. A role that may not make tables can serve a ledger whose tables are.
async fn migrate(connection: &mut PgConnection, cluster: &Cluster) -> Result<(), StoreError> {
    if migrated(connection).await == Some(newest()) {
        return Ok(());
    }
    MIGRATIONS.run(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => {
            StoreError::Incompatible(format!(
                "the database {} was made by another version of the wallet (migration {version} is not known here)",
                cluster.shown()
            ))
        }
        error => StoreError::Incompatible(format!("cannot make the tables in {}: {error}", cluster.shown())),
    })
}

/// The last migration that was made; `None` if that is not to be read.
async fn migrated(connection: &mut PgConnection) -> Option<i64> {
    let select = "select max(version) from _sqlx_migrations where success";
    sqlx::query_scalar::<_, Option<i64>>(select).fetch_one(connection).await.ok().flatten()
}

/// Writes down what is decided, if nothing is yet.
async fn found(connection: &mut PgConnection, genesis: Genesis) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    let made = sqlx::query("insert into setting (name, value) values ('currency', $1) on conflict do nothing")
        .bind(genesis.currency.code())
        .execute(&mut *tx)
        .await;
    if made?.rows_affected() == 1 {
        let count = i32::from(genesis.shards.count());
        let insert = "insert into setting (name, value) values ('shards', $1)";
        sqlx::query(insert).bind(count.to_string()).execute(&mut *tx).await?;
        let insert = "insert into shard (shard_id) select generate_series(0, $1 - 1)";
        sqlx::query(insert).bind(count).execute(&mut *tx).await?;
        if let Some(anchor) = genesis.anchor {
            let insert = "insert into setting (name, value) values ('anchor', $1)";
            sqlx::query(insert).bind(anchor.to_string()).execute(&mut *tx).await?;
        }
    }
    tx.commit().await
}

/// Why a database cannot be opened.
pub(super) fn cannot_open(cluster: &Cluster, error: &sqlx::Error) -> StoreError {
    StoreError::Incompatible(format!("cannot open the database {}: {error}", cluster.shown()))
}
