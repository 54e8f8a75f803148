//! A small HTTP server, with TLS if a test wants it: what a relay talks to is one.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A certificate for `localhost` that nobody trusts who is not told to.
pub struct Identity {
    /// The certificate, as `SSL_CERT_FILE` takes it.
    pub pem: String,
    config: ServerConfig,
}

impl Identity {
    /// A new one, for a server that speaks these protocols.
    pub fn new(protocols: &[&[u8]]) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(vec![cert.der().clone()], key).expect("key and certificate belong");
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Self { pem: cert.pem(), config }
    }
}

/// Serves on a free port until the runtime ends. A service that fails closes its connection.
pub async fn serve<S, B>(identity: Option<&Identity>, service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let tls = identity.map(|identity| TlsAcceptor::from(Arc::new(identity.config.clone())));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let (tls, service) = (tls.clone(), service.clone());
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                // Whatever ends a connection here, the relay must notice by itself.
                let _ = match tls {
                    None => builder.serve_connection(TokioIo::new(stream), service).await,
                    Some(tls) => {
                        let Ok(stream) = tls.accept(stream).await else { return };
                        builder.serve_connection(TokioIo::new(stream), service).await
                    }
                };
            });
        }
    });
    addr
}
