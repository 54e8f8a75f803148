//! What both APIs do with every request: give it an id, a span, and a line in the log.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use uuid::Uuid;

/// The header that carries a request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a caller, in bytes: it is written into every line of the log.
const REQUEST_ID_LEN_MAX: usize = 128;

/// Runs the request in a span with its id, and echoes the id.
///
/// A request that brings its own id is logged at info, so that its caller can find it. A line of log costs as much
/// as the rest of a request, so all others are logged at debug.
pub async fn trace(request: Request, next: Next) -> Response {
    let given = given_id(request.headers());
    let asked_for = given.is_some();
    let id = given.unwrap_or_else(new_id);
    let span = tracing::info_span!(
        "request",
        request_id = id.to_str().unwrap_or_default(),
        method = request.method().as_str(),
        path = request.uri().path(),
    );
    let answered = async {
        let response = next.run(request).await;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if asked_for {
            tracing::info!(status, reason = header("wallet-reason"), grpc_status = header("grpc-status"), "answered");
        } else {
            tracing::debug!(status, reason = header("wallet-reason"), grpc_status = header("grpc-status"), "answered");
        }
        response
    };
    let mut response = answered.instrument(span).await;
    response.headers_mut().insert(REQUEST_ID, id);
    response
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
