//! A store in this process, below the engine.

use std::path::Path;

use wallet::engine::{self, Cache};
use wallet::ledger::{Command, Commit, Currency, Entry, EntryFilter, EventId, Outcome, Timestamp, UserId, WalletId};
use wallet::store::{ScanLimits, Store, StoreError, StoreOptions, sqlite};

pub fn eur() -> Currency {
    "EUR".parse().unwrap()
}

pub fn user(number: i64) -> UserId {
    UserId::new(number).unwrap()
}

pub fn event(number: i64) -> EventId {
    EventId::new(number).unwrap()
}

/// A moment, in microseconds.
pub fn at(microseconds: i64) -> Timestamp {
    Timestamp::from_microseconds(microseconds)
}

/// Opens a wallet, whose id follows from its user's.
pub fn open(number: i64, minor: i64) -> Command {
    Command::open(user(number), WalletId::from_bytes([u8::try_from(number).unwrap(); 16]), minor).unwrap()
}

pub fn charge(number: i64, event_number: i64, minor: i64) -> Command {
    Command::charge(user(number), event(event_number), minor).unwrap()
}

/// Opens the SQLite ledger in this file, in euros.
pub async fn open_sqlite(path: &Path) -> Store {
    sqlite::open(path, StoreOptions::new(eur())).await.unwrap()
}

/// Does what blocks on a thread of its own: a test's may have to go on.
pub fn blocking<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let done = std::thread::scope(|threads| threads.spawn(work).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Decides a batch and commits what it did: with [`probe`], the one place where a test calls a writer.
pub fn transact(store: &mut Store, batch: &[Command], now: Timestamp) -> Result<Vec<Outcome>, StoreError> {
    // A cache that knows nothing: what is remembered is the engine's, and each batch is fetched here.
    let writer = store.writers[0].as_mut();
    let committed = blocking(|| engine::transact(writer, &mut Cache::default(), batch, now));
    committed.map(|committed| committed.outcomes)
}

/// Asks whether a batch could be committed now.
pub fn probe(store: &mut Store) -> Result<(), StoreError> {
    blocking(|| store.writers[0].probe())
}

/// The whole ledger: shard after shard, each in commit order.
pub async fn entries(store: &Store) -> Vec<Entry> {
    let limits = ScanLimits { entries_max: usize::MAX, rows_max: usize::MAX };
    let mut entries = Vec::new();
    for shard in store.genesis.shards.all() {
        let scan = store.reader.scan(shard, shard.base(), &EntryFilter::default(), limits).await.unwrap();
        assert_eq!(scan.end, scan.head);
        entries.extend(scan.entries);
    }
    entries
}

/// The head of the chain of a ledger that is not divided.
pub async fn head_of(store: &Store) -> Commit {
    let heads = store.reader.heads().await.unwrap();
    *heads.iter().next().unwrap().1
}

pub async fn close(store: Store) {
    store.reader.close().await;
    blocking(|| drop(store.writers));
}

/// Alters a ledger that nobody has open, behind the back of its triggers, which are there again afterwards.
pub fn tamper(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut select = connection.prepare("select name, sql from sqlite_schema where type = 'trigger'").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let triggers: Vec<(String, String)> = rows.collect::<Result<_, _>>().unwrap();
    for (name, _) in &triggers {
        connection.execute_batch(&format!("drop trigger {name}")).unwrap();
    }
    connection.execute_batch("pragma foreign_keys = off; pragma ignore_check_constraints = on").unwrap();
    connection.execute_batch(sql).unwrap();
    for (_, again) in &triggers {
        connection.execute_batch(again).unwrap();
    }
}
