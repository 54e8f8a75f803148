//! Everything that must be running or lie on disk for what is measured.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::block_in_place;

use super::bare::Bare;
use super::database;
use super::drive::drive;
use super::ledger::{Ledger, Template};
use super::measure::{Load, Measure};
use super::peers::Peers;
use super::process::{LedgerUrl, Program};
use super::sample::Sample;
use super::service::Service;
use super::shared::Shared;
use super::tokens::Tokens;
use super::wallets::Ids;

pub struct Harness {
    dir: TempDir,
    time: Duration,
    empty: Template,
    /// Ledgers by the number of entries that they were filled with.
    filled: BTreeMap<u64, Template>,
    bare: Option<Bare>,
    pub service: Option<Service>,
    pub guarded_service: Option<Service>,
    pub old_service: Option<Service>,
    pub peers: Peers,
    shared: Shared,
}

impl Harness {
    /// Makes the ledgers, and starts the services and the peers that `measures` need. `baseline` is the older program.
    pub async fn start(dir: TempDir, time: Duration, measures: &[Measure], baseline: Option<PathBuf>) -> Self {
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
        let file = |name: &str| LedgerUrl::Sqlite(dir.path().join(name));
        let mut service = None;
        if measures.iter().any(|measure| matches!(measure, Measure::Service(_))) {
            service = Some(Service::start_new(Program::Present, file("service.db"), None).await);
        }
        let mut guarded_service = None;
        if measures.iter().any(|measure| matches!(measure, Measure::GuardedService(_))) {
            let tokens = block_in_place(|| Tokens::create(&Program::Present, dir.path().join("tokens.toml")));
            let ledger = file("guarded-service.db");
            guarded_service = Some(Service::start_new(Program::Present, ledger, Some(tokens)).await);
        }
        let mut old_service = None;
        if let Some(program) = baseline {
            old_service = Some(Service::start_new(Program::Old(program), file("old-service.db"), None).await);
        }
        let needs_history =
            |measure: &Measure| matches!(measure, Measure::Service(Load::Past(_) | Load::FeedGrpc | Load::FeedEvents));
        if measures.iter().any(needs_history) {
            for service in [&mut service, &mut guarded_service, &mut old_service].into_iter().flatten() {
                eprintln!("giving one wallet a million entries");
                service.make_history().await;
            }
        }
        let peers = block_in_place(|| Peers::start(dir.path(), measures));
        let shared = Shared::start(&peers, measures).await;
        Self { dir, time, empty, filled, bare: None, service, guarded_service, old_service, peers, shared }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Measures once. `top_rate` is what a paced load goes by. `None` if a peer is missing.
    pub async fn measure(&mut self, measure: Measure, top_rate: f64) -> Option<Sample> {
        let time = self.time;
        match measure {
            Measure::Bare => {
                let path = self.path("bare.db");
                let bare = self.bare.get_or_insert_with(|| Bare::open(self.empty.copy(path)));
                Some(block_in_place(|| bare.commit(time)))
            }
            Measure::Ledger { callers, entries, ids } => Some(self.charge(callers, entries, ids, None).await),
            Measure::OneByOne(callers) => Some(self.charge(callers, 0, Ids::Rising, Some(1)).await),
            Measure::Service(load) => self.drive(self.service.as_ref(), load, top_rate).await,
            Measure::GuardedService(load) => self.drive(self.guarded_service.as_ref(), load, top_rate).await,
            Measure::OldService(load) => self.drive(self.old_service.as_ref(), load, top_rate).await,
            Measure::PgBench(pgbench) => self.peers.pgbench(pgbench, time),
            Measure::PostgresService { load, standby } => self.drive(self.shared.one(standby), load, top_rate).await,
            Measure::TwoPostgresServices(in_flight) => self.shared.transact_over_both(in_flight, time).await,
            Measure::Flask(callers) => self.peers.flask(callers, time).await,
            Measure::FlaskWal(callers) => self.peers.flask_wal(callers, time).await,
        }
    }

    async fn drive(&self, service: Option<&Service>, load: Load, top_rate: f64) -> Option<Sample> {
        Some(drive(service?, load, top_rate, self.time).await)
    }

    /// Charges a ledger with `entries` entries. For 0, a new ledger is made, and removed afterwards.
    async fn charge(&self, callers: usize, entries: u64, ids: Ids, batch_size_max: Option<usize>) -> Sample {
        let template = self.filled.get(&entries).cloned();
        let template = template.unwrap_or_else(|| self.empty.copy(self.path("fresh.db")));
        let ledger = Ledger::start(&template, batch_size_max).await;
        database::grow_log(&template.path);
        let sample = ledger.charge(callers, ids, self.time).await;
        ledger.stop().await;
        if entries == 0 {
            block_in_place(|| template.finish());
        }
        sample
    }

    /// Ends everything and proves that every ledger is right. The largest ledger is kept, and returned.
    pub async fn finish(self) -> (TempDir, Option<(u64, Template)>) {
        let Self { dir, mut filled, bare, service, guarded_service, old_service, peers, shared, .. } = self;
        let largest = filled.pop_last();
        block_in_place(|| {
            filled.into_values().for_each(Template::finish);
            bare.into_iter().for_each(Bare::finish);
        });
        for service in [service, guarded_service, old_service].into_iter().flatten() {
            service.finish().await;
        }
        shared.finish().await;
        block_in_place(|| peers.finish());
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
