//! Decides whether a database may be served, and makes it ready.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use tokio::time;

use super::cluster::{Cluster, timed_out};
use super::error::{cannot_open, is_forbidden};
use super::setting::{self, corrupt_setting};
use crate::ledger::{Genesis, Shards};
use crate::store::{MARK_COPY, SELECT_COPY_MARK, StoreError, StoreOptions, copy_is_not_whole};

/// How long it may take to find out what is there.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// How long it may take to make the tables, and the ledger in them. They are made when the standby has them.
const MAKE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The last migration that this program knows.
fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Makes the tables if they are missing, and says what was decided when the ledger was made. A ledger that is not as
/// the options expect is refused before anything is changed.
pub(super) async fn prepare(cluster: &Cluster, options: StoreOptions) -> Result<Genesis, StoreError> {
    let primary = cluster.connect().await.map_err(|error| cannot_open(cluster.shown(), &error))?;
    let mut connection = primary.connection;
    let late = |why: &str| cannot_open(cluster.shown(), &timed_out(why));
    let known = time::timeout(READ_TIMEOUT, known(&mut connection, cluster, options)).await;
    let known = known.map_err(|_| late("it did not answer in time"))??;
    let made = async {
        migrate(&mut connection, cluster).await?;
        match known {
            // A role that may not write settings can serve.
            Some(known) => Ok(known),
            None => make(&mut connection, cluster, options).await,
        }
    };
    let made = time::timeout(MAKE_TIMEOUT, made).await;
    let made = made.map_err(|_| late("the tables were not made in time: a synchronous standby may be missing"))??;
    let _ = connection.close().await;
    Ok(made)
}

/// The ledger that is there, if it may be opened; `None` if there is none yet.
async fn known(
    connection: &mut PgConnection,
    cluster: &Cluster,
    options: StoreOptions,
) -> Result<Option<Genesis>, StoreError> {
    check_encoding(connection, cluster).await?;
    let Some(known) = stored(connection, cluster).await? else { return Ok(None) };
    expect(cluster, known, options)?;
    let marked = sqlx::query_scalar::<_, i64>(SELECT_COPY_MARK).fetch_one(connection).await;
    let marked = marked.map_err(|error| cannot_open(cluster.shown(), &error))? > 0;
    if marked && !options.is_copy { Err(copy_is_not_whole(cluster.shown())) } else { Ok(Some(known)) }
}

/// Refuses a database that cannot store every text: one note would keep a whole batch from being written.
async fn check_encoding(connection: &mut PgConnection, cluster: &Cluster) -> Result<(), StoreError> {
    let encoding: Result<String, _> =
        sqlx::query_scalar("select current_setting('server_encoding')").fetch_one(connection).await;
    match encoding.map_err(|error| cannot_open(cluster.shown(), &error))?.as_str() {
        // The second stores every text as it is sent.
        "UTF8" | "SQL_ASCII" => Ok(()),
        other => Err(StoreError::Incompatible(format!(
            "the database {} has the encoding {other}: create it with the encoding UTF8",
            cluster.shown()
        ))),
    }
}

/// What was decided when the ledger was made; `None` if there is none yet.
async fn stored(connection: &mut PgConnection, cluster: &Cluster) -> Result<Option<Genesis>, StoreError> {
    let settings = setting::select(connection).await.map_err(|error| cannot_open(cluster.shown(), &error))?;
    setting::genesis(&settings)
}

/// Makes the ledger in tables that are empty.
async fn make(connection: &mut PgConnection, cluster: &Cluster, options: StoreOptions) -> Result<Genesis, StoreError> {
    let StoreOptions { currency, anchor, .. } = options;
    let asked = Genesis { currency, shards: options.shards.unwrap_or(Shards::ONE), anchor };
    found(connection, asked, options.is_copy).await.map_err(|error| cannot_open(cluster.shown(), &error))?;
    // Another process may have made the ledger in the meantime, and decided otherwise.
    let stored = stored(connection, cluster).await?.ok_or_else(|| corrupt_setting("missing"))?;
    expect(cluster, stored, options)?;
    Ok(stored)
}

/// Opens a ledger that must be there already, to read it.
pub(super) async fn genesis(connection: &mut PgConnection, cluster: &Cluster) -> Result<Genesis, StoreError> {
    let settings = setting::select(connection).await.map_err(StoreError::unavailable)?;
    setting::genesis(&settings)?
        .ok_or_else(|| StoreError::Incompatible(format!("there is no ledger in {}", cluster.shown())))
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

/// Brings the tables up to date. A role that may not make tables can serve a ledger whose tables are.
async fn migrate(connection: &mut PgConnection, cluster: &Cluster) -> Result<(), StoreError> {
    if migrated(connection).await == Some(newest()) {
        return Ok(());
    }
    // Another process may be making them, and take its time.
    let wait = sqlx::raw_sql("set lock_timeout = 0").execute(&mut *connection).await;
    wait.map_err(|error| cannot_open(cluster.shown(), &error))?;
    MIGRATIONS.run(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => {
            StoreError::Incompatible(format!(
                "the database {} was made by another version of the wallet (migration {version} is not known here)",
                cluster.shown()
            ))
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) if is_forbidden(&error) => {
            cannot_open(cluster.shown(), &error)
        }
        error => StoreError::Incompatible(format!("cannot make the tables in {}: {error}", cluster.shown())),
    })
}

/// The last migration that was made; `None` if that is not to be read.
async fn migrated(connection: &mut PgConnection) -> Option<i64> {
    let select = "select max(version) from _sqlx_migrations where success";
    sqlx::query_scalar::<_, Option<i64>>(select).fetch_one(connection).await.ok().flatten()
}

/// Writes down what is decided, if nothing is yet. A copy is not whole from its beginning.
async fn found(connection: &mut PgConnection, genesis: Genesis, is_copy: bool) -> Result<(), sqlx::Error> {
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
        if is_copy {
            sqlx::query(MARK_COPY).execute(&mut *tx).await?;
        }
    }
    tx.commit().await
}
