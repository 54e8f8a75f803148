//! The metrics of the service, for Prometheus to scrape: read when they are asked for, at an address of their own.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_process::collector;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task;

use super::limits::{Timeouts, Version};
use super::listener::{self, Listener, Places};
use super::tls::Tls;
use crate::access::Access;
use crate::api::reason::Reason;
use crate::engine::{Engine, Feed, Health, HealthWatch};
use crate::store::{WriterCount, WriterCounts};

/// Connections that may ask for metrics at the same time.
const CONNECTIONS_MAX: usize = 16;
const NOT_FOUND: &str = "There is nothing here but /metrics.\n";

/// Where each metric is read.
pub struct Metrics {
    /// It does not keep the engine going, and neither does the feed.
    health: HealthWatch,
    feed: Feed,
    access: Access,
    tls: Option<Arc<Tls>>,
    /// The connections of each API, by its name.
    connections: [(&'static str, Places); 2],
    /// What the ledger is kept in.
    store: &'static str,
    /// Of the writer of each shard.
    writers: Arc<[Arc<WriterCounts>]>,
}

impl Metrics {
    /// The metrics of a service of these parts.
    pub fn new(
        engine: &Engine,
        access: Access,
        tls: Option<Arc<Tls>>,
        connections: [(&'static str, Places); 2],
        store: &'static str,
    ) -> Self {
        for reason in Reason::OF_ATTEMPTS {
            // A counter that is there from the start shows its first step as well.
            let _ = access.attempts().refused(reason.name());
        }
        let (health, feed, writers) = (engine.health.clone(), engine.feed.clone(), Arc::clone(&engine.writer_counts));
        Self { health, feed, access, tls, connections, store, writers }
    }

    /// What answers on `socket`: these metrics, and nothing else.
    pub fn listener(self, socket: TcpListener, timeouts: Timeouts) -> Listener {
        let places = Places::new(CONNECTIONS_MAX, listener::file_permits());
        Listener { socket, router: self.router(), version: Version::Http1, tls: None, places, timeouts }
    }

    fn router(self) -> Router {
        let metrics = Arc::new(self);
        let not_found = || async { (StatusCode::NOT_FOUND, NOT_FOUND) };
        Router::new().route("/metrics", get(move || scrape(Arc::clone(&metrics)))).fallback(not_found)
    }

    /// All metrics as they are now, in Prometheus' text form.
    fn text(&self) -> String {
        let mut registry = Registry::default();
        self.register(&mut registry);
        register_process(&mut registry);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).expect("a string takes all that is written");
        text
    }

    /// Each help text gets its full stop from the registry, and a counter's name its `_total`.
    fn register(&self, registry: &mut Registry) {
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("wallet_build", "The version that runs", version);
        let store = Info::new([("store", self.store.to_owned()), ("shards", self.writers.len().to_string())]);
        registry.register("wallet_store", "What the ledger is kept in, and in how many shards", store);
        self.register_writers(registry);
        let is_healthy = ConstGauge::new(u64::from(self.health.now() == Health::Serving));
        registry.register("wallet_healthy", "1 if the ledger can commit, 0 if not", is_healthy);
        registry.register("wallet_connections", "Connections that are open", self.connections());
        registry.register("wallet_watchers", "Readers that follow the ledger", ConstGauge::new(self.feed.watchers()));
        let refused = self.access.attempts().refused_by_reason();
        registry.register("wallet_refused_attempts", "Attempts to call that were refused, by reason", refused);
        if let Some(tls) = &self.tls {
            let help = "Seconds until the TLS certificate ends; negative if it has";
            registry.register("wallet_certificate_expiry_seconds", help, ConstGauge::new(tls.expiry_seconds()));
        }
    }

    /// What the writers of the shards have done.
    fn register_writers(&self, registry: &mut Registry) {
        let batches: Family<[(&str, String); 2], Counter> = Family::default();
        for (shard, counts) in self.writers.iter().enumerate() {
            for (path, count) in [("fast", WriterCount::Fast), ("locked", WriterCount::Locked)] {
                let labels = [("shard", shard.to_string()), ("path", path.to_owned())];
                batches.get_or_create(&labels).inc_by(counts.get(count));
            }
        }
        let help = "Batches that were committed, in one statement or while the shard was locked";
        registry.register("wallet_store_batches", help, batches);
        for (name, help, count) in [
            ("wallet_store_lost_races", "Batches that another process was faster than", WriterCount::LostRaces),
            ("wallet_store_commits_in_doubt", "Commits whose answer was lost", WriterCount::InDoubt),
            ("wallet_store_errors", "Attempts on the store that failed", WriterCount::Errors),
            ("wallet_store_sessions", "Connections that were opened to write", WriterCount::Sessions),
        ] {
            let counter: Family<[(&str, String); 1], Counter> = Family::default();
            for (shard, counts) in self.writers.iter().enumerate() {
                counter.get_or_create(&[("shard", shard.to_string())]).inc_by(counts.get(count));
            }
            registry.register(name, help, counter);
        }
    }

    fn connections(&self) -> Family<[(&'static str, &'static str); 1], Gauge> {
        let connections: Family<_, Gauge> = Family::default();
        for (api, places) in &self.connections {
            connections.get_or_create(&[("api", *api)]).set(i64::try_from(places.taken()).unwrap_or(i64::MAX));
        }
        connections
    }
}

/// Answers a scrape.
async fn scrape(metrics: Arc<Metrics>) -> Response {
    // What the system tells of the process are files, which are read on a thread that nobody else waits for.
    match task::spawn_blocking(move || metrics.text()).await {
        Ok(text) => ([(CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The metrics that Prometheus' own clients have of every process. What is unlimited, or not told, is left out.
fn register_process(registry: &mut Registry) {
    let process = collector::collect();
    if let Some(seconds) = process.cpu_seconds_total {
        let help = "Processor time that the process took, in seconds";
        registry.register("process_cpu_seconds", help, ConstCounter::new(seconds));
    }
    let limit = |value: Option<u64>| value.filter(|limit| *limit > 0);
    for (name, help, value) in [
        ("process_open_fds", "Files that are open", process.open_fds),
        ("process_max_fds", "Files that may be open", limit(process.max_fds)),
        ("process_resident_memory_bytes", "Memory that the process holds, in bytes", process.resident_memory_bytes),
        ("process_virtual_memory_bytes", "Virtual memory, in bytes", process.virtual_memory_bytes),
        (
            "process_virtual_memory_max_bytes",
            "Virtual memory that there may be, in bytes",
            limit(process.virtual_memory_max_bytes),
        ),
        ("process_start_time_seconds", "When the process began, in seconds since 1970", process.start_time_seconds),
        ("process_threads", "Threads of the process", process.threads),
    ] {
        if let Some(value) = value {
            registry.register(name, help, ConstGauge::new(value));
        }
    }
}
