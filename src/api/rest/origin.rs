//! Refuses what a page of another origin makes a browser send.
//!
//! A browser says where a request comes from, in `Origin` (RFC 6454) and in `Sec-Fetch-Site` (Fetch Metadata, W3C), and
//! no page can change what it says. Every browser sends `Origin` with every request that may move something. Engines
//! send neither header, and notice nothing.
//!
//! DNS rebinding gets around both: the page's own name is made to point at the wallet, so that the two have one origin.
//! So a page may only move something under an address or a name that nobody else can own.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};

use super::error::Failure;
use super::host::{self, Authority};
use crate::access::Access;
use crate::api::actor;
use crate::api::reason::{Problem, Reason};

/// How the origin of whoever sends a request is to the service: `same-origin`, `same-site`, `cross-site`, or `none` for
/// what a person does in the browser itself.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How a request is made: `navigate` if its answer is to be shown as a page.
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

const OTHER_SITE: &str = "A page of another origin may not do this: Sec-Fetch-Site is neither same-origin nor none";
const OTHER_ORIGIN: &str = "A page of another origin may not do this: Origin is not the Host of the request";
const OTHER_NAME: &str =
    "A page may not do this under this Host: it is no IP address, not localhost, and not in WALLET_ALLOWED_HOSTS";

/// The host names under which a page may move something, besides IP addresses and `localhost`.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts(Vec<String>);

impl FromIterator<String> for AllowedHosts {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl AllowedHosts {
    /// The answer to a request that a page sends and may not; `None` for all others. Every page that is turned
    /// away comes through here.
    pub(super) fn refusal(&self, request: &Request, access: &Access) -> Option<Response> {
        let message = self.check(request).err()?.to_owned();
        actor::log_page(access, request.headers(), &message);
        Some(Failure::from(Problem { message, ..Reason::Forbidden.into() }).into_response())
    }

    fn check(&self, request: &Request) -> Result<(), &'static str> {
        let headers = request.headers();
        let is_from_page = headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_SITE);
        if !is_from_page {
            return Ok(());
        }
        let host = host::of(request);
        if !headers.get_all(SEC_FETCH_SITE).iter().all(is_own_site) && !is_link(request) {
            return Err(OTHER_SITE);
        }
        if !is_own_origin(headers, host) {
            return Err(OTHER_ORIGIN);
        }
        // A rebound page's reads carry nothing that tells a page from an engine, so the name is looked at no sooner.
        if !request.method().is_safe() && !host.is_some_and(|host| self.contains(host.host)) {
            return Err(OTHER_NAME);
        }
        Ok(())
    }

    /// Whether nobody else can make this name point at the service: it is an address, stays on this machine (RFC 6761,
    /// section 6.3), or is one of those allowed.
    fn contains(&self, host: &str) -> bool {
        if let Some(address) = host.strip_prefix('[') {
            return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        }
        let top = host.rsplit('.').next().unwrap_or(host);
        host.parse::<Ipv4Addr>().is_ok()
            || top.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

fn is_own_site(site: &HeaderValue) -> bool {
    site == "same-origin" || site == "none"
}

/// Whether a request only follows a link to something that is shown: another page may have links to this one.
fn is_link(request: &Request) -> bool {
    request.method().is_safe() && request.headers().get(SEC_FETCH_MODE).is_some_and(|mode| mode == "navigate")
}

/// Whether `Origin` is absent, or names the host and port that the request is for.
///
/// The scheme is not compared: with a proxy in front, the service does not know the page's.
fn is_own_origin(headers: &HeaderMap, host: Option<Authority>) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next(), host) {
        (None, ..) => true,
        (Some(origin), None, Some(host)) => names(origin, host),
        _ => false,
    }
}

/// Whether an origin names this host and port. What a side leaves out is the default port of the origin's scheme.
fn names(origin: &HeaderValue, host: Authority) -> bool {
    let read = || {
        let (scheme, authority) = origin.to_str().ok()?.split_once("://")?;
        let default = match scheme {
            "http" => 80,
            "https" => 443,
            // Extensions and files are nobody's pages.
            _ => return None,
        };
        let origin = Authority::parse(authority.as_bytes())?;
        let is_same = origin.host.eq_ignore_ascii_case(host.host) && !host.host.is_empty();
        Some(is_same && port(origin, default)? == port(host, default)?)
    };
    read().unwrap_or(false)
}

fn port(authority: Authority, default: u16) -> Option<u16> {
    if authority.port.is_empty() { Some(default) } else { authority.port.parse().ok() }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header::HOST;

    use super::*;

    /// Whether a request with this method and these headers passes, where `wallet.example` is allowed.
    fn passes(method: &str, headers: &[(&str, &str)]) -> bool {
        let request = Request::builder().method(method).uri("/api/v1/charge");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let hosts: AllowedHosts = ["wallet.example".to_owned()].into_iter().collect();
        hosts.refusal(&request.body(Body::empty()).unwrap(), &Access::default()).is_none()
    }

    #[test]
    fn an_engine_passes_whatever_its_host_is() {
        for host in ["evil.example", "10.0.0.7:5000", "", "wallet"] {
            assert!(passes("POST", &[(HOST.as_str(), host)]), "{host}");
        }
        assert!(passes("POST", &[]), "HTTP/1.0");
        // As the HTTP client of Node.js sends it.
        assert!(passes("POST", &[("host", "wallet"), ("sec-fetch-mode", "cors")]));
    }

    #[test]
    fn a_page_of_the_same_origin_passes() {
        for (host, origin) in [
            ("127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("localhost:5000", "http://localhost:5000"),
            ("wallet.localhost:5000", "http://wallet.localhost:5000"),
            ("wallet.example", "https://wallet.example"),
            ("Wallet.Example", "https://wallet.example:443"),
            ("wallet.example:443", "https://wallet.example"),
            ("wallet.example:80", "http://wallet.example"),
            ("wallet.example:", "http://wallet.example"),
        ] {
            for site in ["same-origin", "none"] {
                assert!(passes("POST", &[("host", host), ("origin", origin)]), "{host} {origin}");
                let both = [("host", host), ("origin", origin), ("sec-fetch-site", site)];
                assert!(passes("POST", &both) && passes("DELETE", &both), "{host} {origin} {site}");
            }
        }
        assert!(passes("POST", &[("host", "localhost"), ("sec-fetch-site", "same-origin")]));
    }

    #[test]
    fn a_page_of_another_origin_does_not() {
        for origin in [
            "null",
            "",
            "http://localhost:5001",
            "http://127.0.0.1:5000",
            "http://evil.example:5000",
            "http://localhost",
            "https://localhost",
            "http://localhost:5000/",
            "http://user@localhost:5000",
            "http://localhost:5000 http://evil.example",
            "http://localhost:70536",
            "file://localhost:5000",
            "localhost:5000",
            "//localhost:5000",
        ] {
            assert!(!passes("POST", &[("host", "localhost:5000"), ("origin", origin)]), "{origin}");
        }
        assert!(!passes("POST", &[("host", ""), ("origin", "http://")]));
        assert!(!passes("POST", &[("origin", "http://localhost:5000")]), "without a host there is no own origin");
        let own = ("origin", "http://localhost:5000");
        assert!(!passes("POST", &[("host", "localhost:5000"), own, own]), "an origin given twice");
        for site in ["same-site", "cross-site", "", "Same-Origin", "same-origin, none", "other"] {
            assert!(!passes("POST", &[("host", "localhost"), ("sec-fetch-site", site)]), "{site}");
            assert!(!passes("POST", &[("host", "localhost:5000"), own, ("sec-fetch-site", site)]), "{site}");
        }
        let twice = [("host", "localhost"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")];
        assert!(!passes("POST", &twice));
        assert!(!passes("POST", &[("host", "localhost"), ("origin", "null"), ("sec-fetch-site", "same-origin")]));
        // Whether a form's answer is shown as a page changes nothing.
        let form = [("host", "localhost"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert!(!passes("POST", &form));
    }

    #[test]
    fn a_page_under_a_name_that_somebody_else_may_own_moves_nothing() {
        for host in
            ["evil.example:5000", "localhost.evil.example", "127.0.0.1.evil.example", "wallet.example.", "wallet"]
        {
            let own = format!("http://{host}");
            assert!(!passes("POST", &[("host", host), ("origin", &own)]), "{host}");
            assert!(!passes("POST", &[("host", host), ("sec-fetch-site", "same-origin")]), "{host}");
            // A rebound page is of the same origin, so it may set this header as it likes.
            assert!(!passes("POST", &[("host", host), ("origin", &own), ("authorization", "Bearer x")]), "{host}");
        }
        for host in ["[::1", "[evil.example]", "1.2.3", "0x7f.1"] {
            assert!(!AllowedHosts::default().contains(host), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_origin_may_have_a_link_and_nothing_else() {
        let site = ("sec-fetch-site", "cross-site");
        let host = ("host", "wallet:5000");
        assert!(passes("GET", &[host, site, ("sec-fetch-mode", "navigate")]));
        for mode in ["no-cors", "cors", "same-origin", "websocket"] {
            assert!(!passes("GET", &[host, site, ("sec-fetch-mode", mode)]), "{mode}");
        }
        assert!(!passes("GET", &[host, site]));
        assert!(!passes("GET", &[host, ("origin", "http://evil.example")]), "a browser too old for the other header");
        assert!(!passes("OPTIONS", &[host, site, ("sec-fetch-mode", "cors"), ("origin", "http://evil.example")]));
        assert!(passes("GET", &[host, ("sec-fetch-site", "same-origin")]), "a page that is read needs no setting");
    }
}
