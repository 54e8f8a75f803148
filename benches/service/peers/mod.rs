//! Other systems that make the same charge on the same machine. One that is not installed is skipped, and reported so.

mod flask;
mod postgres;
mod start;

use std::path::Path;
use std::time::Duration;

use tokio::task::block_in_place;

use self::flask::Flask;
use self::postgres::Postgres;
use super::measure::Measure;
use super::sample::Sample;

/// The peers that are installed and needed.
#[derive(Default)]
pub struct Peers {
    postgres: Option<Postgres>,
    flask: Option<Flask>,
    flask_wal: Option<Flask>,
    /// Which peers are missing, and why.
    pub skipped: Vec<String>,
}

impl Peers {
    /// Starts the peers that `measures` need.
    pub fn start(dir: &Path, measures: &[Measure]) -> Self {
        let mut peers = Self::default();
        if measures.iter().any(|measure| matches!(measure, Measure::Postgres(_))) {
            peers.postgres = peers.or_skip("PostgreSQL", Postgres::start(dir));
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

    /// Measures `PostgreSQL`, if it is installed.
    pub fn postgres(&mut self, clients: usize, time: Duration) -> Option<Sample> {
        let postgres = self.postgres.as_mut()?;
        Some(block_in_place(|| postgres.charge(clients, time)))
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
        if let Some(postgres) = self.postgres {
            postgres.finish();
        }
        for flask in [self.flask, self.flask_wal].into_iter().flatten() {
            flask.finish();
        }
    }
}
