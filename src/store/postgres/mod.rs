//! The ledger in PostgreSQL: any number of processes write it.
//!
//! Nobody owns a shard, and nobody leads. A batch is decided on what its writer believes to be the head of the shard's
//! chain, and is written by one statement that inserts the next commit under a primary key. Of two writers with the
//! same head, one wins. The other has written nothing, forgets what it remembered, and decides again while it holds the
//! lock on the shard's row. So the chain is the fence, as `BEGIN IMMEDIATE` and `data_version` are on SQLite.
//! `docs/scaling.md` says why each step is as it is.

mod audit;
mod backend;
mod blocking;
mod bulk;
mod cluster;
mod confirm;
mod durable;
mod error;
mod history;
mod open;
mod pool;
mod reader;
mod reserve;
mod row;
mod scan;
mod setting;
mod url;
mod warning;
mod write;
mod writer;

use std::sync::Arc;

use super::{Store, StoreError, StoreOptions};
use crate::ledger::Shard;
pub use audit::audit;
pub use bulk::bulk_reader;
use cluster::Cluster;
use durable::Durable;
use reader::PostgresReader;
pub use reserve::{Reserved, reserve};
pub use url::PostgresUrl;
use writer::PostgresWriter;

/// What has happened if something is gone that was durable, and what to do.
const OLDER_STATE: &str = "an older state of the database was restored, or the standby did not have what was \
                           acknowledged; find out what is missing, and restart every wallet";

/// Opens the ledger at `url`, which is made if it is missing, and brings its tables up to date.
///
/// # Errors
/// [`StoreError::Incompatible`] if no server answers that takes writes, if the ledger cannot be made, or if it is a
/// newer wallet's, in another currency or of another number of shards: it is left as it is.
pub async fn open(url: &PostgresUrl, options: StoreOptions) -> Result<Store, StoreError> {
    let cluster = Cluster::new(url);
    let cluster = Arc::new(if options.is_copy { cluster.patient() } else { cluster });
    let genesis = open::prepare(&cluster, options).await?;
    cluster.expect(genesis);
    let durable = Arc::new(Durable::new(genesis));
    let writer = |shard| PostgresWriter::open(Arc::clone(&cluster), genesis, shard, Arc::clone(&durable));
    let writers = genesis.shards.all().map(|shard| Ok(Box::new(writer(shard)?) as Box<_>));
    let writers = writers.collect::<Result<_, StoreError>>()?;
    let reader = Arc::new(PostgresReader::open(cluster, genesis, durable));
    Ok(Store { writers, reader, genesis })
}

/// A shard as its column has it.
fn shard_id(shard: Shard) -> i16 {
    i16::try_from(shard.index()).expect("there are few shards")
}
