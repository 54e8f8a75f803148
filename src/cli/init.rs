//! Makes a ledger, or brings its tables up to date, and serves nothing.

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::config::InitArgs;
use crate::store::{Store, StoreOptions};

/// Makes the ledger if it is missing, and reports what it is. A ledger that is there is brought up to date.
///
/// # Errors
/// If it cannot be made, or was made with other decisions than are asked for.
pub fn run(args: &InitArgs) -> Result<String> {
    let InitArgs { database, currency, shards } = args;
    let options = StoreOptions { shards: *shards, ..StoreOptions::new(*currency) };
    let runtime = Runtime::new()?;
    let Store { writers, reader, genesis } = runtime.block_on(database.url.open(options))?;
    runtime.block_on(reader.close());
    drop(writers);
    Ok(format!("the ledger in {} is ready: {}, {}", database.url, genesis.currency, genesis.shards))
}
