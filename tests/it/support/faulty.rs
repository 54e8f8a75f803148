//! The service in this process, with planted faults: a writer that panics or blocks as a test says, and a reader that
//! panics over one user.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wallet::access::Access;
use wallet::api::grpc::{self, GrpcOptions};
use wallet::api::rest::{self, AllowedHosts, RestOptions};
use wallet::config::Settings;
use wallet::engine::{Clock, Engine, EngineOptions, HealthWatch};
use wallet::ledger::{
    Changes, Entry, EntryFilter, EntryId, EventKey, Fetched, Head, Heads, Keys, Shard, Timestamp, UserId, Wallet,
};
use wallet::store::{Reader, Scan, ScanLimits, Store, StoreError, Transaction, Version, Writer, WriterCounts, sqlite};

use super::client::Client;

/// To look up this user is a bug.
pub const PANICS: i64 = 666;

/// A service with planted faults.
pub struct Faulty {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub health: HealthWatch,
    shutdown: tokio_util::sync::DropGuard,
    _dir: TempDir,
}

impl Faulty {
    /// Starts it. `before` is called with the changes of every batch, before they are written: it may panic, or block.
    pub async fn spawn(before: impl FnMut(&Changes) + Send + 'static, clock: impl Clock) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::defaults();
        let store = sqlite::open(&dir.path().join("wallet.db"), settings.store()).await.unwrap();
        let writer = store.writers.into_iter().next().expect("SQLite has one shard");
        let writer = FaultyWriter { writer, before };
        let reader = Arc::new(FaultyReader { reader: store.reader });
        let store = Store { writers: vec![Box::new(writer)], reader, genesis: store.genesis };
        let options = EngineOptions { stall_timeout: Duration::from_millis(100), ..settings.engine() };
        let (engine, _) = Engine::start(store, clock, options);
        let health = engine.health.clone();
        let shutdown = CancellationToken::new();
        let timeout = Duration::from_millis(100);
        let options = RestOptions { body_timeout: timeout, ..RestOptions::default() };
        let rest = rest::router(engine.clone(), Access::default(), options, AllowedHosts::default());
        let options = GrpcOptions { message_timeout: timeout, idle_timeout: 10 * timeout, ..GrpcOptions::default() };
        let grpc = grpc::router(engine, Access::default(), options, shutdown.clone());
        let (http, grpc) = (serve(rest).await, serve(grpc).await);
        Self { http, grpc, health, shutdown: shutdown.drop_guard(), _dir: dir }
    }
}

impl Faulty {
    /// Tells the APIs that the service stops. Their connections go on.
    pub fn begin_stop(&self) {
        self.shutdown.token().cancel();
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.http, self.grpc).await
    }
}

async fn serve(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    addr
}

struct FaultyWriter<F> {
    writer: Box<dyn Writer>,
    before: F,
}

impl<F: FnMut(&Changes) + Send> Writer for FaultyWriter<F> {
    fn begin(&mut self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        Ok(Box::new(FaultyTransaction { tx: self.writer.begin()?, before: &mut self.before }))
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

    fn mark_copy(&mut self, is_whole: bool) -> Result<(), StoreError> {
        self.writer.mark_copy(is_whole)
    }

    fn counts(&self) -> Arc<WriterCounts> {
        self.writer.counts()
    }
}

struct FaultyTransaction<'w, F> {
    tx: Box<dyn Transaction + 'w>,
    before: &'w mut F,
}

impl<F: FnMut(&Changes)> Transaction for FaultyTransaction<'_, F> {
    fn version(&self) -> Version {
        self.tx.version()
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        self.tx.head()
    }

    fn fetch(&mut self, keys: &Keys) -> Result<Fetched, StoreError> {
        self.tx.fetch(keys)
    }

    fn commit(self: Box<Self>, changes: &Changes) -> Result<Version, StoreError> {
        (self.before)(changes);
        self.tx.commit(changes)
    }
}

struct FaultyReader {
    reader: Arc<dyn Reader>,
}

#[async_trait]
impl Reader for FaultyReader {
    async fn wallet(&self, user_id: UserId, at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError> {
        assert_ne!(user_id.get(), PANICS, "a bug, planted by a test");
        self.reader.wallet(user_id, at).await
    }

    async fn entries(
        &self,
        user: UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        self.reader.entries(user, before, limit).await
    }

    async fn event(&self, event: EventKey) -> Result<Option<Vec<Entry>>, StoreError> {
        self.reader.event(event).await
    }

    async fn scan(
        &self,
        shard: Shard,
        after: EntryId,
        filter: &EntryFilter,
        limits: ScanLimits,
    ) -> Result<Scan, StoreError> {
        self.reader.scan(shard, after, filter, limits).await
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        self.reader.heads().await
    }

    async fn close(&self) {
        self.reader.close().await;
    }
}
