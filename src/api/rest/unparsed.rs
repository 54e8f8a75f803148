//! The documented shape for what the HTTP library refuses before there is a request.

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use futures::FutureExt as _;
use http_body_util::BodyExt as _;

use super::error::normalize_error;
use super::response::WALLET_REASON;

/// What the library says of the body that it does not send.
const NO_BODY: &str = "content-length: 0\r\n";

/// The library's own answer to bytes that it could not parse, with the documented body; `None` if `bytes` do not end
/// with such an answer. What the library wrote before it, and its own headers, stay.
///
/// The library has no hook for this answer. It is known by its lack of a body: every error of this API has one.
pub fn documented(bytes: &[u8]) -> Option<Vec<u8>> {
    // The answers of this API end with a body, so this is where nearly every look ends.
    let head = bytes.strip_suffix(b"\r\n\r\n")?;
    let head = std::str::from_utf8(head).ok()?;
    let start = head.rfind("HTTP/1.1 4")?;
    let status = StatusCode::from_bytes(head.get(start + 9..start + 12)?.as_bytes()).ok()?;
    let length = start + head[start..].find(NO_BODY)?;
    let response = normalize_error(status.into_response());
    let reason = response.headers().get(WALLET_REASON)?.to_str().ok()?.to_owned();
    let body = response.into_body().collect().now_or_never()?.ok()?.to_bytes();
    let headers =
        format!("content-type: application/json\r\nwallet-reason: {reason}\r\ncontent-length: {}\r\n", body.len());
    let (before, after) = (&bytes[..length], &bytes[length + NO_BODY.len()..]);
    Some([before, headers.as_bytes(), after, &body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_body_gets_one_and_keeps_its_headers() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\
            date: Wed, 25 Nov 2026 11:00:00 GMT\r\n\r\n";
        let shaped = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
            content-type: application/json\r\nwallet-reason: INVALID_REQUEST\r\ncontent-length: 48\r\n\
            date: Wed, 25 Nov 2026 11:00:00 GMT\r\n\r\n{\"success\":false,\"error\":\"Request is not valid\"}";
        assert_eq!(String::from_utf8(documented(bare.as_bytes()).unwrap()).unwrap(), shaped);
        let answered = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let both = documented(format!("{answered}{bare}").as_bytes()).unwrap();
        assert_eq!(String::from_utf8(both).unwrap(), format!("{answered}{shaped}"));
    }

    #[test]
    fn all_else_stays() {
        for bytes in [
            "",
            "\r\n\r\n",
            "{}",
            "0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 50\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
        ] {
            assert_eq!(documented(bytes.as_bytes()), None, "{bytes}");
        }
    }
}
