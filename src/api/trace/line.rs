//! The line of the log that a request gets, and when it gets one.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tracing::Span;

use crate::api::reason::Reason;
use crate::telemetry::Throttle;

/// Of so many requests, one is logged as a sample, unless one was in the same interval of the throttle.
const SAMPLE_INTERVAL: u64 = 1_024;
const SAMPLES_MAX: u32 = 1;
/// Requests that failed and are logged in one interval of the throttle: an outage must not fill the disk.
const FAILURES_MAX: u32 = 2;

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static SAMPLES: Mutex<Throttle> = Mutex::new(Throttle::new(SAMPLES_MAX));
static FAILURES: Mutex<Throttle> = Mutex::new(Throttle::new(FAILURES_MAX));

/// Why a request is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its caller gave it an id.
    Id,
    /// One is, now and then.
    Sample,
    /// It failed, as so many did since the last one that was logged.
    Failure { suppressed: u64 },
    /// All are, at the level debug.
    Debug,
}

impl Why {
    /// The reason that is known before the request is answered.
    pub(super) fn known_before(has_id: bool) -> Option<Self> {
        if has_id {
            return Some(Self::Id);
        }
        let is_sample = REQUESTS.fetch_add(1, Ordering::Relaxed) % SAMPLE_INTERVAL == SAMPLE_INTERVAL - 1;
        (is_sample && SAMPLES.lock().ok()?.pass().is_some()).then_some(Self::Sample)
    }
}

/// Whether this is a failure that is to be logged: if so, how many were not since the last one.
///
/// What was refused because the ledger could not keep up is counted and logged by the engine.
pub(super) fn pass_failure(response: &Response) -> Option<u64> {
    let is_failure = match grpc_code(response.headers()) {
        Some(code) => matches!(code, Code::Unavailable | Code::Internal | Code::Unknown | Code::DataLoss),
        None => response.status().is_server_error() && !is_overload(response.headers()),
    };
    if is_failure { FAILURES.lock().ok()?.pass() } else { None }
}

fn is_overload(headers: &HeaderMap) -> bool {
    let reason = headers.get("wallet-reason").and_then(|reason| reason.to_str().ok());
    [Reason::Busy, Reason::Deadline].into_iter().any(|overload| reason == Some(overload.name()))
}

fn grpc_code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// What a request was answered.
pub(super) enum Answer {
    Http { status: StatusCode, reason: Option<String> },
    Grpc { code: Code, reason: Option<String> },
}

impl Answer {
    /// `None` for a gRPC answer whose code is yet to come.
    pub(super) fn of(response: &Response) -> Option<Self> {
        let headers = response.headers();
        if headers.contains_key(Status::GRPC_STATUS) {
            return Some(Self::of_grpc(headers));
        }
        let is_grpc = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        let reason = || headers.get("wallet-reason").and_then(|reason| reason.to_str().ok()).map(ToOwned::to_owned);
        (!is_grpc).then(|| Self::Http { status: response.status(), reason: reason() })
    }

    /// The answer that stands in the headers or trailers of a gRPC call.
    fn of_grpc(headers: &HeaderMap) -> Self {
        let status = Status::from_header_map(headers);
        let reason = status.and_then(|status| status.get_details_error_info()).map(|info| info.reason);
        Self::Grpc { code: grpc_code(headers).unwrap_or(Code::Unknown), reason }
    }
}

/// A line to be written when the answer is known.
pub(super) struct Line {
    pub why: Why,
    pub began: Instant,
    pub span: Span,
}

impl Line {
    pub(super) fn write(&self, answer: &Answer) {
        let elapsed_ms = milliseconds(self.began.elapsed());
        let (status, grpc_status, reason) = match answer {
            Answer::Http { status, reason } => (Some(status.as_u16()), None, reason.as_deref()),
            Answer::Grpc { code, reason } => (None, Some(i32::from(*code)), reason.as_deref()),
        };
        self.span.in_scope(|| match self.why {
            Why::Id => tracing::info!(status, grpc_status, reason, elapsed_ms, logged_for = "id", "answered"),
            Why::Sample => tracing::info!(status, grpc_status, reason, elapsed_ms, logged_for = "sample", "answered"),
            Why::Failure { suppressed } => {
                let logged_for = "failure";
                tracing::warn!(status, grpc_status, reason, elapsed_ms, logged_for, suppressed, "answered");
            }
            Why::Debug => tracing::debug!(status, grpc_status, reason, elapsed_ms, "answered"),
        });
    }

    /// The caller of a gRPC method left before the answer's end, or its connection broke.
    fn write_cut_off(&self) {
        let elapsed_ms = milliseconds(self.began.elapsed());
        self.span.in_scope(|| match self.why {
            Why::Id | Why::Sample | Why::Failure { .. } => tracing::info!(elapsed_ms, "the answer was cut off"),
            Why::Debug => tracing::debug!(elapsed_ms, "the answer was cut off"),
        });
    }
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A body at whose end the request is logged.
pub(super) struct LoggedAtEnd {
    body: Body,
    line: Option<Line>,
}

impl LoggedAtEnd {
    pub(super) fn new(body: Body, line: Line) -> Self {
        Self { body, line: Some(line) }
    }
}

impl HttpBody for LoggedAtEnd {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
            && let Some(line) = self.line.take()
        {
            line.write(&Answer::of_grpc(trailers));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LoggedAtEnd {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            line.write_cut_off();
        }
    }
}
