//! The servers of a ledger, of which one takes writes.
//!
//! A server that is replaced may not know it: it was stopped, and goes on. It still says that it takes writes, and it
//! answers reads with what was true before. Each promotion begins a new timeline, with a higher number. So a server
//! whose timeline is older than one that was seen is not the primary, whatever it says.

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Row as _};
use tokio::sync::{Semaphore, watch};
use tokio::time::{self, Instant};

use super::setting;
use super::url::PostgresUrl;
use crate::ledger::Genesis;

/// How long it may take to find the host that takes writes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long one statement may take while callers wait.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to go on connecting where no caller waits, and how long one statement of a copy may take. A server that
/// starts, or that is very busy, needs longer than callers wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many connections to a host a process makes at the same time. More would keep each other from being made in time.
const CONNECTING_MAX: usize = 4;

/// How long to wait before a host that takes no writes is asked again: it may just be promoted.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// How long a primary that is no news waits for what the other hosts say: one of them may have replaced it.
const OTHERS_TIMEOUT: Duration = Duration::from_millis(300);

/// What each session is told. A commit is acknowledged when it is on disk, and on the standby if there is one.
/// Statements are planned once, and look rows up by their keys, however few there still are. Who vanishes while it
/// holds the lock loses it.
const SESSION: [(&str, &str); 13] = [
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
    // What runs for a connection that was closed is given up.
    ("client_connection_check_interval", "1s"),
    // A commit whose wait for the standby was cancelled is told by a warning.
    ("client_min_messages", "warning"),
];

const SELECT_READ_ONLY: &str = "select current_setting('transaction_read_only')";
/// The first eight digits are the timeline.
const SELECT_WAL_FILE: &str = "select pg_walfile_name(pg_current_wal_lsn())";

/// The servers of a ledger.
#[derive(Debug)]
pub(super) struct Cluster {
    hosts: Vec<Host>,
    /// The newest timeline that a primary was seen on; 0 if none was.
    timeline: AtomicU32,
    /// How often a connection was lost. Those that are older are not to be trusted.
    losses: AtomicU64,
    /// What was decided when the ledger was made, once it is known.
    genesis: OnceLock<Genesis>,
    /// Whether no caller ever waits for a connection.
    is_patient: bool,
    shown: String,
}

/// One of the servers.
#[derive(Debug)]
struct Host {
    options: PgConnectOptions,
    connecting: Semaphore,
}

/// A connection to the host that took writes when it was opened.
pub(super) struct Primary {
    pub(super) connection: PgConnection,
    pub(super) opened: Opened,
    /// The host and its port.
    pub(super) host: String,
}

/// When a connection was opened, as far as that says whether to trust it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    /// The timeline of its server; 0 if the server does not tell.
    pub(super) timeline: u32,
    /// How many connections had been lost.
    losses: u64,
}

impl Cluster {
    pub(super) fn new(url: &PostgresUrl) -> Self {
        let session = |options: &PgConnectOptions| {
            let name = options.get_application_name().unwrap_or("wallet").to_owned();
            options.clone().application_name(&name).options(SESSION).disable_statement_logging()
        };
        let host = |options| Host { options: session(options), connecting: Semaphore::new(CONNECTING_MAX) };
        let hosts = url.hosts().iter().map(host).collect();
        Self {
            hosts,
            timeline: AtomicU32::new(0),
            losses: AtomicU64::new(0),
            genesis: OnceLock::new(),
            is_patient: false,
            shown: url.to_string(),
        }
    }

    /// The same for a copy, for which no caller waits.
    pub(super) fn patient(self) -> Self {
        Self { is_patient: true, ..self }
    }

    /// How long one statement may take. A server that vanishes without a word is given up after that, and so is a
    /// commit that waits for a standby that is not there.
    pub(super) const fn statement_timeout(&self) -> Duration {
        if self.is_patient { PATIENCE } else { STATEMENT_TIMEOUT }
    }

    /// From now on, only a database with this ledger is connected to.
    pub(super) fn expect(&self, genesis: Genesis) {
        let _ = self.genesis.set(genesis);
    }

    /// The URL, for whoever reads it.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Connects to the host that takes writes, and makes sure that it still has the ledger that is expected.
    pub(super) async fn connect(&self) -> Result<Primary, sqlx::Error> {
        // While the ledger is not known, it is only being opened.
        let patience = if self.is_patient || self.genesis.get().is_none() { PATIENCE } else { Duration::ZERO };
        let begun = Instant::now();
        loop {
            match self.find().await {
                Err(error) if is_late(&error) && begun.elapsed() < patience => {
                    tracing::debug!(%error, database = self.shown, "no server takes a connection yet");
                    time::sleep(ASK_INTERVAL).await;
                }
                connected => return connected,
            }
        }
    }

    /// Finds the host that takes writes. All are asked at the same time. If there are several, they are asked again and
    /// again for a while, because one may just be promoted.
    async fn find(&self) -> Result<Primary, sqlx::Error> {
        let opened = Opened { timeline: 0, losses: self.losses.load(Ordering::Acquire) };
        let answers = &watch::Sender::new(0);
        let ask = |host| async move { (host, self.ask(host, opened, answers).await) };
        let mut asked: FuturesUnordered<_> = self.hosts.iter().map(ask).collect();
        let (mut refusals, mut is_final) = (Vec::new(), true);
        while let Some((host, answer)) = asked.next().await {
            match answer {
                Ok(primary) => return Ok(primary),
                Err(error) if self.hosts.len() == 1 => return Err(error),
                Err(error) => {
                    is_final &= !may_change(&error);
                    refusals.push(format!("{}: {error}", host.name()));
                }
            }
        }
        // In the same order each time: an outage is logged again when it is another one.
        refusals.sort_unstable();
        let why = format!("no host takes writes ({})", refusals.join("; "));
        Err(if is_final { sqlx::Error::Configuration(why.into()) } else { timed_out(&why) })
    }

    /// Asks a host until it takes writes or time is up. `answers` counts the hosts that said anything.
    async fn ask(&self, host: &Host, opened: Opened, answers: &watch::Sender<usize>) -> Result<Primary, sqlx::Error> {
        let (begun, is_only) = (Instant::now(), self.hosts.len() == 1);
        let (mut connection, mut is_first) = (None, true);
        loop {
            let looked = time::timeout_at(begun + CONNECT_TIMEOUT, self.look(host, connection.take())).await;
            let looked = looked.unwrap_or_else(|_| Err(timed_out("it did not accept a connection in time")));
            if std::mem::take(&mut is_first) {
                answers.send_modify(|count| *count += 1);
            }
            let error = match looked {
                Ok(Looked::Primary(connection, timeline)) => {
                    if self.is_acknowledged(timeline, begun, answers).await {
                        let (opened, host) = (Opened { timeline, ..opened }, host.name());
                        return Ok(Primary { connection, opened, host });
                    }
                    timed_out(&format!("it was replaced: its timeline is {timeline}, and there is a newer one"))
                }
                Ok(Looked::Standby(open)) => {
                    connection = Some(open);
                    timed_out("it is read-only: it is a standby, or default_transaction_read_only is on")
                }
                Err(error) => error,
            };
            if is_only || !may_change(&error) || begun.elapsed() + ASK_INTERVAL >= CONNECT_TIMEOUT {
                return Err(error);
            }
            time::sleep(ASK_INTERVAL).await;
        }
    }

    /// Asks a host what it is, over the connection that is open to it, if one is. One that has another ledger is
    /// refused before its timeline is believed.
    async fn look(&self, host: &Host, open: Option<PgConnection>) -> Result<Looked, sqlx::Error> {
        let mut connection = match open {
            Some(open) => open,
            None => host.connect().await?,
        };
        let row = sqlx::raw_sql(SELECT_READ_ONLY).fetch_one(&mut connection).await?;
        if row.try_get::<String, _>(0)? != "off" {
            return Ok(Looked::Standby(connection));
        }
        if let Some(expected) = self.genesis.get() {
            match setting::genesis(&setting::select(&mut connection).await?) {
                Ok(Some(found)) if found == *expected => (),
                Ok(_) => return Err(sqlx::Error::Configuration("there is another ledger by now, or none".into())),
                Err(error) => return Err(sqlx::Error::Configuration(error.into())),
            }
        }
        let timeline = match sqlx::raw_sql(SELECT_WAL_FILE).fetch_one(&mut connection).await {
            Ok(row) => u32::from_str_radix(row.try_get::<String, _>(0)?.get(..8).unwrap_or_default(), 16).unwrap_or(0),
            // Only PostgreSQL itself has timelines. What speaks its protocol must know by itself who takes writes.
            Err(sqlx::Error::Database(_)) => 0,
            Err(error) => return Err(error),
        };
        Ok(Looked::Primary(connection, timeline))
    }

    /// Whether a host on this timeline is the primary, now that it says so.
    async fn is_acknowledged(&self, timeline: u32, begun: Instant, answers: &watch::Sender<usize>) -> bool {
        let known = self.timeline.fetch_max(timeline, Ordering::AcqRel);
        let is_promoted = known > 0 && timeline > known;
        if !is_promoted {
            // If another host was promoted, it has a newer timeline, and is known when it has answered.
            let mut answers = answers.subscribe();
            let others = pin!(answers.wait_for(|count| *count == self.hosts.len()));
            let _ = time::timeout_at(begun + OTHERS_TIMEOUT, others).await;
        }
        timeline >= self.timeline.load(Ordering::Acquire)
    }

    /// Whether no newer primary is known than the one of a connection. What was read over it before may be told.
    pub(super) fn is_newest(&self, opened: Opened) -> bool {
        opened.timeline >= self.timeline.load(Ordering::Acquire)
    }

    /// Whether a connection that was left alone may be used again.
    pub(super) fn trusts(&self, opened: Opened) -> bool {
        opened.losses == self.losses.load(Ordering::Acquire) && self.is_newest(opened)
    }

    /// A connection was lost. Those that were opened before are not to be trusted either.
    pub(super) fn lost(&self, opened: Opened) {
        let Opened { losses, .. } = opened;
        let _ = self.losses.compare_exchange(losses, losses + 1, Ordering::AcqRel, Ordering::Acquire);
    }
}

impl Host {
    /// Connects, when it is its turn.
    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let _connecting = self.connecting.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        self.options.connect().await
    }

    fn name(&self) -> String {
        format!("{}:{}", self.options.get_host(), self.options.get_port())
    }
}

/// What a host says of itself.
enum Looked {
    /// It takes writes, on this timeline.
    Primary(PgConnection, u32),
    Standby(PgConnection),
}

/// Whether a host that answered so may answer otherwise in a moment. It does not if it knows no such user or database,
/// or has another ledger.
fn may_change(error: &sqlx::Error) -> bool {
    let is_refusal = matches!(error, sqlx::Error::Database(_) | sqlx::Error::Configuration(_));
    !is_refusal || is_not_ready(error)
}

/// Whether a server did not answer in time, or is not ready yet. One that refuses a connection is not there at all.
fn is_late(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == ErrorKind::TimedOut) || is_not_ready(error)
}

/// Whether a server says that it starts, or shuts down (the class `operator_intervention`).
fn is_not_ready(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code.starts_with("57P"))
}

/// What the library has no error for.
pub(super) fn timed_out(why: &str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(ErrorKind::TimedOut, why.to_owned()))
}
