//! Both doors and the ledger behind them, started and stopped together.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::api::{grpc, rest};
use crate::config::Settings;
use crate::engine::{Engine, SystemClock};
use crate::store::{Reader, StoreError};

/// How long a client may take to send a request's head; also how long a connection may be idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls at the same time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 1_024;
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How much one HTTP/2 stream may send ahead of what is read: thousands of commands.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for a connection. The h2 crate counts unread frames of a few bytes as an attack when they cost it more than
/// half of this, at 256 bytes a frame: a stream full of small commands, each in a frame of its own, must stay far below.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// How long open connections get to finish at shut-down. With what a lock may cost, it stays under ten seconds.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// How long the ledger gets to end after that.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to leave a system alone that cannot accept a connection (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the service could not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("cannot listen on {addr} for {door}")]
    Bind { door: &'static str, addr: SocketAddr, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The service, ready: it listens, and its ledger is open.
pub struct Server {
    http: TcpListener,
    grpc: TcpListener,
    http_addr: SocketAddr,
    grpc_addr: SocketAddr,
    settings: Settings,
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
        let (engine, ledger_ended) = Engine::start(store, settings.currency, SystemClock, settings.engine());
        Ok(Self { http, grpc, http_addr, grpc_addr, settings, engine, reader, ledger_ended })
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
        let grpc = grpc::router(self.engine.clone(), self.settings.grpc(), shutdown.clone()).await;
        tokio::join!(
            serve(self.http, rest, builder().http1_only(), connections_max, &shutdown),
            serve(self.grpc, grpc, builder().http2_only(), connections_max, &shutdown),
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

async fn bind(door: &'static str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind { door, addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        // Who has sent all it wants to say may still want the answer.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

/// Accepts and serves connections until shut-down, then drains them, and cuts off what takes too long.
async fn serve(
    listener: TcpListener,
    router: Router,
    builder: Builder<TokioExecutor>,
    connections_max: usize,
    shutdown: &CancellationToken,
) {
    let service = TowerToHyperService::new(router);
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        let accept = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, accept(&listener).await)
        };
        let (permit, stream) = tokio::select! {
            accepted = accept => accepted,
            Some(_) = connections.join_next() => continue,
            () = shutdown.cancelled() => break,
        };
        let (builder, service, watcher) = (builder.clone(), service.clone(), graceful.watcher());
        let silent_end = shutdown.clone();
        connections.spawn(async move {
            let _permit = permit;
            // Whoever connects and then says nothing would otherwise be waited for outside every other timeout.
            let mut first = [0];
            let spoke = time::timeout(HEAD_TIMEOUT, stream.peek(&mut first));
            if !matches!(silent_end.run_until_cancelled(spoke).await, Some(Ok(Ok(1..)))) {
                return;
            }
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(error, "a connection ended with an error");
            }
        });
    }
    drop((listener, service));
    let drained = async {
        graceful.shutdown().await;
        while connections.join_next().await.is_some() {}
    };
    if time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut off connections that did not finish in time");
        connections.shutdown().await;
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small and written whole: waiting to fill a packet would only delay them.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
