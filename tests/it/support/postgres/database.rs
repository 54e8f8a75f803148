//! A database of a test's own.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::OnceLock;
use std::{env, thread};

use sqlx::{AssertSqlSafe, Connection as _, Decode, Executor as _, PgConnection, Postgres, Type, raw_sql};
use tokio::runtime;
use uuid::Uuid;

use super::Server;

/// A server to share, as the URL of a superuser.
pub const URL: &str = "WALLET_TEST_POSTGRES_URL";

/// The server of this process, which all tests share. It is never dropped, and ends with the process.
static SHARED: OnceLock<Option<Server>> = OnceLock::new();

/// Its settings. It is never killed, and its machine does not lose power. Hundreds of databases are made and dropped on
/// it, and each of them would be on disk first. Servers that a test kills sync what they write.
const UNSYNCED: [(&str, &str); 2] = [("fsync", "off"), ("full_page_writes", "off")];

/// An empty database. On the shared server it is dropped with this value, whoever is connected to it.
pub struct Database {
    url: Url,
    /// Where it is dropped from.
    drop_from: Option<String>,
}

/// The parts of a URL.
#[derive(Clone)]
struct Url {
    /// The scheme, and the user with an `@`.
    before: String,
    /// The host with its port.
    host: String,
    database: String,
    /// With its question mark.
    query: String,
}

impl Database {
    /// Creates one on the shared server. `None`, after saying so, if PostgreSQL is missing.
    ///
    /// # Panics
    /// With the server's log, if it does not start.
    pub fn create(test: &str) -> Option<Self> {
        let url = Self::server(test)?;
        let mut database = Self::create_on(&url, test);
        database.drop_from = Some(url);
        Some(database)
    }

    /// The URL of the shared server. `None`, after saying so, if PostgreSQL is missing.
    ///
    /// # Panics
    /// With the server's log, if it does not start.
    pub fn server(test: &str) -> Option<String> {
        env::var(URL).ok().or_else(|| shared(test).map(Server::url))
    }

    /// Creates one on the server of this URL, where it stays.
    pub fn create_on(server: &str, test: &str) -> Self {
        // Nobody is ever connected to this template, and a database with a connection cannot be copied.
        Self::create_from(server, "template0", test)
    }

    /// A copy of it, while nobody is connected to it.
    pub fn copy(&self, test: &str) -> Self {
        let server = Url { database: "postgres".to_owned(), ..self.url.clone() }.text();
        let mut copy = Self::create_from(&server, self.name(), test);
        copy.drop_from.clone_from(&self.drop_from);
        copy
    }

    fn create_from(server: &str, template: &str, test: &str) -> Self {
        let name: String = test.chars().filter(char::is_ascii_alphanumeric).take(30).collect();
        // A name has 63 bytes at the most. Tests of other processes may share the server.
        let name = format!("{}_{}", name.to_ascii_lowercase(), Uuid::now_v7().simple());
        execute(server, &format!("create database \"{name}\" template \"{template}\""));
        Self { url: Url { database: name, ..Url::parse(server) }, drop_from: None }
    }

    pub fn name(&self) -> &str {
        &self.url.database
    }

    /// Its URL, of a superuser.
    pub fn url(&self) -> String {
        self.url.text()
    }

    /// Its URL by way of another address: a proxy's, or a standby's.
    pub fn url_at(&self, addr: SocketAddr) -> String {
        Url { host: addr.to_string(), ..self.url.clone() }.text()
    }

    /// Its URL of several servers, of which one takes writes.
    pub fn url_of(&self, servers: &[SocketAddr]) -> String {
        let hosts: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
        Url { host: hosts.join(","), ..self.url.clone() }.text()
    }

    /// Where its server listens.
    pub fn addr(&self) -> SocketAddr {
        let host = &self.url.host;
        host.to_socket_addrs().ok().and_then(|mut addrs| addrs.next()).unwrap_or_else(|| panic!("{host}: no address"))
    }

    /// A plain connection, of a superuser: to look, and to tamper.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.expect("a connection")
    }

    /// Runs statements, for tests without a runtime.
    ///
    /// # Panics
    /// If one fails.
    pub fn execute(&self, sql: &str) {
        execute(&self.url(), sql);
    }

    /// The one value that a query returns, for tests without a runtime.
    ///
    /// # Panics
    /// If it fails, or returns no row.
    pub fn value<T>(&self, sql: &str) -> T
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
    {
        block(async {
            let mut connection = self.connect().await;
            let value = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await;
            value.unwrap_or_else(|error| panic!("{sql}: {error}"))
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(server) = &self.drop_from {
            execute(server, &format!("drop database \"{}\" with (force)", self.name()));
        }
    }
}

impl Url {
    fn parse(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or_else(|| panic!("{url} is no URL"));
        let (rest, query) = rest.find('?').map_or((rest, ""), |at| rest.split_at(at));
        let (host, database) = rest.split_once('/').unwrap_or((rest, "postgres"));
        let (user, host) = host.rfind('@').map_or(("", host), |at| host.split_at(at + 1));
        let [host, database, query] = [host, database, query].map(ToOwned::to_owned);
        Self { before: format!("{scheme}://{user}"), host, database, query }
    }

    fn text(&self) -> String {
        let Self { before, host, database, query } = self;
        format!("{before}{host}/{database}{query}")
    }
}

fn shared(test: &str) -> Option<&'static Server> {
    // Asked before, so that each test says that it is skipped.
    super::Installation::find(test)?;
    SHARED.get_or_init(|| Server::start_own(test, &UNSYNCED)).as_ref()
}

fn execute(url: &str, sql: &str) {
    block(async {
        let mut connection = PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        let done = connection.execute(raw_sql(AssertSqlSafe(sql))).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    });
}

/// Runs a future to its end, in a runtime or outside of one: on a thread and a runtime of its own.
fn block<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
    let done = thread::scope(|scope| scope.spawn(run).join());
    done.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
}
