//! One API's connections: accepted up to a limit, served, drained at shut-down. Clients that are slow or hostile are
//! dropped on time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rlimit::Resource;
use tokio::io::{self, AsyncBufReadExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::connection::{Executor, Server};
use super::limits::{self, Timeouts, Version};
use super::tls::{Accepted, Door, Tls};
use crate::api::peer::Peer;
use crate::api::rest;
use crate::telemetry::Throttle;

/// How long to pause when the system cannot accept a connection (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Raises the soft limit on open files, which is often only 1024, to the hard limit: each connection is a file.
pub fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "files that may be open"),
        Err(error) => tracing::warn!(%error, "cannot raise the number of files that may be open"),
    }
}

/// Where one API listens, what answers there, and in which version of HTTP.
pub(super) struct Listener {
    pub socket: TcpListener,
    pub router: Router,
    /// The version that is spoken, unless a client asks for another in its TLS handshake.
    pub version: Version,
    /// What the connections are encrypted with, if they are.
    pub tls: Option<Arc<Tls>>,
    pub places: Places,
    pub timeouts: Timeouts,
}

impl Listener {
    /// Accepts and serves connections until shut-down, then drains them, and cuts off what takes too long.
    pub(super) async fn serve(self, shutdown: &CancellationToken) {
        let Self { socket, router, version, tls, places, timeouts } = self;
        let servers = Servers { router, timeouts };
        let server = servers.of(version);
        let encrypted = tls.map(|tls| Arc::new(Encrypted { door: Door::new(tls, version, timeouts), servers }));
        let mut throttle = Throttle::default();
        let mut connections = JoinSet::new();
        loop {
            let (stream, addr) = tokio::select! {
                accepted = accept(&socket, &mut throttle) => accepted,
                Some(_) = connections.join_next() => continue,
                () = shutdown.cancelled() => break,
            };
            let Some(place) = shutdown.run_until_cancelled(places.take(version, &mut throttle)).await else { break };
            let shutdown = shutdown.clone();
            // Two tasks, so that a connection without TLS does not hold the memory of one with it.
            if let Some(encrypted) = encrypted.clone() {
                connections.spawn(async move {
                    let _place = place;
                    encrypted.serve(stream, addr, &shutdown).await;
                });
            } else {
                let server = server.clone();
                connections.spawn(async move {
                    let _place = place;
                    serve_plain(server, stream, addr, &shutdown).await;
                });
            }
        }
        drop((socket, server, encrypted));
        let drained = async { while connections.join_next().await.is_some() {} };
        if time::timeout(timeouts.drain_timeout, drained).await.is_err() {
            tracing::warn!(connections = connections.len(), "cut off connections that did not finish in time");
            connections.shutdown().await;
        }
    }
}

/// Files that connections leave to the ledger, the tokens file and the rest: without one, no token can be revoked.
const FILES_RESERVED: u64 = 256;

/// As many connections as this process may have files for, on all doors together.
pub(super) fn file_permits() -> Arc<Semaphore> {
    let files_max = Resource::NOFILE.get_soft().unwrap_or(u64::MAX);
    let left = files_max - FILES_RESERVED.min(files_max / 4);
    Arc::new(Semaphore::new(usize::try_from(left).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)))
}

/// A place for each connection that may be open. All clones are one.
#[derive(Clone)]
pub(super) struct Places {
    permits: Arc<Semaphore>,
    files: Arc<Semaphore>,
    connections_max: usize,
}

/// A place that is taken until it is dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _file: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(connections_max: usize, files: Arc<Semaphore>) -> Self {
        let connections_max = connections_max.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(connections_max)), files, connections_max }
    }

    /// How many connections are open.
    pub(super) fn taken(&self) -> usize {
        self.connections_max.saturating_sub(self.permits.available_permits())
    }

    /// Waits for a place, and logs that a client has to wait.
    async fn take(&self, version: Version, throttle: &mut Throttle) -> Place {
        let Self { permits, files, connections_max } = self;
        let permit = if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            permit
        } else {
            if let Some(suppressed) = throttle.pass() {
                tracing::warn!(
                    connections_max,
                    ?version,
                    suppressed,
                    "a connection waits: there are as many as may be"
                );
            }
            Arc::clone(permits).acquire_owned().await.expect("it is never closed")
        };
        let file = if let Ok(file) = Arc::clone(files).try_acquire_owned() {
            file
        } else {
            if let Some(suppressed) = throttle.pass() {
                tracing::warn!(?version, suppressed, "a connection waits: raise the limit of open files (ulimit -n)");
            }
            Arc::clone(files).acquire_owned().await.expect("it is never closed")
        };
        Place { _permit: permit, _file: file }
    }
}

/// What serves connections in either version of HTTP.
struct Servers {
    router: Router,
    timeouts: Timeouts,
}

impl Servers {
    fn of(&self, version: Version) -> Server {
        self.with(self.router.clone(), version)
    }

    fn with(&self, router: Router, version: Version) -> Server {
        let executor = Executor { write_timeout: self.timeouts.write_timeout };
        let builder = limits::builder(executor, version, self.timeouts);
        Server { builder, router, version, timeouts: self.timeouts }
    }
}

/// One API over TLS.
struct Encrypted {
    door: Door,
    servers: Servers,
}

impl Encrypted {
    async fn serve(&self, stream: TcpStream, addr: SocketAddr, shutdown: &CancellationToken) {
        match shutdown.run_until_cancelled(self.door.accept(stream, addr)).await.flatten() {
            Some(Accepted::Tls { mut stream, version, certificate }) => {
                let server = self.servers.of(version);
                let first = async { stream.fill_buf().await.map(<[u8]>::len) };
                if shutdown.run_until_cancelled(begins(first, &server)).await == Some(true) {
                    server.serve(stream, Peer { addr, certificate }, shutdown).await;
                }
            }
            Some(Accepted::Plaintext(stream)) if self.door.version() == Version::Http1 => {
                serve_plain(self.servers.with(rest::plaintext(), Version::Http1), stream, addr, shutdown).await;
            }
            Some(Accepted::Plaintext(_)) => {
                tracing::debug!(client = %addr, "a connection is closed: it is without TLS");
            }
            None => (),
        }
    }
}

/// Serves a connection without TLS.
async fn serve_plain(server: Server, stream: TcpStream, addr: SocketAddr, shutdown: &CancellationToken) {
    let mut first = [0];
    if shutdown.run_until_cancelled(begins(stream.peek(&mut first), &server)).await == Some(true) {
        server.serve(stream, Peer::new(addr), shutdown).await;
    }
}

/// Waits for a client's first byte, from which on the timeouts of its version of HTTP run; false if it has gone, or
/// takes too long.
async fn begins(first: impl Future<Output = io::Result<usize>>, server: &Server) -> bool {
    let timeout = match server.version {
        Version::Http1 => server.timeouts.idle_timeout,
        Version::Http2 => server.timeouts.head_timeout,
    };
    let Ok(read) = time::timeout(timeout, first).await else {
        tracing::debug!("a connection is closed: nothing came in time");
        return false;
    };
    read.is_ok_and(|length| length > 0)
}

async fn accept(listener: &TcpListener, throttle: &mut Throttle) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => {
                // Answers are small and written whole: waiting to fill a packet would only delay them.
                let _ = stream.set_nodelay(true);
                return (stream, addr);
            }
            Err(error) => {
                if let Some(suppressed) = throttle.pass() {
                    tracing::warn!(%error, suppressed, "cannot accept a connection");
                }
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
