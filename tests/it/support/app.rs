//! The real service, in this process: both doors on ports of their own, a fresh database.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use wallet::config::Settings;
use wallet::server::{Server, Timeouts};
use wallet::store::Location;

/// A running service. Dropped, it is told to stop and its database is deleted.
pub struct App {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub database: PathBuf,
    rest: Rest,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
    dir: Option<TempDir>,
}

/// A REST answer.
#[derive(Debug)]
pub struct HttpReply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl HttpReply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body is text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header's text; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header is text"))
    }
}

/// A REST client.
#[derive(Clone)]
pub struct Rest {
    addr: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Rest {
    pub fn at(addr: SocketAddr) -> Self {
        Self { addr, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> HttpReply {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.addr));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let response = self.client.request(request).await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        HttpReply { status, headers, body }
    }

    pub async fn post(&self, path: &str, json: &str) -> HttpReply {
        self.request("POST", path, &[("content-type", "application/json")], json.to_owned()).await
    }

    pub async fn get(&self, path: &str) -> HttpReply {
        self.request("GET", path, &[], "").await
    }
}

/// Settings for a test: any free ports, and a database in `dir`.
pub fn settings(dir: &TempDir) -> Settings {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let database_url = Location::Sqlite(dir.path().join("wallet.db"));
    Settings { http_addr: any, grpc_addr: any, database_url, ..Settings::defaults() }
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
        let (http, grpc) = (server.http_addr(), server.grpc_addr());
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(server.run(shutdown.clone()));
        let database = dir.path().join("wallet.db");
        Self { http, grpc, database, rest: Rest::at(http), shutdown, served, dir: Some(dir) }
    }

    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> HttpReply {
        self.rest.request(method, path, headers, body).await
    }

    pub async fn post(&self, path: &str, json: &str) -> HttpReply {
        self.rest.post(path, json).await
    }

    pub async fn get(&self, path: &str) -> HttpReply {
        self.rest.get(path).await
    }

    /// Makes a user, with an opening balance as JSON has it.
    pub async fn create_user(&self, user_id: i64, balance: &str) {
        let body = format!(r#"{{"UserId":{user_id},"AccountBalance":{balance}}}"#);
        let reply = self.post("/api/v1/users", &body).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
    }

    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).expect("an address");
        endpoint.connect().await.expect("the gRPC door answers")
    }

    /// Tells the service to stop, and goes on while it does.
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
