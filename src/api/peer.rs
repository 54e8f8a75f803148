//! The other end of a connection.

use std::net::{Ipv4Addr, SocketAddr};

/// Who is connected. The server puts an `Arc` of it into the extensions of each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where the connection comes from: the client, or a proxy in front of it.
    pub addr: SocketAddr,
    /// The names in the client's certificate, which was verified: first those of the subject alternative name (DNS
    /// names and URIs), then the common name. Empty if it has brought none.
    pub names: Vec<String>,
}

/// Nobody: a request that came over no connection.
impl Default for Peer {
    fn default() -> Self {
        Self::new(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0))
    }
}

impl Peer {
    /// A client without a certificate.
    #[must_use]
    pub const fn new(addr: SocketAddr) -> Self {
        Self { addr, names: Vec::new() }
    }
}
