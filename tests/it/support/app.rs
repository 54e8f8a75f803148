//! The service in this process: both APIs on ports of their own, a fresh database.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use wallet::config::{Address, Settings};
use wallet::server::{Server, Timeouts};

use super::client::{self, Client};
use super::http::{HttpClient, HttpReply};
use super::ledger::{TestLedger, WriteLock, shards};

/// A running service. When it is dropped, it begins to stop and its database is deleted.
pub struct App {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    /// Where metrics are asked for, if a setting says so.
    pub metrics: Option<SocketAddr>,
    client: HttpClient,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
    ledger: Option<TestLedger>,
}

/// Settings for a test: any free ports, and this ledger.
fn settings(ledger: &TestLedger) -> Settings {
    let any = Address::from(SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut settings = Settings { http_addr: any.clone(), grpc_addr: any, ..Settings::defaults() };
    settings.database.url = ledger.location();
    settings.shards = shards();
    settings
}

impl App {
    pub async fn spawn() -> Self {
        Self::spawn_with(|_| ()).await
    }

    pub async fn spawn_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::spawn_with_timeouts(change, Timeouts::default()).await
    }

    pub async fn spawn_with_timeouts(change: impl FnOnce(&mut Settings), timeouts: Timeouts) -> Self {
        let ledger = TestLedger::create();
        let mut settings = settings(&ledger);
        change(&mut settings);
        let server = Server::start(settings).await.expect("the service starts").with_timeouts(timeouts);
        let (http, grpc, metrics) = (server.http_addr(), server.grpc_addr(), server.metrics_addr());
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(server.run(shutdown.clone()));
        Self { http, grpc, metrics, client: HttpClient::new(http), shutdown, served, ledger: Some(ledger) }
    }

    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> HttpReply {
        self.client.request(method, path, headers, body).await
    }

    pub async fn post(&self, path: &str, json: &str) -> HttpReply {
        self.client.post(path, json).await
    }

    pub async fn get(&self, path: &str) -> HttpReply {
        self.client.get(path).await
    }

    /// Makes a user, with an opening balance as JSON has it.
    pub async fn create_user(&self, user_id: i64, balance: &str) {
        let body = format!(r#"{{"UserId":{user_id},"AccountBalance":{balance}}}"#);
        let reply = self.post("/api/v1/users", &body).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
    }

    pub async fn channel(&self) -> Channel {
        client::channel(self.grpc).await
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.http, self.grpc).await
    }

    /// Asks the service to stop, and returns at once.
    pub fn begin_stop(&self) {
        self.shutdown.cancel();
    }

    /// Stops the service, and returns when it has: its ledger, to be looked at.
    pub async fn stop(mut self) -> TestLedger {
        self.shutdown.cancel();
        (&mut self.served).await.expect("the service ends in order");
        self.ledger.take().expect("a service is stopped once")
    }

    /// Its ledger, unless a test has it serve another.
    pub const fn ledger(&self) -> &TestLedger {
        self.ledger.as_ref().expect("it is not stopped")
    }

    /// Holds the ledger's write lock, as another process would, until dropped.
    pub fn hold_write_lock(&self) -> WriteLock {
        self.ledger().hold_write_lock()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
