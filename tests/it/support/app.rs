//! The service in this process: both APIs on ports of their own, a fresh database.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use wallet::config::{Address, Settings};
use wallet::server::{Server, Timeouts};
use wallet::store::Location;

use super::client::{self, Client};
use super::http::{HttpClient, HttpReply};

/// A running service. When it is dropped, it begins to stop and its database is deleted.
pub struct App {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    /// Where metrics are asked for, if a setting says so.
    pub metrics: Option<SocketAddr>,
    pub database: PathBuf,
    client: HttpClient,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
    dir: Option<TempDir>,
}

/// Settings for a test: any free ports, and a database in `dir`.
pub fn settings(dir: &TempDir) -> Settings {
    let any = Address::from(SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut settings = Settings { http_addr: any.clone(), grpc_addr: any, ..Settings::defaults() };
    settings.database.url = Location::Sqlite(dir.path().join("wallet.db"));
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
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut settings = settings(&dir);
        change(&mut settings);
        let server = Server::start(settings).await.expect("the service starts").with_timeouts(timeouts);
        let (http, grpc, metrics) = (server.http_addr(), server.grpc_addr(), server.metrics_addr());
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(server.run(shutdown.clone()));
        let database = dir.path().join("wallet.db");
        Self { http, grpc, metrics, database, client: HttpClient::new(http), shutdown, served, dir: Some(dir) }
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

    /// Stops the service, and returns when it has: the folder of its database, to be looked at.
    pub async fn stop(mut self) -> TempDir {
        self.shutdown.cancel();
        (&mut self.served).await.expect("the service ends in order");
        self.dir.take().expect("a service is stopped once")
    }

    /// Holds the database's write lock, as another process would, until dropped.
    pub fn hold_write_lock(&self) -> rusqlite::Connection {
        let other = rusqlite::Connection::open(&self.database).expect("the database opens");
        other.busy_timeout(Duration::from_secs(10)).expect("a time-out");
        other.execute_batch("begin immediate").expect("the lock is free");
        other
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
