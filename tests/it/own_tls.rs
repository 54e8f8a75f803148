//! TLS of the service's own: both APIs, client certificates, certificates that are replaced, and hostile clients.

mod certificates;
mod commands;
mod dial;
mod doors;
mod hostile;
mod programs;
mod reload;
mod start;

use tempfile::TempDir;
use wallet::config::TlsArgs;
use wallet::server::Timeouts;

pub use self::dial::{Dialer, HTTP1};
use crate::support::app::App;
use crate::support::authority::{self, Authority};

/// A service with TLS in this process, the CA that vouches for it, and the folder with its files.
struct Secure {
    app: App,
    authority: Authority,
    dir: TempDir,
}

impl Secure {
    async fn spawn() -> Self {
        Self::spawn_with(None, 16_384, Timeouts::default()).await
    }

    async fn spawn_with(clients: Option<&Authority>, connections_max: u32, timeouts: Timeouts) -> Self {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("the service's CA"));
        let tls: TlsArgs = authority::settings(dir.path(), &authority.issue_server(), clients);
        let change = |settings: &mut wallet::config::Settings| {
            settings.tls = tls;
            settings.connections_max = connections_max;
        };
        Self { app: App::spawn_with_timeouts(change, timeouts).await, authority, dir }
    }

    /// Clients that trust the CA and bring no certificate.
    fn dialer(&self) -> Dialer {
        Dialer::trusting(&self.authority)
    }
}
