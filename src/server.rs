//! Both APIs and the ledger behind them, started and stopped together.

mod access;
mod activity;
mod connection;
mod limits;
mod listener;
mod metrics;
pub mod pem;
mod reload;
mod resets;
mod served_at;
mod socket;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::sync::oneshot;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, TokenError};
use crate::api::{audit, grpc, rest};
use crate::config::{Address, Settings, TlsFiles};
use crate::engine::{ClockBehind, Engine, SystemClock, check_clock};
use crate::store::{Reader, StoreError};
pub use limits::Timeouts;
use limits::Version;
pub use listener::raise_file_limit;
use listener::{Listener, Places};
use metrics::Metrics;
use reload::{Files, Reloader};
pub use served_at::{AddrFile, ServedAt};
pub use tls::{Tls, TlsError};

/// How long the ledger may take to end when nobody is served any more.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections that wait to be accepted, at the most.
const BACKLOG: u32 = 1_024;

/// Why the service could not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("cannot listen on {addr} for {api}")]
    Bind { api: &'static str, addr: Address, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot catch SIGHUP, at which files are read again")]
    Signal { source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Access(#[from] TokenError),
    #[error("{0}; set the clock right, or accept it with --accept-clock")]
    Clock(#[from] ClockBehind),
}

/// The service, ready to run: it listens, and its ledger is open.
pub struct Server {
    http: TcpListener,
    grpc: TcpListener,
    http_addr: SocketAddr,
    grpc_addr: SocketAddr,
    /// Where metrics are asked for, if they may be.
    metrics: Option<(TcpListener, SocketAddr)>,
    settings: Settings,
    timeouts: Timeouts,
    access: Access,
    reloader: Reloader,
    tls: Option<Arc<Tls>>,
    engine: Engine,
    reader: Arc<dyn Reader>,
    ledger_ended: oneshot::Receiver<()>,
}

impl Server {
    /// Binds the addresses, opens the ledger, and then listens: no client is kept waiting for a ledger that may take
    /// long to open.
    ///
    /// # Errors
    /// [`StartError`], which says which address or file, or what about the database.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let mut reloader = Reloader::default();
        let tls = settings.tls.files().map(|files| start_tls(files, &mut reloader)).transpose()?;
        let access = access::of(&settings, &mut reloader)?;
        let http = Bound::new("REST", &settings.http_addr).await?;
        let grpc = Bound::new("gRPC", &settings.grpc_addr).await?;
        let metrics = match &settings.metrics_addr {
            Some(addr) => Some(Bound::new("metrics", addr).await?),
            None => None,
        };
        let store = settings.database.url.open(settings.store()).await?;
        let reader = Arc::clone(&store.reader);
        if let Err(behind) = check_clock(&SystemClock, reader.heads().await?.created_at()) {
            if !settings.accept_clock {
                reader.close().await;
                return Err(behind.into());
            }
            tracing::warn!(error = %behind, "entries get the time of the last commit until the clock has passed it");
        }
        let ((http, http_addr), (grpc, grpc_addr)) = (http.listen()?, grpc.listen()?);
        let metrics = metrics.map(Bound::listen).transpose()?;
        let (engine, ledger_ended) = Engine::start(store, SystemClock, settings.engine());
        let idle_timeout = Duration::from_millis(settings.idle_timeout_ms);
        let timeouts = Timeouts { idle_timeout, ..Timeouts::default() };
        access::warn(&access, &settings, [http_addr, grpc_addr]);
        Ok(Self {
            http,
            grpc,
            http_addr,
            grpc_addr,
            metrics,
            settings,
            timeouts,
            access,
            reloader,
            tls,
            engine,
            reader,
            ledger_ended,
        })
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

    /// Where metrics are asked for, if they may be.
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(_, addr)| *addr)
    }

    /// What connections are encrypted with, if they are.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// Serves until `shutdown` is cancelled; then stops accepting, finishes what is in flight, and closes the ledger.
    pub async fn run(self, shutdown: CancellationToken) {
        let connections_max = usize::try_from(self.settings.connections_max).unwrap_or(usize::MAX);
        let (access, hosts) = (self.access.clone(), self.settings.allowed_hosts());
        let rest = rest::router(self.engine.clone(), access, self.settings.rest(), hosts);
        let grpc = grpc::router(self.engine.clone(), self.access.clone(), self.settings.grpc(), shutdown.clone());
        let (tls, timeouts, files) = (&self.tls, self.timeouts, listener::file_permits());
        let listener = |socket, router, version| {
            let places = Places::new(connections_max, Arc::clone(&files));
            Listener { socket, router, version, tls: tls.clone(), places, timeouts }
        };
        let (rest, grpc) = (listener(self.http, rest, Version::Http1), listener(self.grpc, grpc, Version::Http2));
        let connections = [("rest", rest.places.clone()), ("grpc", grpc.places.clone())];
        let store = self.settings.database.url.kind();
        let metrics = Metrics::new(&self.engine, self.access, tls.clone(), connections, store);
        let scraping = async {
            if let Some((socket, _)) = self.metrics {
                metrics.listener(socket, timeouts).serve(&shutdown).await;
            }
        };
        let feed = self.engine.feed.clone();
        // Whoever watches would never end.
        let closing = async {
            shutdown.cancelled().await;
            feed.close();
        };
        let reloading = shutdown.run_until_cancelled(self.reloader.run());
        let expiring = shutdown.run_until_cancelled(async {
            if let Some(tls) = tls {
                tls.watch_expiry().await;
            }
        });
        tokio::join!(
            audit::report(&shutdown),
            rest.serve(&shutdown),
            grpc.serve(&shutdown),
            scraping,
            closing,
            reloading,
            expiring
        );
        self.reader.close().await;
        // The worker ends with the last handle, and the writer is the last to let go of the database: it can leave
        // everything in the one file.
        drop(self.engine);
        if time::timeout(LEDGER_TIMEOUT, self.ledger_ended).await.is_err() {
            tracing::error!("the ledger's worker did not end in time");
        }
    }
}

/// Reads the TLS files, and has them read again when they change.
fn start_tls(files: TlsFiles, reloader: &mut Reloader) -> Result<Arc<Tls>, StartError> {
    let watched = Files::new(files.paths());
    let tls = Arc::new(Tls::read(files)?);
    let reloaded = Arc::clone(&tls);
    reloader.watch(watched, move || reloaded.reload()).map_err(|source| StartError::Signal { source })?;
    Ok(tls)
}

/// A socket that has its address, and does not listen yet.
struct Bound {
    api: &'static str,
    addr: Address,
    socket: TcpSocket,
}

impl Bound {
    /// Binds the first of the IP addresses that `addr` stands for on which that is possible.
    async fn new(api: &'static str, addr: &Address) -> Result<Self, StartError> {
        let failed = |source| StartError::Bind { api, addr: addr.clone(), source };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for found in lookup_host(addr.to_string()).await.map_err(failed)? {
            match bind(found) {
                Ok(socket) => return Ok(Self { api, addr: addr.clone(), socket }),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    fn listen(self) -> Result<(TcpListener, SocketAddr), StartError> {
        let Self { api, addr, socket } = self;
        let listen = || {
            let listener = socket.listen(BACKLOG)?;
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        };
        listen().map_err(|source| StartError::Bind { api, addr, source })
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of a process that served here before may not have ended yet.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
