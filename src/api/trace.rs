//! What both APIs do with every request: give it an id, a span, and a line in the log.

mod line;

use std::pin::pin;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Level, Span};
use uuid::Uuid;

use line::{Answer, Line, LoggedAtEnd, Why};

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a caller, in bytes: it is written into every line of the log.
const REQUEST_ID_LEN_MAX: usize = 128;
/// How much of a path is logged, in bytes.
const PATH_LEN_MAX: usize = 256;

/// What a request is told apart by in the logs.
#[derive(Clone, Debug)]
pub struct Traced {
    id: HeaderValue,
    method: Method,
    uri: Uri,
}

tokio::task_local! {
    /// A header or an extension of the request would cost each call several allocations.
    static CURRENT: Traced;
}

/// Runs the request, logs it if there is a reason to, and echoes its id.
///
/// A line of log costs as much as the rest of a request. So a request is logged if it brings an id of its own, so that
/// its caller can find it; if it failed; and one now and then as a sample. All others are logged at debug.
pub async fn trace(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let given = given_id(request.headers());
    let why = Why::known_before(given.is_some());
    let id = given.unwrap_or_else(new_id);
    let traced = Traced { id, method: request.method().clone(), uri: request.uri().clone() };
    // What a request logs on its way is told apart by this span, which costs something itself.
    let span = match why {
        Some(_) => traced.span(),
        None => traced.debug_span(),
    };
    let mut running = pin!(CURRENT.scope(traced, next.run(request)));
    let response = running.as_mut().instrument(span.clone()).await;
    let traced = running.take_value().expect("it has ended, and left what it was given");
    let mut response = match why {
        Some(why) => log(Line { why, began, span }, response),
        None if !span.is_disabled() => log(Line { why: Why::Debug, began, span }, response),
        None => log_failure(response, began, || traced.span()),
    };
    response.headers_mut().insert(REQUEST_ID, traced.id);
    response
}

/// Logs the request: now, or when its code has been sent, which is behind the messages of a gRPC answer.
fn log(line: Line, response: Response) -> Response {
    match Answer::of(&response) {
        Some(answer) => {
            line.write(&answer);
            response
        }
        None => response.map(|body| Body::new(LoggedAtEnd::new(body, line))),
    }
}

/// Logs a request that nobody asked to be logged, if it failed.
fn log_failure(response: Response, began: Instant, span: impl FnOnce() -> Span) -> Response {
    if let Some(suppressed) = line::pass_failure(&response)
        && let Some(answer) = Answer::of(&response)
    {
        Line { why: Why::Failure { suppressed }, began, span: span() }.write(&answer);
    }
    response
}

macro_rules! request_span {
    ($level:expr, $request:ident) => {
        tracing::span!(
            $level,
            "request",
            request_id = $request.id(),
            method = $request.method.as_str(),
            path = $request.path(),
        )
    };
}

impl Traced {
    /// The request that is handled here; `None` where none is.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The request's id: its caller's, or one that was made.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// The path that is called, or as much of it as belongs in a line of a log.
    #[must_use]
    pub fn path(&self) -> &str {
        let path = self.uri.path();
        path.get(..PATH_LEN_MAX).unwrap_or(path)
    }

    fn span(&self) -> Span {
        request_span!(Level::INFO, self)
    }

    fn debug_span(&self) -> Span {
        request_span!(Level::DEBUG, self)
    }
}

/// The caller's id, if it is one that can be logged and echoed as it is.
fn given_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let fits = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        (1..=REQUEST_ID_LEN_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    headers.get(REQUEST_ID).filter(fits).cloned()
}

fn new_id() -> HeaderValue {
    let mut buffer = Uuid::encode_buffer();
    let id = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(id).expect("a UUID is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(id: &[u8]) -> Option<HeaderValue> {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
        given_id(&headers)
    }

    #[test]
    fn a_callers_id_is_taken() {
        for id in ["a", "018f-{x}", &"~".repeat(128)] {
            assert_eq!(given(id.as_bytes()).unwrap(), id);
        }
    }

    #[test]
    fn an_id_that_does_not_belong_in_a_log_is_not() {
        for id in [b"".as_slice(), b"two words", b"tab\there", "gr\u{fc}n".as_bytes(), &[b'a'; 129]] {
            assert_eq!(given(id), None);
        }
        assert_eq!(given_id(&HeaderMap::new()), None);
    }

    #[test]
    fn an_id_that_is_made_is_unique() {
        let one = new_id();
        assert_eq!(Uuid::parse_str(one.to_str().unwrap()).unwrap().get_version_num(), 7);
        assert_ne!(one, new_id());
    }
}
