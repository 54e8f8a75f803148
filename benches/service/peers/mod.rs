//! Other systems that make the same charge on the same machine. One that is not installed is skipped, and reported so.

mod flask;
mod postgres;
mod start;

use std::path::Path;
use std::time::Duration;

use tokio::task::block_in_place;

use self::flask::Flask;
use self::postgres::Postgres;
use super::measure::{Measure, PgBench};
use super::sample::Sample;

/// The peers that are installed and needed.
#[derive(Default)]
pub struct Peers {
    postgres: Option<Postgres>,
    /// The same with a synchronous standby.
    replicated: Option<Postgres>,
    flask: Option<Flask>,
    flask_wal: Option<Flask>,
    /// Which peers are missing, and why.
    pub skipped: Vec<String>,
}

impl Peers {
    /// Starts the peers that `measures` need.
    pub fn start(dir: &Path, measures: &[Measure]) -> Self {
        let mut peers = Self::default();
        let needs_postgres = |with_standby: bool| {
            measures.iter().any(|measure| match measure {
                Measure::PgBench(PgBench { standby, .. }) | Measure::PostgresService { standby, .. } => {
                    *standby == with_standby
                }
                Measure::TwoPostgresServices(_) => !with_standby,
                _ => false,
            })
        };
        if needs_postgres(false) {
            peers.postgres = peers.or_skip("PostgreSQL", Postgres::start(dir));
        }
        if needs_postgres(true) {
            let started = Postgres::start(dir).and_then(Postgres::with_standby);
            peers.replicated = peers.or_skip("PostgreSQL with a standby", started);
        }
        if measures.iter().any(|measure| matches!(measure, Measure::Flask(_))) {
            peers.flask = peers.or_skip("Flask", Flask::start(dir, "delete"));
        }
        if measures.iter().any(|measure| matches!(measure, Measure::FlaskWal(_))) {
            peers.flask_wal = peers.or_skip("Flask with WAL", Flask::start(dir, "wal"));
        }
        peers
    }

    /// The peer, or `None` with a message if it did not start.
    fn or_skip<T>(&mut self, name: &str, started: Result<T, String>) -> Option<T> {
        started
            .inspect_err(|why| {
                eprintln!("SKIPPED: {name}: {why}");
                self.skipped.push(format!("{name}: {why}"));
            })
            .ok()
    }

    /// Measures PostgreSQL, if it is installed.
    pub fn pgbench(&mut self, pgbench: PgBench, time: Duration) -> Option<Sample> {
        let server = if pgbench.standby { &mut self.replicated } else { &mut self.postgres };
        let server = server.as_mut()?;
        Some(block_in_place(|| server.charge(pgbench, time)))
    }

    /// The URL of an empty database for a ledger, on the server with or without a standby.
    pub fn ledger_url(&self, standby: bool) -> Option<String> {
        let server = if standby { &self.replicated } else { &self.postgres };
        block_in_place(|| server.as_ref().map(Postgres::ledger_url))
    }

    /// Measures Flask, if it is installed.
    pub async fn flask(&self, callers: usize, time: Duration) -> Option<Sample> {
        Some(self.flask.as_ref()?.charge(callers, time).await)
    }

    /// Measures Flask with a write-ahead log, if it is installed.
    pub async fn flask_wal(&self, callers: usize, time: Duration) -> Option<Sample> {
        Some(self.flask_wal.as_ref()?.charge(callers, time).await)
    }

    /// Ends the peers, and proves that they hold every charge that they answered.
    pub fn finish(self) {
        for postgres in [self.postgres, self.replicated].into_iter().flatten() {
            postgres.finish();
        }
        for flask in [self.flask, self.flask_wal].into_iter().flatten() {
            flask.finish();
        }
    }
}
