//! The other end of a connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

tokio::task_local! {
    /// An extension of the request would cost each call several allocations.
    static CURRENT: Arc<Peer>;
}

/// Who is connected. While a call runs, [`current`](Self::current) is the one that has sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where the connection comes from: the client, or a proxy in front of it.
    pub addr: SocketAddr,
    /// The names in the client's certificate, which was verified: those of the subject alternative name (DNS names and
    /// URIs), or else the common name. Empty if it has brought none.
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
