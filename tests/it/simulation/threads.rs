//! An engine of several shards on threads of its own, each of which blocks in a runtime of its own, as a writer over
//! the network does.

use tokio::runtime::Runtime;
use wallet::ledger::Shard;
use wallet::store::{Store, Transaction, Version, Writer, WriterCounts};

use super::*;

/// A writer that waits inside a runtime before each transaction.
struct Blocking {
    runtime: Runtime,
    writer: Box<dyn Writer>,
}

impl Blocking {
    fn new(writer: Box<dyn Writer>) -> Self {
        Self { runtime: Builder::new_current_thread().enable_time().build().expect("a runtime"), writer }
    }
}

impl Writer for Blocking {
    fn begin(&mut self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        self.runtime.block_on(time::sleep(Duration::from_millis(1)));
        self.writer.begin()
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.writer.probe()
    }

    fn check(&mut self) -> Result<(), StoreError> {
        self.writer.check()
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        self.writer.maintain()
    }

    fn resolve(&mut self) -> Result<Option<Version>, StoreError> {
        self.writer.resolve()
    }

    fn mark_copy(&mut self, _: bool) -> Result<(), StoreError> {
        unreachable!("nothing is copied here")
    }

    fn counts(&self) -> Arc<WriterCounts> {
        self.writer.counts()
    }
}

/// The first seed whose world has so many shards.
fn world_of(shards: u16) -> Shared {
    let worlds = (0..).map(|seed| Shared::new(seed, None, Arc::default()));
    worlds.into_iter().find(|world| world.lock().genesis.shards.count() == shards).expect("there is one")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shard_is_written_by_a_thread_that_may_block_in_a_runtime_of_its_own() {
    let world = world_of(3);
    let Store { writers, reader, genesis } = world.live(FaultPlan::default());
    let writers = writers.into_iter().map(|writer| Box::new(Blocking::new(writer)) as Box<dyn Writer>).collect();
    let options = EngineOptions {
        queue_capacity: 1_000,
        batch_size_max: 64,
        lock_timeout: LOCK_TIMEOUT,
        stall_timeout: Duration::from_secs(60),
        spin: true,
        watchers_max: 2,
    };
    let (engine, ended) = Engine::start(Store { writers, reader, genesis }, world.clone(), options);
    let open = |number: u8| Command::open(user(number), WalletId::from_bytes([number; 16]), 100).unwrap();
    let replies = engine.ledger.enqueue((0..32).map(open).collect(), None).await.unwrap();
    let outcomes = replies.outcomes().await;
    let mut shards = std::collections::BTreeSet::new();
    for (number, outcome) in (0..).zip(&outcomes) {
        let Ok(Outcome::Applied(receipt)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(receipt.entry.user_id, user(number), "each outcome is at its command's place");
        assert_eq!(Shard::of_entry(receipt.entry.entry_id), genesis.shards.of(user(number)));
        shards.insert(Shard::of_entry(receipt.entry.entry_id));
    }
    assert_eq!((outcomes.len(), shards.len()), (32, 3));
    let charges = (0..32).map(|number| {
        let (ledger, charge) = (engine.ledger.clone(), Command::charge(user(number), EventId::new(1).unwrap(), 10));
        tokio::spawn(async move { ledger.submit(charge.unwrap(), None).await })
    });
    for charged in charges.collect::<Vec<_>>() {
        assert!(matches!(charged.await.unwrap(), Ok(Outcome::Applied(_))));
    }
    assert_eq!(engine.health.now(), Health::Serving);
    drop(engine);
    ended.await.unwrap_err();
    assert_eq!(world.lock().audit().unwrap().heads.entries(), 64);
}

fn user(number: u8) -> UserId {
    UserId::new(number.into()).unwrap()
}
