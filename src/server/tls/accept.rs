//! The beginning of a connection where TLS is spoken.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io;
use tokio::net::TcpStream;
use tokio::time;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Tls;
use super::certificate::client_certificate;
use super::identity::H2;
use crate::api::peer::ClientCertificate;
use crate::server::limits::{Timeouts, Version};
use crate::telemetry::{AUDIT, Throttle};

/// What the first record of a handshake begins with (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// Where one API accepts connections over TLS.
#[derive(Debug)]
pub struct Door {
    tls: Arc<Tls>,
    /// It is spoken with a client that asks for none.
    version: Version,
    timeouts: Timeouts,
    throttle: Mutex<Throttle>,
}

/// A connection that was accepted.
#[derive(Debug)]
pub enum Accepted {
    Tls {
        stream: Box<TlsStream<TcpStream>>,
        /// What client and service have agreed on.
        version: Version,
        /// The client's certificate, if it has shown one; it was verified.
        certificate: Option<ClientCertificate>,
    },
    /// The client speaks without TLS.
    Plaintext(TcpStream),
}

impl Door {
    pub fn new(tls: Arc<Tls>, version: Version, timeouts: Timeouts) -> Self {
        Self { tls, version, timeouts, throttle: Mutex::default() }
    }

    /// The version of HTTP that is at home here.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Accepts a connection; `None` if the handshake fails, or takes longer than a request's head may.
    pub async fn accept(&self, stream: TcpStream, client: SocketAddr) -> Option<Accepted> {
        match time::timeout(self.timeouts.head_timeout, self.handshake(stream)).await {
            Ok(Ok(accepted)) => Some(accepted),
            Ok(Err(error)) => {
                self.log(client, &error);
                None
            }
            Err(_) => {
                tracing::debug!(%client, "a connection is closed: its TLS handshake took too long");
                None
            }
        }
    }

    async fn handshake(&self, stream: TcpStream) -> io::Result<Accepted> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first != [HANDSHAKE] {
            return Ok(Accepted::Plaintext(stream));
        }
        let stream = TlsAcceptor::from(self.tls.config(self.version)).accept(stream).await?;
        let (_, session) = stream.get_ref();
        let version = match session.alpn_protocol() {
            Some(H2) => Version::Http2,
            Some(_) => Version::Http1,
            None => self.version,
        };
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let certificate = shown.map(client_certificate).transpose().map_err(io::Error::other)?;
        Ok(Accepted::Tls { stream: Box::new(stream), version, certificate })
    }

    /// Logs why a handshake failed. A certificate that is refused concerns the operator; all else is anybody's noise.
    fn log(&self, client: SocketAddr, error: &io::Error) {
        let cause = error.get_ref().and_then(|error| error.downcast_ref());
        if !matches!(cause, Some(rustls::Error::InvalidCertificate(_))) {
            tracing::debug!(%client, %error, "a TLS handshake failed");
            return;
        }
        if let Some(suppressed) = self.throttle.lock().ok().and_then(|mut throttle| throttle.pass()) {
            let client = client.ip().to_canonical();
            tracing::warn!(target: AUDIT, %client, %error, suppressed, "a client's certificate is refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::config::TlsFiles;

    #[tokio::test]
    async fn a_client_that_shows_a_certificate_is_known_by_its_names() {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([name.to_owned()]).unwrap();
            (params.signed_by(&key, &ca).unwrap(), key)
        };
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, pem: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        let (server, server_key) = issue("localhost");
        let (cert, key) = (at("server.crt", server.pem()), at("server.key", server_key.serialize_pem()));
        let tls = Tls::read(TlsFiles { cert, key, client_ca: Some(at("ca.crt", ca.pem())) }).unwrap();
        let door = Door::new(Arc::new(tls), Version::Http2, Timeouts::default());
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (engine, engine_key) = issue("engine.example");
        let engine_key = PrivateKeyDer::try_from(engine_key.serialize_der()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let nameless = builder.clone().with_no_client_auth();
        let named = builder.with_client_auth_cert(vec![engine.der().clone()], engine_key).unwrap();
        for (config, expected) in [(named, &["engine.example"][..]), (nameless, &[])] {
            let connector = TlsConnector::from(Arc::new(config));
            let client = async {
                let stream = TcpStream::connect(addr).await.unwrap();
                connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
            };
            let accepted = async {
                let (stream, client) = listener.accept().await.unwrap();
                door.accept(stream, client).await
            };
            let (_client, accepted) = tokio::join!(client, accepted);
            let Some(Accepted::Tls { version, certificate, .. }) = accepted else { panic!("{accepted:?}") };
            let names = certificate.map(|shown| shown.names).unwrap_or_default();
            assert_eq!((version, names), (Version::Http2, expected.iter().map(ToString::to_string).collect()));
        }
    }
}
