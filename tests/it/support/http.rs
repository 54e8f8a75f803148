//! A plain HTTP client of the REST API.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

/// hyper leaves a request without an answer for ever if the connection ends just when it is sent (hyperium/hyper#4122).
const NEVER_ANSWERED: Duration = Duration::from_secs(60);

/// A REST answer.
#[derive(Debug)]
pub struct HttpReply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl HttpReply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body is text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header's text; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header is text"))
    }
}

/// A client that sends what it is given, well formed or not.
#[derive(Clone)]
pub struct HttpClient {
    /// `http://` or `https://` and an address.
    origin: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpClient {
    pub fn new(addr: SocketAddr) -> Self {
        Self::with_roots(format!("http://{addr}"), RootCertStore::empty())
    }

    /// One that speaks TLS, and trusts this authority alone.
    pub fn over_tls(addr: SocketAddr, authority: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(authority.as_bytes()).expect("a certificate");
        roots.add(authority).expect("a certificate");
        Self::with_roots(format!("https://{addr}"), roots)
    }

    fn with_roots(origin: String, roots: RootCertStore) -> Self {
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Self { origin, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// `None` if no whole answer came.
    pub async fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Option<HttpReply> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.origin));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let response = timeout(NEVER_ANSWERED, self.client.request(request)).await.ok()?.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some(HttpReply { status, headers, body })
    }

    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> HttpReply {
        self.try_request(method, path, headers, body).await.expect("an answer")
    }

    pub async fn post(&self, path: &str, json: &str) -> HttpReply {
        self.request("POST", path, &[("content-type", "application/json")], json.to_owned()).await
    }

    pub async fn get(&self, path: &str) -> HttpReply {
        self.request("GET", path, &[], "").await
    }
}
