//! What is PostgreSQL's own: several writers of one shard, connections that are lost, servers that change.

mod audit;
mod bulk;
mod tamper;

use tokio::task::block_in_place;
use wallet::engine::{self, Cache};
use wallet::ledger::{AuditReport, Checkpoint, Command, Currency, Finding, Shards, Timestamp};
use wallet::store::{Store, StoreError, StoreOptions, postgres};

use super::contract::StoreUnderTest;
use crate::support::postgres::Database;
use crate::support::store::{at, charge, close, eur, open};

impl StoreUnderTest for Database {
    async fn create() -> Option<Self> {
        Self::create("the ledger on PostgreSQL")
    }

    async fn open_in(&self, currency: Currency) -> Result<Store, StoreError> {
        postgres::open(&self.url().parse().unwrap(), StoreOptions::new(currency)).await
    }

    fn audit(&self, checkpoint: Option<Checkpoint>) -> Result<AuditReport, Finding> {
        let checkpoints = checkpoint.map(|checkpoint| checkpoint.to_string().parse().unwrap());
        let url = self.url().parse().unwrap();
        let report = block_in_place(|| postgres::audit(&url, checkpoints.as_ref(), &mut |_| ())).unwrap()?;
        let head = *report.heads.iter().next().unwrap().1;
        Ok(AuditReport { head, wallets: report.wallets, currency: report.currency })
    }
}

store_contract!(Database);

/// Opens a ledger of so many shards.
async fn open_shards(database: &Database, shards: u16) -> Store {
    let options = StoreOptions { shards: Shards::new(shards), ..StoreOptions::new(eur()) };
    postgres::open(&database.url().parse().unwrap(), options).await.unwrap()
}

/// Decides a batch, each command in its user's shard, and commits what it did: a commit for each shard that it touches.
fn transact(store: &mut Store, batch: &[Command], now: Timestamp) {
    let shards = store.genesis.shards;
    for (shard, writer) in shards.all().zip(&mut store.writers) {
        let own: Vec<Command> = batch.iter().filter(|command| shards.of(command.user_id) == shard).cloned().collect();
        block_in_place(|| engine::transact(writer.as_mut(), &mut Cache::default(), &own, now)).unwrap();
    }
}

/// A ledger of three shards in which five users were charged, in some commits.
async fn three_shards(database: &Database) {
    let mut store = open_shards(database, 3).await;
    let users = 1..=5;
    transact(&mut store, &users.clone().map(|number| open(number, 1_000)).collect::<Vec<_>>(), at(1));
    for time in 2..20 {
        let charges = users.clone().map(|number| charge(number, time, 1));
        transact(&mut store, &charges.collect::<Vec<_>>(), at(time));
    }
    close(store).await;
}
