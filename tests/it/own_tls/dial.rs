//! Clients that speak TLS, well or not.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::Request;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio::select;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::support::authority::{Authority, Issued};
use crate::support::http::HttpReply;

pub const HTTP1: &[&str] = &["http/1.1"];
pub const HTTP2: &[&str] = &["h2"];
pub const HEALTHCHECK: &str = "/api/v1/healthcheck";

/// How clients connect.
#[derive(Clone)]
pub struct Dialer {
    ca: String,
    config: ClientConfig,
}

/// One connection to the REST API.
pub enum Connection {
    /// hyper leaves a request without an answer for ever if the connection ends just when it is sent
    /// (hyperium/hyper#4122), so the end of the connection is waited for as well.
    Http1(http1::SendRequest<Full<Bytes>>, CancellationToken),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Dialer {
    pub fn trusting(authority: &Authority) -> Self {
        Self::new(authority, None, rustls::DEFAULT_VERSIONS)
    }

    /// The same with a certificate of its own.
    pub fn with_certificate(authority: &Authority, issued: &Issued) -> Self {
        Self::new(authority, Some(issued), rustls::DEFAULT_VERSIONS)
    }

    pub fn new(authority: &Authority, issued: Option<&Issued>, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).expect("a CA");
        let builder = ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
        let config = match issued {
            None => builder.with_no_client_auth(),
            Some(issued) => builder.with_client_auth_cert(vec![issued.der()], issued.key()).expect("they belong"),
        };
        Self { ca: authority.pem(), config }
    }

    /// A connection whose handshake is done, on which nothing was sent.
    pub async fn handshake(&self, addr: SocketAddr, protocols: &[&str]) -> io::Result<TlsStream<TcpStream>> {
        self.handshake_over(TcpStream::connect(addr).await?, protocols).await
    }

    pub async fn handshake_over(&self, stream: TcpStream, protocols: &[&str]) -> io::Result<TlsStream<TcpStream>> {
        let mut config = self.config.clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// A connection to the REST API in what the service chooses of these protocols.
    pub async fn connect(&self, addr: SocketAddr, protocols: &[&str]) -> io::Result<Connection> {
        let stream = self.handshake(addr, protocols).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        if is_http2 {
            let handshake = http2::handshake(TokioExecutor::new(), io).await;
            let (sender, connection) = handshake.map_err(io::Error::other)?;
            tokio::spawn(connection);
            Ok(Connection::Http2(sender))
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
            let ended = CancellationToken::new();
            let end = ended.clone().drop_guard();
            tokio::spawn(async move {
                let _end = end;
                connection.await
            });
            Ok(Connection::Http1(sender, ended))
        }
    }

    /// One call to the REST API on a connection of its own.
    pub async fn get(&self, addr: SocketAddr, protocols: &[&str], path: &str) -> io::Result<HttpReply> {
        self.connect(addr, protocols).await?.request("GET", path, "").await
    }

    /// A connection to the gRPC API, without a certificate.
    pub async fn channel(&self, addr: SocketAddr) -> Channel {
        self.channel_of(addr, ClientTlsConfig::new()).await
    }

    /// The same with a certificate.
    pub async fn channel_with(&self, addr: SocketAddr, issued: &Issued) -> Channel {
        let (certificate, key) = issued.pem();
        self.channel_of(addr, ClientTlsConfig::new().identity(Identity::from_pem(certificate, key))).await
    }

    async fn channel_of(&self, addr: SocketAddr, tls: ClientTlsConfig) -> Channel {
        let tls = tls.ca_certificate(Certificate::from_pem(&self.ca)).domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://{addr}")).expect("an address");
        endpoint.tls_config(tls).expect("TLS").connect().await.expect("the gRPC API answers")
    }
}

impl Connection {
    pub async fn request(&mut self, method: &str, path: &str, json: &str) -> io::Result<HttpReply> {
        let request = Request::builder().method(method).header("content-type", "application/json");
        let body = Full::from(json.to_owned());
        let response = match self {
            Self::Http1(sender, ended) => {
                sender.ready().await.map_err(io::Error::other)?;
                let request = request.uri(path).header("host", "localhost");
                select! {
                    biased;
                    response = sender.send_request(request.body(body).expect("a request")) => response,
                    () = ended.cancelled() => return Err(io::ErrorKind::ConnectionReset.into()),
                }
            }
            Self::Http2(sender) => {
                sender.ready().await.map_err(io::Error::other)?;
                let request = request.uri(format!("https://localhost{path}"));
                sender.send_request(request.body(body).expect("a request")).await
            }
        };
        let response = response.map_err(io::Error::other)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(HttpReply { status, headers, body })
    }
}
