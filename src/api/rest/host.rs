//! Refuses a request that does not say, or not clearly, for which host it is (RFC 9112, section 3.2).

use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::header::{CONNECTION, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, Version};
use axum::response::{IntoResponse as _, Response};
use futures::future::{Either, Ready, ready};
use tower::{Layer, Service};

use super::error::Failure;
use crate::api::reason::Problem;

/// Refuses what has not exactly one valid `Host`. HTTP/1.0 may do without.
///
/// A layer, and no function of `axum::middleware`, which costs every request several allocations.
#[derive(Clone, Copy)]
pub struct HostLayer;

impl<S> Layer<S> for HostLayer {
    type Service = HostCheck<S>;

    fn layer(&self, inner: S) -> HostCheck<S> {
        HostCheck { inner }
    }
}

#[derive(Clone)]
pub struct HostCheck<S> {
    inner: S,
}

impl<S: Service<Request, Response = Response>> Service<Request> for HostCheck<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match check(request.version(), request.uri(), request.headers()) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(problem) => Either::Right(ready(Ok(refused(problem)))),
        }
    }
}

/// The refusal. Whoever is unclear about the host may be so about where a request ends: the connection is closed.
fn refused(problem: Problem) -> Response {
    let mut response = Failure::from(problem).into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// In HTTP/2, `:authority` takes the place of `Host`. Where both are given, they must say the same (RFC 9113, section
/// 8.3.1).
fn check(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let authority = uri.authority().filter(|_| version == Version::HTTP_2).map(Authority::as_str);
    match (hosts.next(), hosts.next()) {
        (None, _) if authority.is_some_and(|authority| is_valid(authority.as_bytes())) => Ok(()),
        (None, _) if authority.is_some() => Err(Problem::invalid("Host is not valid")),
        (Some(host), None) if authority.is_some_and(|authority| authority.as_bytes() != host.as_bytes()) => {
            Err(Problem::invalid("Host is given more than once"))
        }
        (None, _) if version >= Version::HTTP_11 => Err(Problem::invalid("Host is missing from the request")),
        (Some(_), Some(_)) => Err(Problem::invalid("Host is given more than once")),
        (Some(host), None) if !is_valid(host.as_bytes()) => Err(Problem::invalid("Host is not valid")),
        _ => Ok(()),
    }
}

/// Whether a `Host` is a name, an IPv4 address or an IPv6 address in brackets, with or without a port (RFC 9110,
/// section 7.2; RFC 3986, section 3.2). The name may be empty.
fn is_valid(host: &[u8]) -> bool {
    let is_address = |byte: &u8| byte.is_ascii_alphanumeric() || b":.-_~!$&'()*+,;=".contains(byte);
    let is_name = |byte: &u8| *byte == b'%' || *byte != b':' && is_address(byte);
    let (is_host, port) = if let Some(rest) = host.strip_prefix(b"[") {
        let end = rest.iter().position(|byte| *byte == b']').unwrap_or(0);
        (end > 0 && rest[..end].iter().all(is_address), rest.get(end + 1..).unwrap_or_default())
    } else {
        let end = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
        (host[..end].iter().all(is_name), &host[end..])
    };
    is_host && (port.is_empty() || port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_may_have_a_port() {
        for host in ["", "a", "wallet:5000", "wallet.example.com", "127.0.0.1:5000", "[::1]", "[::1]:5000", "a_b%20c:"]
        {
            assert!(is_valid(host.as_bytes()), "{host:?}");
        }
        for host in
            ["a b", "a/b", "user@a", "a:b", "a:1:2", "::1", "[", "[]", "[::1", "[::1]5000", "[::1]:x", "a,\u{e4}"]
        {
            assert!(!is_valid(host.as_bytes()), "{host:?}");
        }
    }

    #[test]
    fn the_authority_of_http_2_is_its_host_and_a_second_one_must_say_the_same() {
        let checked = |uri: &'static str, host: Option<&'static str>| {
            let host = host.map(|host| (HOST, HeaderValue::from_static(host)));
            check(Version::HTTP_2, &Uri::from_static(uri), &host.into_iter().collect())
                .map_err(|problem| problem.message)
        };
        for (uri, host) in
            [("https://a:1/x", None), ("https://a/x", Some("a")), ("https://[::1]/", None), ("/x", Some("a"))]
        {
            assert_eq!(checked(uri, host), Ok(()), "{uri} {host:?}");
        }
        for (uri, host, said) in [
            ("/x", None, "Host is missing from the request"),
            ("https://a/x", Some("b"), "Host is given more than once"),
            ("https://user@a/x", None, "Host is not valid"),
        ] {
            assert_eq!(checked(uri, host), Err(said.to_owned()), "{uri} {host:?}");
        }
    }
}
