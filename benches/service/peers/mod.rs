//! What others do with the same charge on the same machine. Who is not here is skipped, aloud.

mod flask;
mod postgres;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use self::flask::Flask;
use self::postgres::Postgres;
use super::harness::Measure;
use super::load::Sample;

/// How often, and how many times, a server is asked whether it is up.
const TRY_INTERVAL: Duration = Duration::from_millis(100);
const TRIES: u32 = 300;

/// The peers that are here and wanted.
#[derive(Default)]
pub struct Peers {
    postgres: Option<Postgres>,
    flask: Option<Flask>,
    flask_wal: Option<Flask>,
    /// Who is not here, and why.
    pub skipped: Vec<String>,
}

impl Peers {
    /// Starts what `measures` name.
    pub fn start(dir: &Path, measures: &[Measure]) -> Self {
        let mut peers = Self::default();
        if measures.iter().any(|measure| matches!(measure, Measure::Postgres(_))) {
            peers.postgres = peers.here("PostgreSQL", Postgres::start(dir));
        }
        if measures.iter().any(|measure| matches!(measure, Measure::Flask(_))) {
            peers.flask = peers.here("Flask", Flask::start(dir, "delete"));
        }
        if measures.iter().any(|measure| matches!(measure, Measure::FlaskWal(_))) {
            peers.flask_wal = peers.here("Flask with WAL", Flask::start(dir, "wal"));
        }
        peers
    }

    fn here<T>(&mut self, name: &str, started: Result<T, String>) -> Option<T> {
        started
            .inspect_err(|why| {
                eprintln!("SKIPPED: {name}: {why}");
                self.skipped.push(format!("{name}: {why}"));
            })
            .ok()
    }

    /// Measures a peer, if it is here.
    pub async fn measure(&mut self, measure: Measure, time: Duration) -> Option<Sample> {
        match measure {
            Measure::Flask(callers) => Some(self.flask.as_ref()?.charge(callers, time).await),
            Measure::FlaskWal(callers) => Some(self.flask_wal.as_ref()?.charge(callers, time).await),
            Measure::Postgres(clients) => {
                let postgres = self.postgres.as_mut()?;
                Some(tokio::task::block_in_place(|| postgres.charge(clients, time)))
            }
            _ => None,
        }
    }

    /// Ends the peers, and proves that they did what they answered: a peer that loses charges is no peer.
    pub fn finish(self) {
        if let Some(postgres) = self.postgres {
            postgres.finish();
        }
        for flask in [self.flask, self.flask_wal].into_iter().flatten() {
            flask.finish();
        }
    }
}

/// A port that nobody has, at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports left");
    listener.local_addr().expect("it has an address").port()
}

/// Tries until `up`, or for too long.
fn wait_until(up: impl Fn() -> bool) -> Result<(), String> {
    for _ in 0..TRIES {
        if up() {
            return Ok(());
        }
        std::thread::sleep(TRY_INTERVAL);
    }
    Err("it does not come up".to_owned())
}

/// What a program printed, or why it failed.
fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{name}: {}", said.lines().last().unwrap_or_default()))
}
