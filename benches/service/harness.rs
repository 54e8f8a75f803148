//! Everything that can be measured, and what must be running for it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tonic_health::pb::health_client::HealthClient;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;

use super::bare::Bare;
use super::grpc;
use super::http;
use super::ledger::{Ledger, Template, grow_log};
use super::load::{self, Sample, Window};
use super::peers::Peers;
use super::process::Service;
use super::wallets::{Ids, Share};

/// One thing to measure. The numbers are callers, each with one command under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Commits of bare SQLite, one after the other.
    Bare,
    /// The engine with no door before it, over a ledger with so many entries (or one made for this, if none).
    Ledger {
        callers: usize,
        entries: u64,
        ids: Ids,
    },
    /// The same with one command in a transaction.
    OneByOne(usize),
    Healthcheck(usize),
    Rest(usize),
    /// All charge one wallet.
    RestHot(usize),
    /// At half of the rate that as many reached in a closed loop before.
    RestPaced(usize),
    Reads(usize),
    /// While as many others charge.
    ReadsBesideCharges(usize),
    GrpcHealth(usize),
    Grpc(usize),
    /// Commands under way on one stream.
    Transact(usize),
    Postgres(usize),
    Flask(usize),
    FlaskWal(usize),
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bare => f.write_str("bare SQLite commit"),
            Self::Ledger { callers, entries, ids } => {
                write!(f, "ledger only, {callers} in flight")?;
                if entries > 0 {
                    write!(f, ", {entries} entries there")?;
                }
                f.write_str(if ids == Ids::Random { ", random event ids" } else { "" })
            }
            Self::OneByOne(callers) => write!(f, "ledger only, {callers} in flight, one a transaction"),
            Self::Healthcheck(callers) => write!(f, "REST healthcheck, {callers} connections"),
            Self::Rest(1) => f.write_str("REST charge, one caller"),
            Self::Rest(callers) => write!(f, "REST charge, {callers} connections"),
            Self::RestHot(callers) => write!(f, "REST charge, {callers} connections, one hot wallet"),
            Self::RestPaced(callers) => write!(f, "REST charge, {callers} connections, at half of their top rate"),
            Self::Reads(callers) => write!(f, "REST read, {callers} connections"),
            Self::ReadsBesideCharges(callers) => {
                write!(f, "REST read, {callers} connections, while as many charge")
            }
            Self::GrpcHealth(callers) => write!(f, "gRPC health check, {callers} in flight"),
            Self::Grpc(callers) => write!(f, "gRPC charge, {callers} in flight"),
            Self::Transact(callers) => write!(f, "Transact, {callers} in flight"),
            Self::Postgres(callers) => write!(f, "PostgreSQL, pgbench, {callers} clients"),
            Self::Flask(callers) => write!(f, "Flask + sqlite3, {callers} callers"),
            Self::FlaskWal(callers) => write!(f, "Flask + sqlite3 with WAL, {callers} callers"),
        }
    }
}

/// What is running.
pub struct Harness {
    dir: TempDir,
    time: Duration,
    empty: Template,
    /// Ledgers by the entries that they were filled with.
    filled: BTreeMap<u64, Template>,
    bare: Option<Bare>,
    pub service: Option<Service>,
    pub peers: Peers,
}

impl Harness {
    /// Makes the ledgers and starts the peers that `measures` need.
    pub async fn new(dir: TempDir, time: Duration, measures: &[Measure]) -> Self {
        let empty = Template::create(dir.path().join("empty.db")).await;
        let mut sizes: Vec<u64> = measures.iter().filter_map(filled).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let mut filled: BTreeMap<u64, Template> = BTreeMap::new();
        for size in sizes {
            // Each grows out of a copy of the one before.
            let (there, before) = filled.last_key_value().map_or((0, &empty), |(there, template)| (*there, template));
            eprintln!("filling a ledger with {size} entries");
            let template = before.copy(dir.path().join(format!("{size}.db")));
            template.fill(size - there).await;
            filled.insert(size, template);
        }
        let peers = tokio::task::block_in_place(|| Peers::start(dir.path(), measures));
        Self { dir, time, empty, filled, bare: None, service: None, peers }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Measures once. `top_rate` is what a paced measurement goes by. `None` if a peer is missing.
    pub async fn measure(&mut self, measure: Measure, top_rate: f64) -> Option<Sample> {
        let time = self.time;
        let sample = match measure {
            Measure::Bare => {
                let bare = self.bare.get_or_insert_with(|| {
                    let path = self.dir.path().join("bare.db");
                    Bare::open(self.empty.copy(path))
                });
                tokio::task::block_in_place(|| bare.commit(time))
            }
            Measure::Ledger { callers, entries, ids } => self.charge(callers, entries, ids, None).await,
            Measure::OneByOne(callers) => self.charge(callers, 0, Ids::Rising, Some(1)).await,
            Measure::Postgres(_) | Measure::Flask(_) | Measure::FlaskWal(_) => {
                return self.peers.measure(measure, time).await;
            }
            _ => {
                let path = self.path("service.db");
                let service = self.service.get_or_insert_with(|| {
                    let template = self.empty.copy(path);
                    let service = Service::start(&template.path, &template.wallets);
                    grow_log(&template.path);
                    service
                });
                measure_service(service, measure, top_rate, time).await
            }
        };
        Some(sample)
    }

    /// Charges a ledger with so many entries; one without any is made for this, and removed afterwards.
    async fn charge(&self, callers: usize, entries: u64, ids: Ids, batch_size_max: Option<usize>) -> Sample {
        let template = self.filled.get(&entries).cloned();
        let template = template.unwrap_or_else(|| self.empty.copy(self.path("fresh.db")));
        let ledger = Ledger::start(&template, batch_size_max).await;
        grow_log(&template.path);
        let sample = ledger.charge(callers, ids, self.time).await;
        ledger.stop().await;
        if entries == 0 {
            tokio::task::block_in_place(|| template.finish());
        }
        sample
    }

    /// Ends everything but the largest ledger, which is returned, and proves that every ledger is right.
    pub fn finish(self) -> (TempDir, Option<(u64, Template)>) {
        let Self { dir, mut filled, bare, service, peers, .. } = self;
        let largest = filled.pop_last();
        filled.into_values().for_each(Template::finish);
        if let Some(bare) = bare {
            bare.finish();
        }
        if let Some(service) = service {
            service.verify();
        }
        peers.finish();
        (dir, largest)
    }
}

/// The entries that must be there before this can be measured.
fn filled(measure: &Measure) -> Option<u64> {
    match measure {
        Measure::Ledger { entries: entries @ 1.., .. } => Some(*entries),
        _ => None,
    }
}

async fn measure_service(service: &Service, measure: Measure, top_rate: f64, time: Duration) -> Sample {
    let (pid, wallets) = (service.pid(), &service.wallets);
    let shares = |callers| Share::deal(wallets, callers, Ids::Rising);
    match measure {
        Measure::Healthcheck(callers) => {
            let callers = http::Connection::open_all(service.http, callers).await;
            closed(pid, callers.into_iter().map(http::HealthCaller).collect(), time).await
        }
        Measure::Rest(callers) => closed(pid, http::ChargeCaller::all(service.http, shares(callers)).await, time).await,
        Measure::RestHot(callers) => {
            let callers = http::ChargeCaller::all(service.http, Share::hot(wallets, callers)).await;
            closed(pid, callers, time).await
        }
        Measure::RestPaced(callers) => {
            let callers = http::ChargeCaller::all(service.http, shares(callers)).await;
            let window = Window::of(time);
            load::metered(pid, window, load::paced(callers, (top_rate / 2.0).max(1.0), window)).await
        }
        Measure::Reads(callers) => closed(pid, http::ReadCaller::all(service.http, wallets, callers).await, time).await,
        Measure::ReadsBesideCharges(callers) => {
            let readers = http::ReadCaller::all(service.http, wallets, callers).await;
            let others = http::ChargeCaller::all(service.http, shares(callers)).await;
            let window = Window::of(time);
            let reads = load::metered(pid, window, load::closed(readers, window));
            tokio::join!(reads, load::closed(others, window)).0
        }
        Measure::GrpcHealth(callers) => {
            let channels = grpc::connect_all(service.grpc).await;
            let clients = channels.iter().cycle().take(callers).cloned().map(HealthClient::new);
            closed(pid, clients.map(grpc::HealthCaller).collect(), time).await
        }
        Measure::Grpc(callers) => {
            let channels = grpc::connect_all(service.grpc).await;
            let clients = channels.iter().cycle().cloned().map(WalletServiceClient::new);
            let callers = shares(callers).into_iter().zip(clients);
            let callers = callers.map(|(share, client)| grpc::ChargeCaller { client, share });
            closed(pid, callers.collect(), time).await
        }
        Measure::Transact(in_flight) => {
            let channel = grpc::connect(service.grpc).await;
            let share = shares(1).pop().expect("a share");
            let window = Window::of(time);
            load::metered(pid, window, grpc::transact(channel, share, in_flight, window)).await
        }
        other => unreachable!("{other} does not need the service"),
    }
}

async fn closed<C: load::Caller>(pid: u32, callers: Vec<C>, time: Duration) -> Sample {
    let window = Window::of(time);
    load::metered(pid, window, load::closed(callers, window)).await
}
