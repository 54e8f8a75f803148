//! One API's connections: accepted up to a limit, served, drained at shut-down. Clients that are slow or hostile are
//! dropped on time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::connection::{Executor, Server};
use super::limits::{self, PREFACE, Timeouts, Version};
use crate::api::peer::Peer;
use crate::telemetry::Throttle;

/// How often a preface that comes in pieces is checked.
const PREFACE_PAUSE: Duration = Duration::from_millis(20);
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
    pub version: Version,
    pub connections_max: usize,
    pub timeouts: Timeouts,
}

impl Listener {
    /// Accepts and serves connections until shut-down, then drains them, and cuts off what takes too long.
    pub(super) async fn serve(self, shutdown: &CancellationToken) {
        let Self { socket, router, version, connections_max, timeouts } = self;
        let executor = Executor { write_timeout: timeouts.write_timeout };
        let builder = limits::builder(executor, version, timeouts);
        let server = Server { builder, router, version, timeouts };
        let mut places = Places::new(connections_max, version);
        let mut connections = JoinSet::new();
        loop {
            let (stream, addr) = tokio::select! {
                accepted = accept(&socket) => accepted,
                Some(_) = connections.join_next() => continue,
                () = shutdown.cancelled() => break,
            };
            let Some(permit) = shutdown.run_until_cancelled(places.take()).await else { break };
            let (server, shutdown) = (server.clone(), shutdown.clone());
            connections.spawn(async move {
                let _permit = permit;
                let begins = shutdown.run_until_cancelled(wait_for_preface(&stream, version, timeouts));
                if begins.await == Some(true) {
                    server.serve(stream, Peer::new(addr), &shutdown).await;
                }
            });
        }
        drop((socket, server));
        let drained = async { while connections.join_next().await.is_some() {} };
        if time::timeout(timeouts.drain_timeout, drained).await.is_err() {
            tracing::warn!(connections = connections.len(), "cut off connections that did not finish in time");
            connections.shutdown().await;
        }
    }
}

/// A place for each connection that may be open.
struct Places {
    permits: Arc<Semaphore>,
    connections_max: usize,
    version: Version,
    throttle: Throttle,
}

impl Places {
    fn new(connections_max: usize, version: Version) -> Self {
        let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        Self { permits, connections_max, version, throttle: Throttle::default() }
    }

    /// Waits for a place, and logs that a client has to wait.
    async fn take(&mut self) -> OwnedSemaphorePermit {
        let Self { permits, connections_max, version, throttle } = self;
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return permit;
        }
        if let Some(suppressed) = throttle.pass() {
            tracing::warn!(connections_max, ?version, suppressed, "a connection waits: there are as many as may be");
        }
        Arc::clone(permits).acquire_owned().await.expect("it is never closed")
    }
}

/// Waits until a client has sent enough for the timeouts of its version of HTTP to run: a first byte, or the whole
/// preface. False if it has gone, or takes too long. The protocol refuses bytes that are no preface.
async fn wait_for_preface(stream: &TcpStream, version: Version, timeouts: Timeouts) -> bool {
    let mut sent = [0; PREFACE.len()];
    let timeout = match version {
        Version::Http1 => timeouts.idle_timeout,
        Version::Http2 => timeouts.head_timeout,
    };
    let begins = async {
        loop {
            match stream.peek(&mut sent).await {
                Ok(0) | Err(_) => return false,
                Ok(length)
                    if version == Version::Http2 && length < PREFACE.len() && sent[..length] == PREFACE[..length] =>
                {
                    time::sleep(PREFACE_PAUSE).await;
                }
                Ok(_) => return true,
            }
        }
    };
    time::timeout(timeout, begins).await.unwrap_or_else(|_| {
        tracing::debug!("a connection is closed: nothing came in time");
        false
    })
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => {
                // Answers are small and written whole: waiting to fill a packet would only delay them.
                let _ = stream.set_nodelay(true);
                return (stream, addr);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
