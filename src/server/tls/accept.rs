//! The beginning of a connection where TLS is spoken.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io;
use tokio::net::TcpStream;
use tokio::time;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Tls;
use super::certificate::names;
use super::identity::H2;
use crate::server::limits::{Timeouts, Version};
use crate::telemetry::Throttle;

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
        /// The names in the client's certificate, if it has shown one; each was verified.
        names: Vec<String>,
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
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let names = certificate.map(names).transpose().map_err(io::Error::other)?.unwrap_or_default();
        Ok(Accepted::Tls { stream: Box::new(stream), version, names })
    }

    /// Logs why a handshake failed. A certificate that is refused concerns the operator; all else is anybody's noise.
    fn log(&self, client: SocketAddr, error: &io::Error) {
        let cause = error.get_ref().and_then(|error| error.downcast_ref());
        if !matches!(cause, Some(rustls::Error::InvalidCertificate(_))) {
            tracing::debug!(%client, %error, "a TLS handshake failed");
            return;
        }
        if let Some(suppressed) = self.throttle.lock().ok().and_then(|mut throttle| throttle.pass()) {
            tracing::warn!(%client, %error, suppressed, "a client's certificate is refused");
        }
    }
}
