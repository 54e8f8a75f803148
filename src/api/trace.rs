//! What goes around every request at either door: its id and its span.

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
pub async fn trace(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let span = tracing::info_span!(
        "request",
        request_id = id.to_str().unwrap_or_default(),
        method = request.method().as_str(),
        path = request.uri().path(),
    );
    let answered = async {
        let response = next.run(request).await;
        tracing::info!(status = response.status().as_u16(), "answered");
        response
    };
    let mut response = answered.instrument(span).await;
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The caller's id if it is one that can be logged and echoed as it is, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|id| {
        let bytes = id.as_bytes();
        (1..=REQUEST_ID_LEN_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        let mut buffer = Uuid::encode_buffer();
        let id = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
        HeaderValue::from_str(id).expect("a UUID is visible ASCII")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(id: &[u8]) -> HeaderValue {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
        request_id(&headers)
    }

    #[test]
    fn a_callers_id_is_taken() {
        for id in ["a", "018f-{x}", &"~".repeat(128)] {
            assert_eq!(answered(id.as_bytes()), id);
        }
    }

    #[test]
    fn an_id_that_does_not_belong_in_a_log_is_replaced() {
        for id in [b"".as_slice(), b"two words", b"tab\there", "gr\u{fc}n".as_bytes(), &[b'a'; 129]] {
            assert_ne!(answered(id), HeaderValue::from_bytes(id).unwrap());
            assert_eq!(answered(id).len(), 36);
        }
    }

    #[test]
    fn an_id_is_made_when_there_is_none() {
        let one = request_id(&HeaderMap::new());
        assert_eq!(Uuid::parse_str(one.to_str().unwrap()).unwrap().get_version_num(), 7);
        assert_ne!(one, request_id(&HeaderMap::new()));
    }
}
