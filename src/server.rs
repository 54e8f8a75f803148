//! Both APIs and the ledger behind them, started and stopped together.

mod activity;
mod connection;
mod limits;
mod listener;
mod resets;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::api::{grpc, rest};
use crate::config::Settings;
use crate::engine::{Engine, SystemClock};
use crate::store::{Reader, StoreError};
pub use limits::Timeouts;
use limits::Version;
use listener::Listener;
pub use listener::raise_file_limit;

/// How long the ledger may take to end when nobody is served any more.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the service could not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("cannot listen on {addr} for {api}")]
    Bind { api: &'static str, addr: SocketAddr, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The service, ready to run: it listens, and its ledger is open.
pub struct Server {
    http: TcpListener,
    grpc: TcpListener,
    http_addr: SocketAddr,
    grpc_addr: SocketAddr,
    settings: Settings,
    timeouts: Timeouts,
    engine: Engine,
    reader: Arc<dyn Reader>,
    ledger_ended: oneshot::Receiver<()>,
}

impl Server {
    /// Binds both addresses and opens the ledger.
    ///
    /// # Errors
    /// [`StartError`], which says which address or what about the database.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let (http, http_addr) = bind("REST", settings.http_addr).await?;
        let (grpc, grpc_addr) = bind("gRPC", settings.grpc_addr).await?;
        let store = settings.database_url.open(settings.currency).await?;
        let reader = Arc::clone(&store.reader);
        let (engine, ledger_ended) = Engine::start(store, SystemClock, settings.engine());
        let idle_timeout = Duration::from_millis(settings.idle_timeout_ms);
        let timeouts = Timeouts { idle_timeout, ..Timeouts::default() };
        Ok(Self { http, grpc, http_addr, grpc_addr, settings, timeouts, engine, reader, ledger_ended })
    }

    /// The same service with other timeouts.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Where the REST API listens: the address asked for, with the port that the system chose if that was 0.
    #[must_use]
    pub const fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where the gRPC service listens.
    #[must_use]
    pub const fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Serves until `shutdown` is cancelled; then stops accepting, finishes what is in flight, and closes the ledger.
    pub async fn run(self, shutdown: CancellationToken) {
        let connections_max = usize::try_from(self.settings.connections_max).unwrap_or(usize::MAX);
        let rest = rest::router(self.engine.clone(), self.settings.rest());
        let grpc = grpc::router(self.engine.clone(), self.settings.grpc(), shutdown.clone());
        let listener =
            |socket, router, version| Listener { socket, router, version, connections_max, timeouts: self.timeouts };
        let (rest, grpc) = (listener(self.http, rest, Version::Http1), listener(self.grpc, grpc, Version::Http2));
        tokio::join!(rest.serve(&shutdown), grpc.serve(&shutdown));
        self.reader.close().await;
        // The worker ends with the last handle, and the writer is the last to let go of the database: it can leave
        // everything in the one file.
        drop(self.engine);
        if time::timeout(LEDGER_TIMEOUT, self.ledger_ended).await.is_err() {
            tracing::error!("the ledger's worker did not end in time");
        }
    }
}

async fn bind(api: &'static str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind { api, addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
