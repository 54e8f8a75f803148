//! Whom entries are posted to.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, Request, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};
use tokio::time::{Instant, timeout_at};

use super::batch::Batch;
use super::signature::Secrets;
use crate::cli::Usage;
use crate::config::RelayArgs;
use crate::engine::{Clock as _, SystemClock};

/// What the relay calls itself.
const AGENT: &str = concat!("wallet-relay/", env!("CARGO_PKG_VERSION"));
/// The longest answer that is read to its end, in bytes. Behind a longer one the connection is not used again.
const ANSWER_SIZE_MAX: usize = 64 * 1024;
/// The longest wait that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Whom entries are posted to, and how.
pub struct Receiver {
    to: Uri,
    secrets: Secrets,
    timeout: Duration,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why a post was not taken.
#[derive(Debug)]
pub enum PostError {
    /// The receiver wants no more.
    Gone,
    /// It may be taken at a later attempt.
    Failed {
        cause: String,
        /// How long the receiver wants to be left alone.
        retry_after: Option<Duration>,
    },
}

impl Receiver {
    /// The receiver that the settings name.
    ///
    /// # Errors
    /// If it must not be posted to, there is no secret to sign with, or no certificate is trusted here.
    pub fn new(args: &RelayArgs) -> Result<Self> {
        let to = args.to.clone();
        let is_https = to.scheme() == Some(&Scheme::HTTPS);
        if !is_https && !args.insecure_http && !to.authority().is_some_and(is_loopback) {
            let what = "http would send entries to another machine without encryption";
            return Err(Usage(format!("{what}; use https, or --insecure-http if you mean it")).into());
        }
        let secrets = Secrets::read(args)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls(is_https)?).https_or_http();
        let client = Client::builder(TokioExecutor::new()).build(connector.enable_http1().build());
        Ok(Self { to, secrets, timeout: Duration::from_millis(args.timeout_ms), client })
    }

    /// The receiver for the log and for messages: its path may be a secret.
    pub fn shown(&self) -> String {
        let (scheme, authority) = (self.to.scheme_str(), self.to.authority().map(Authority::as_str));
        format!("{}://{}", scheme.unwrap_or_default(), authority.unwrap_or_default())
    }

    /// Posts a batch once.
    ///
    /// # Errors
    /// [`PostError`] if the receiver does not say in time that it has taken it (2xx). A redirect is not followed.
    pub async fn post(&self, batch: &Batch) -> Result<(), PostError> {
        let request = self.request(batch).map_err(|error| failed(format!("{error:#}"), None))?;
        let deadline = Instant::now() + self.timeout;
        let answered = timeout_at(deadline, self.client.request(request)).await;
        let answer = answered
            .map_err(|_| failed(format!("no answer within {} ms", self.timeout.as_millis()), None))?
            .map_err(|error| failed(format!("{:#}", anyhow::Error::new(error)), None))?;
        let (head, body) = answer.into_parts();
        // Read to its end, so that the connection can be used again. The status has said all.
        let _ = timeout_at(deadline, Limited::new(body, ANSWER_SIZE_MAX).collect()).await;
        match head.status {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(PostError::Gone),
            status => Err(failed(format!("it answered {status}"), retry_after(&head.headers))),
        }
    }

    fn request(&self, batch: &Batch) -> Result<Request<Full<Bytes>>> {
        // The time of the attempt, not of the entries: receivers refuse what was signed long ago.
        let timestamp = SystemClock.now().microseconds() / 1_000_000;
        let request = Request::post(&self.to)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header(HEADER_WEBHOOK_ID, &batch.id)
            .header(HEADER_WEBHOOK_TIMESTAMP, timestamp)
            .header(HEADER_WEBHOOK_SIGNATURE, self.secrets.sign(&batch.id, timestamp, &batch.body)?);
        Ok(request.body(Full::from(batch.body.clone()))?)
    }
}

fn failed(cause: String, retry_after: Option<Duration>) -> PostError {
    PostError::Failed { cause, retry_after }
}

/// Whom TLS trusts: the system's certificates; nobody, where no TLS is used.
fn tls(is_used: bool) -> Result<ClientConfig> {
    let config = ClientConfig::builder();
    let config = if is_used {
        config.with_native_roots().context("cannot use TLS: this system trusts no certificate")?
    } else {
        config.with_root_certificates(RootCertStore::empty())
    };
    Ok(config.with_no_client_auth())
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// How long the receiver wants to be left alone: a number of seconds, or until a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = text.parse().ok().map(Duration::from_secs).or_else(|| {
        let at = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        let now = u64::try_from(SystemClock.now().microseconds()).ok()?;
        Some(at.saturating_sub(Duration::from_micros(now)))
    });
    wait.map(|wait| wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_machine() {
        for (host, expected) in [
            ("127.0.0.1:80", true),
            ("[::1]:80", true),
            ("LOCALHOST", true),
            ("10.0.0.1", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
        ] {
            assert_eq!(is_loopback(&host.parse().unwrap()), expected, "{host}");
        }
    }

    #[test]
    fn a_receiver_may_say_when_to_try_again() {
        let wait = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers)
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("86400"), Some(RETRY_AFTER_MAX));
        assert_eq!(wait("Tue, 31 Dec 2199 23:59:59 GMT"), Some(RETRY_AFTER_MAX));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
