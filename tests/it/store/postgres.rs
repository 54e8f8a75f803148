//! What is PostgreSQL's own: several writers of one shard, connections that are lost, servers that change.

use tokio::task::block_in_place;
use wallet::ledger::{AuditReport, Checkpoint, Currency, Finding};
use wallet::store::{Store, StoreError, StoreOptions, postgres};

use super::contract::StoreUnderTest;
use crate::support::postgres::Database;

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
