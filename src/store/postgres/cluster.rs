//! The servers of a ledger, of which one takes writes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::time;

use super::url::PostgresUrl;

/// How long one host may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the host that failed last is left to wait behind the others: a server that was replaced may come back and
/// believe that it still takes writes.
const HEAD_START: Duration = Duration::from_millis(300);

/// What each session is told. A commit is acknowledged when it is on disk, and on the standby if there is one.
/// Statements are planned once, and look rows up by their keys, however few there still are. Who vanishes while it
/// holds the lock loses it.
const SESSION: [(&str, &str); 11] = [
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "1s"),
    ("idle_in_transaction_session_timeout", "2s"),
    ("tcp_user_timeout", "5s"),
];

/// The servers of a ledger.
#[derive(Debug)]
pub(super) struct Cluster {
    hosts: Vec<PgConnectOptions>,
    /// The host that took writes last.
    primary: AtomicUsize,
    /// The host that failed last; one more than there are if none did.
    suspect: AtomicUsize,
    /// How often a connection was lost. Those that are older are not to be trusted.
    losses: AtomicU64,
    shown: String,
}

impl Cluster {
    pub(super) fn new(url: &PostgresUrl) -> Self {
        let session = |options: &PgConnectOptions| {
            options.clone().application_name("wallet").options(SESSION).disable_statement_logging()
        };
        let hosts: Vec<PgConnectOptions> = url.hosts().iter().map(session).collect();
        let suspect = AtomicUsize::new(hosts.len());
        Self { hosts, primary: AtomicUsize::new(0), suspect, losses: AtomicU64::new(0), shown: url.to_string() }
    }

    /// The URL, for whoever reads it.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Connects to the host that takes writes. All are tried at the same time.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let suspect = self.suspect.load(Ordering::Relaxed);
        let attempts = self.hosts.iter().enumerate().map(|(host, options)| {
            Box::pin(async move {
                if host == suspect && self.hosts.len() > 1 {
                    time::sleep(HEAD_START).await;
                }
                let connection = time::timeout(CONNECT_TIMEOUT, to_primary(options)).await;
                connection.map_err(|_| timed_out("it did not accept a connection in time"))?.map(|open| (host, open))
            })
        });
        let ((host, connection), _) = future::select_ok(attempts).await?;
        self.primary.store(host, Ordering::Relaxed);
        Ok(connection)
    }

    /// How to connect to the host that took writes last.
    pub(super) fn primary(&self) -> &PgConnectOptions {
        &self.hosts[self.primary.load(Ordering::Relaxed)]
    }

    /// How often a connection was lost so far.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// A connection was lost that was opened when so many were. Others that were opened then are not to be trusted
    /// either.
    pub(super) fn lost(&self, losses: u64) {
        if self.losses.compare_exchange(losses, losses + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.suspect.store(self.primary.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// Connects to a server, and refuses it if it takes no writes.
async fn to_primary(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = options.connect().await?;
    let select = "select current_setting('transaction_read_only')";
    let row = sqlx::raw_sql(select).fetch_one(&mut connection).await?;
    if row.try_get::<String, _>(0)? == "off" {
        return Ok(connection);
    }
    let host = format!("{}:{}", options.get_host(), options.get_port());
    let _ = connection.close().await;
    Err(timed_out(&format!("{host} is read-only: it is a standby")))
}

/// What the library has no error for.
pub(super) fn timed_out(why: &str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why.to_owned()))
}
