//! The other end of a connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::ledger::Timestamp;

tokio::task_local! {
    /// An extension of the request would cost each call several allocations.
    static CURRENT: Arc<Peer>;
}

/// Who is connected. While a call runs, [`current`](Self::current) is the one that has sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where the connection comes from: the client, or a proxy in front of it.
    pub addr: SocketAddr,
    /// The client's certificate, if it has shown one.
    pub certificate: Option<ClientCertificate>,
}

/// A client's certificate, which was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its names: those of the subject alternative name (DNS names and URIs), or else the common name.
    pub names: Vec<String>,
    /// When it ends: its connection may last longer.
    pub not_after: Timestamp,
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
        Self { addr, certificate: None }
    }

    /// Runs a part of a call that this peer has sent.
    pub fn run<T>(self: &Arc<Self>, part: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(Arc::clone(self), part)
    }

    /// Who has sent the call that runs here.
    #[must_use]
    pub fn current() -> Arc<Self> {
        CURRENT.try_with(Arc::clone).unwrap_or_default()
    }
}
