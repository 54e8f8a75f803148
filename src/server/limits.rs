//! The limits of a connection, in HTTP's own terms.

use std::time::Duration;

use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;

/// Calls at the same time on one HTTP/2 connection.
pub const STREAMS_MAX: u32 = 1_024;
/// Calls that a client may cancel in one burst: those that may be open, and as many again.
pub const RESETS_BURST_MAX: u32 = 2 * STREAMS_MAX;
/// Calls that a client may have reset before they were accepted: as many as it may reset in one burst.
const RESETS_PENDING_MAX: u32 = RESETS_BURST_MAX;
/// Calls that may have been reset here for the client's errors: one more ends the connection (CVE-2025-8671).
const RESETS_LOCAL_MAX: usize = 1_024;
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How much one HTTP/2 stream may send ahead of what is read, in bytes: thousands of commands.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for a connection. The h2 crate counts unread frames of a few bytes as an attack when they cost it more than
/// half of this, at 256 bytes a frame: a stream full of small commands, each in a frame of its own, must stay far
/// below.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// What every HTTP/2 connection begins with.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a client may take. A flag sets how long it may be idle; a test shortens the others.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// How long a request's head may take to arrive, once it has begun.
    pub head_timeout: Duration,
    /// How long a connection may be idle: before its first request, and between requests.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what it is sent. One that takes little by little has two to four times as
    /// long for each piece of an answer.
    pub write_timeout: Duration,
    /// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
    pub keep_alive_interval: Duration,
    pub keep_alive_timeout: Duration,
    /// How long open connections get to finish at shut-down. With what a lock may cost, it stays under ten seconds.
    pub drain_timeout: Duration,
}

impl Timeouts {
    pub const DEFAULT: Self = Self {
        head_timeout: Duration::from_secs(15),
        idle_timeout: Duration::from_secs(75),
        write_timeout: Duration::from_secs(30),
        keep_alive_interval: Duration::from_secs(20),
        keep_alive_timeout: Duration::from_secs(10),
        drain_timeout: Duration::from_secs(8),
    };
    /// How finely time is told.
    pub const LEAST: Duration = Duration::from_millis(10);
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Which version of HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

/// What speaks HTTP within these limits, and runs HTTP/2 calls on `executor`.
pub fn builder<E: Clone>(executor: E, version: Version, timeouts: Timeouts) -> Builder<E> {
    let mut builder = Builder::new(executor);
    builder
        .http1()
        // The library's timeout runs between requests too. The socket has one that runs only once a head has begun.
        .header_read_timeout(None)
        // No more than 100 headers: the library's own limit, for which it need not allocate.
        .max_buf_size(HEADER_BYTES_MAX)
        // A client that has closed its side may still read the answer.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(timeouts.keep_alive_interval)
        .keep_alive_timeout(timeouts.keep_alive_timeout)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(usize::try_from(RESETS_PENDING_MAX).unwrap_or(usize::MAX))
        .max_local_error_reset_streams(RESETS_LOCAL_MAX)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    match version {
        Version::Http1 => builder.http1_only(),
        Version::Http2 => builder.http2_only(),
    }
}
