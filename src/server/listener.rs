//! One API's connections: accepted up to a limit, served, drained at shut-down. Clients that are slow or hostile are
//! dropped on time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;

/// Calls at the same time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 1_024;
/// Calls that a client may have reset before they were accepted, and calls that may have been reset here for its
/// errors: one more ends the connection (CVE-2023-44487, CVE-2025-8671).
const RESETS_PENDING_MAX: usize = 64;
const RESETS_LOCAL_MAX: usize = 1_024;
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How much one HTTP/2 stream may send ahead of what is read, in bytes: thousands of commands.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for a connection. The h2 crate counts unread frames of a few bytes as an attack when they cost it more than
/// half of this, at 256 bytes a frame: a stream full of small commands, each in a frame of its own, must stay far
/// below.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// What every HTTP/2 connection begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often a preface that comes in pieces is checked.
const PREFACE_PAUSE: Duration = Duration::from_millis(20);
/// How long to pause when the system cannot accept a connection (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a client may take. No flag sets these; a test shortens them.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// How long a client may take to send a request's head; also how long a connection may be idle between requests.
    pub head_timeout: Duration,
    /// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
    pub keep_alive_interval: Duration,
    pub keep_alive_timeout: Duration,
    /// How long open connections get to finish at shut-down. With what a lock may cost, it stays under ten seconds.
    pub drain_timeout: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(20),
            keep_alive_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(8),
        }
    }
}

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

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

impl Listener {
    /// Accepts and serves connections until shut-down, then drains them, and cuts off what takes too long.
    pub(super) async fn serve(self, shutdown: &CancellationToken) {
        let Self { socket, router, version, connections_max, timeouts } = self;
        let builder = builder(version, timeouts);
        let service = TowerToHyperService::new(router);
        let graceful = GracefulShutdown::new();
        let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        let mut connections = JoinSet::new();
        loop {
            let accept = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (permit, accept(&socket).await)
            };
            let (permit, stream) = tokio::select! {
                accepted = accept => accepted,
                Some(_) = connections.join_next() => continue,
                () = shutdown.cancelled() => break,
            };
            let (builder, service, watcher) = (builder.clone(), service.clone(), graceful.watcher());
            let shutdown = shutdown.clone();
            connections.spawn(async move {
                let _permit = permit;
                let preface = time::timeout(timeouts.head_timeout, wait_for_preface(&stream, version));
                if !matches!(shutdown.run_until_cancelled(preface).await, Some(Ok(true))) {
                    return;
                }
                let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(error, "a connection ended with an error");
                }
            });
        }
        drop((socket, service));
        let drained = async {
            graceful.shutdown().await;
            while connections.join_next().await.is_some() {}
        };
        if time::timeout(timeouts.drain_timeout, drained).await.is_err() {
            tracing::warn!(connections = connections.len(), "cut off connections that did not finish in time");
            connections.shutdown().await;
        }
    }
}

fn builder(version: Version, timeouts: Timeouts) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.head_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        // A client that has closed its side may still read the answer.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(timeouts.keep_alive_interval)
        .keep_alive_timeout(timeouts.keep_alive_timeout)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(RESETS_LOCAL_MAX)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    match version {
        Version::Http1 => builder.http1_only(),
        Version::Http2 => builder.http2_only(),
    }
}

/// Waits until a client has sent enough for the timeouts of its version of HTTP to run: a first byte, or the whole
/// preface. False if it has gone. The protocol refuses bytes that are no preface.
async fn wait_for_preface(stream: &TcpStream, version: Version) -> bool {
    let mut sent = [0; PREFACE.len()];
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
