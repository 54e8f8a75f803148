//! The engine and its store, called without an API, and ledgers made through them.
//!
//! Only this file and `grpc.rs` use the library.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use wallet::config::Settings;
use wallet::engine::{self, Cache, Clock, Engine, SystemClock};
use wallet::ledger::{Command, EventId, Outcome, UserId, WalletId};
use wallet::store::{Location, Reader, Store, Writer};

use super::database;
use super::load::{self, Caller};
use super::sample::{Sample, Window};
use super::wallets::{Charge, HOT, Ids, OPENING, Share, Wallets};

/// Commands in one transaction of a ledger that is being filled.
const FILL_BATCH: u64 = 4_096;

/// A ledger on disk, and what it must hold.
#[derive(Clone)]
pub struct Template {
    pub path: PathBuf,
    pub wallets: Arc<Wallets>,
}

impl Template {
    /// A ledger in which every wallet is open and nothing was charged.
    pub async fn create(path: PathBuf) -> Self {
        let template = Self { path, wallets: Arc::new(Wallets::new()) };
        let open = |number: i64| {
            let wallet_id = WalletId::from_bytes(i128::from(number).to_be_bytes());
            Command::open(UserId::new(number).expect("an id"), wallet_id, OPENING).expect("an amount")
        };
        let openings: Vec<_> = (0..=HOT).map(open).collect();
        template.with_writer(|writer| transact(writer, &mut Cache::default(), &openings)).await;
        template
    }

    /// A copy that changes independently of this one.
    pub fn copy(&self, path: PathBuf) -> Self {
        fs::copy(&self.path, &path).expect("a file can be copied");
        Self { path, wallets: Arc::new(Wallets::clone(&self.wallets)) }
    }

    /// Adds entries through the store's own writer, in large batches.
    pub async fn fill(&self, entries: u64) {
        let share = &mut Share::deal(&self.wallets, 1, Ids::Spaced)[0];
        let fill = |writer: &mut dyn Writer| {
            let (mut cache, mut left) = (Cache::default(), entries);
            while left > 0 {
                let charges: Vec<_> = (0..left.min(FILL_BATCH)).map(|_| share.charge()).collect();
                left -= charges.len() as u64;
                let outcomes = transact(writer, &mut cache, &charges.iter().map(command).collect::<Vec<_>>());
                charges.iter().zip(&outcomes).for_each(|(charge, outcome)| share.check(charge, balance(outcome)));
            }
        };
        self.with_writer(fill).await;
    }

    /// Proves that the ledger is right, and removes it.
    pub fn finish(self) {
        database::verify(&self.path, &self.wallets);
        fs::remove_file(self.path).expect("a file can be removed");
    }

    /// Opens the ledger, has `work` use its writer, and closes it.
    async fn with_writer<T>(&self, work: impl FnOnce(&mut dyn Writer) -> T) -> T {
        let Store { mut writers, reader, .. } = open(&self.path).await;
        let mut writer = writers.remove(0);
        let done = tokio::task::block_in_place(|| work(writer.as_mut()));
        reader.close().await;
        done
    }
}

/// The engine over one ledger.
pub struct Ledger {
    engine: Engine,
    reader: Arc<dyn Reader>,
    ended: oneshot::Receiver<()>,
    wallets: Arc<Wallets>,
}

impl Ledger {
    pub async fn start(template: &Template, batch_size_max: Option<usize>) -> Self {
        let settings = Settings::defaults();
        let mut options = settings.engine();
        options.batch_size_max = batch_size_max.unwrap_or(options.batch_size_max);
        let store = open(&template.path).await;
        let reader = Arc::clone(&store.reader);
        let (engine, ended) = Engine::start(store, SystemClock, options);
        Self { engine, reader, ended, wallets: Arc::clone(&template.wallets) }
    }

    /// Measures charges by `callers` callers.
    pub async fn charge(&self, callers: usize, ids: Ids, time: Duration) -> Sample {
        let caller = |share| EngineCaller { engine: self.engine.clone(), share };
        let callers = Share::deal(&self.wallets, callers, ids).into_iter().map(caller).collect();
        load::closed(callers, Window::of(time)).await
    }

    /// Ends the engine and closes the file. The writer is the last to let go of it: then everything is in the one file.
    pub async fn stop(self) {
        self.reader.close().await;
        drop(self.engine);
        let _ = self.ended.await;
    }
}

struct EngineCaller {
    engine: Engine,
    share: Share,
}

impl Caller for EngineCaller {
    async fn call(&mut self) {
        let charge = self.share.charge();
        let outcome = self.engine.ledger.submit(command(&charge), None).await.expect("an outcome");
        self.share.check(&charge, balance(&outcome));
    }
}

async fn open(path: &Path) -> Store {
    Location::Sqlite(path.to_owned()).open(Settings::defaults().store()).await.expect("a store")
}

fn transact(writer: &mut dyn Writer, cache: &mut Cache, commands: &[Command]) -> Vec<Outcome> {
    let outcomes = engine::transact(writer, cache, commands, SystemClock.now()).expect("outcomes").outcomes;
    assert_eq!(outcomes.len(), commands.len());
    outcomes
}

fn command(charge: &Charge) -> Command {
    let (user_id, event_id) = (UserId::new(charge.user), EventId::new(charge.event));
    Command::charge(user_id.expect("an id"), event_id.expect("an id"), 1).expect("an amount")
}

/// The balance that a charge left. A replay is an error: every charge is new.
fn balance(outcome: &Outcome) -> i64 {
    let Outcome::Applied(receipt) = outcome else { panic!("{outcome:?}") };
    receipt.entry.balance_after.minor()
}
