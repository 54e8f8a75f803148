//! Which host a request is for. One that does not say so, or not clearly, is refused (RFC 9112, section 3.2; RFC 9113,
//! section 8.3.1).

use axum::extract::Request;
use axum::http::header::{CONNECTION, HOST};
use axum::http::{HeaderMap, HeaderValue, Uri, Version};
use axum::response::{IntoResponse as _, Response};

use super::error::Failure;
use crate::api::reason::Problem;

/// A host, and the port if one is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// A name, an IPv4 address, or an IPv6 address in brackets. It may be empty.
    pub host: &'a str,
    /// The digits after the colon. They may be none, or mean no port.
    pub port: &'a str,
}

impl<'a> Authority<'a> {
    /// Reads what `Host` and `:authority` hold (RFC 9110, section 7.2; RFC 3986, section 3.2).
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (host, port) = split(text)?;
        Some(Self { host: std::str::from_utf8(host).ok()?, port: std::str::from_utf8(port).ok()? })
    }
}

/// The bytes that may stand in an address; in a name there are no colons, and percent signs.
const ADDRESS: [bool; 256] = {
    let (mut allowed, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        allowed[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b':' | b'.'
                    | b'-'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            );
        byte += 1;
    }
    allowed
};

/// The host and the port, if they are well formed. Every request has them looked at, so this goes by bytes.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_address = |byte: &u8| ADDRESS[usize::from(*byte)];
    let is_name = |byte: &u8| *byte == b'%' || is_address(byte);
    let (host, rest) = if let Some(inside) = text.strip_prefix(b"[") {
        let length = inside.iter().position(|byte| *byte == b']').filter(|length| *length > 0)?;
        inside[..length].iter().all(is_address).then_some(text.split_at(length + 2))?
    } else {
        let length = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
        text[..length].iter().all(is_name).then_some(text.split_at(length))?
    };
    let port = if rest.is_empty() { rest } else { rest.strip_prefix(b":")? };
    port.iter().all(u8::is_ascii_digit).then_some((host, port))
}

/// The host that a request is for: that of its target, if it has one (HTTP/2; RFC 9112, section 3.2.2), or else `Host`.
pub fn of(request: &Request) -> Option<Authority<'_>> {
    let target = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    Authority::parse(target.or_else(|| Some(request.headers().get(HOST)?.as_bytes()))?)
}

/// The answer to what has not exactly one valid `Host`, or `:authority` in HTTP/2. HTTP/1.0 may do without.
pub fn refusal(request: &Request) -> Option<Response> {
    let problem = check(request.version(), request.uri(), request.headers()).err()?;
    let mut response = Failure::from(problem).into_response();
    // Whoever is unclear about the host may be so about where a request ends. HTTP/2 is clear about that.
    if request.version() < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Some(response)
}

fn check(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Problem::invalid("Host is given more than once"));
    }
    // In HTTP/1.1, a target that names the host does not stand for `Host`, which must be there as well.
    let target = uri.authority().filter(|_| version >= Version::HTTP_2).map(|target| target.as_str().as_bytes());
    let is_valid = |host: &[u8]| split(host).is_some();
    match (target, host) {
        (None, None) if version >= Version::HTTP_11 => Err(Problem::invalid("Host is missing from the request")),
        (Some(one), Some(other)) if !one.eq_ignore_ascii_case(other) => {
            Err(Problem::invalid("Host is not that of the request's target"))
        }
        (one, other) if !one.or(other).is_none_or(is_valid) => Err(Problem::invalid("Host is not valid")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_may_have_a_port() {
        for (text, host, port) in [
            ("", "", ""),
            ("a", "a", ""),
            ("wallet:5000", "wallet", "5000"),
            ("wallet.example.com", "wallet.example.com", ""),
            ("127.0.0.1:5000", "127.0.0.1", "5000"),
            ("[::1]", "[::1]", ""),
            ("[::1]:5000", "[::1]", "5000"),
            ("a_b%20c:", "a_b%20c", ""),
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), Some(Authority { host, port }), "{text:?}");
        }
        for text in
            ["a b", "a/b", "user@a", "a:b", "a:1:2", "::1", "[", "[]", "[::1", "[::1]5000", "[::1]:x", "a,\u{e4}"]
        {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Authority::parse(b"a\xff"), None);
    }

    /// What is answered to a request of this version, with this target and these hosts.
    fn refused(version: Version, target: &str, hosts: &[&str]) -> Option<Response> {
        refusal(&request(version, target, hosts))
    }

    fn request(version: Version, target: &str, hosts: &[&str]) -> Request {
        let request = Request::get(target).version(version);
        hosts.iter().fold(request, |request, host| request.header(HOST, *host)).body(Body::empty()).unwrap()
    }

    #[test]
    fn in_http_2_the_target_names_the_host() {
        let http2 = Version::HTTP_2;
        for (target, hosts) in [
            ("http://a:1/x", &[][..]),
            ("http://a:1/x", &["a:1"]),
            ("https://WALLET.example/x", &["wallet.example"]),
            // A client may send `Host` alone.
            ("/x", &["a:1"]),
        ] {
            assert!(refused(http2, target, hosts).is_none(), "{target} {hosts:?}");
        }
        for (target, hosts) in [
            ("/x", &[][..]),
            ("/x", &["a b"]),
            ("http://user@a/x", &[]),
            ("http://a/x", &["b"]),
            ("http://a:1/x", &["a"]),
            ("http://a/x", &["a", "a"]),
        ] {
            let response = refused(http2, target, hosts).expect("a refusal");
            assert_eq!(response.status(), 400, "{target} {hosts:?}");
            assert!(!response.headers().contains_key(CONNECTION), "HTTP/2 has no such header");
        }
    }

    #[test]
    fn in_http_1_the_target_does_not_stand_for_the_header() {
        assert!(refused(Version::HTTP_11, "http://a/x", &["b"]).is_none());
        let response = refused(Version::HTTP_11, "http://a/x", &[]).expect("a refusal");
        assert_eq!(response.headers()[CONNECTION], "close");
        assert!(refused(Version::HTTP_10, "/x", &[]).is_none());
    }

    #[test]
    fn the_host_of_a_request_is_that_of_its_target_first() {
        let host = |target: &str, hosts: &[&str]| {
            of(&request(Version::HTTP_11, target, hosts)).map(|authority| authority.host.to_owned())
        };
        assert_eq!(host("http://a:1/x", &["b"]), Some("a".to_owned()));
        assert_eq!(host("/x", &["b:1"]), Some("b".to_owned()));
        assert_eq!(host("/x", &[]), None);
    }
}
