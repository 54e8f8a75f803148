//! Serves both APIs until the process is told to stop.

use std::future::pending;
use std::time::Duration;

use anyhow::Result;
use tokio::runtime::{Handle, Runtime};
use tokio::task;
use tracing::field::display;

use super::stop;
use crate::config::Settings;
use crate::server::{AddrFile, ServedAt, Server, Tls, raise_file_limit};

/// How long what blocks a thread may delay the end of the process: a ledger that is still being opened, say.
const BLOCKED_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until the process gets `SIGTERM` or `SIGINT`.
///
/// # Errors
/// If the service cannot start.
pub fn run(settings: Settings) -> Result<()> {
    let runtime = Runtime::new()?;
    let served = runtime.block_on(serve(settings));
    runtime.shutdown_timeout(BLOCKED_TIMEOUT);
    served
}

async fn serve(settings: Settings) -> Result<()> {
    raise_file_limit();
    let shutdown = stop::on_signal()?;
    let (ledger, currency) = (settings.database.url.clone(), settings.currency);
    // On a thread of its own: to open a ledger may take long, and blocks.
    let start = task::spawn_blocking(|| Handle::current().block_on(Server::start(settings)));
    if let Some(started) = shutdown.run_until_cancelled(start).await {
        let server = started??;
        let (http, grpc) = (server.http_addr(), server.grpc_addr());
        let (metrics, tls) = (server.metrics_addr().map(display), server.tls());
        let served_at = ServedAt { http, grpc, certificate: tls.as_ref().map(|tls| tls.fingerprint()) };
        let addr_file = served_at.write(&ledger).unwrap_or_else(|error| {
            tracing::warn!(%error, "`wallet healthcheck` needs --http-addr: cannot write beside the database");
            None
        });
        let version = env!("CARGO_PKG_VERSION");
        let has_tls = tls.is_some();
        tracing::info!(%http, %grpc, metrics, %currency, database = %ledger, tls = has_tls, version, "serving");
        let stopping = async {
            let mut addr_file = addr_file;
            shutdown.run_until_cancelled(follow(tls.as_deref(), addr_file.as_mut(), served_at)).await;
            // While the database is this process's still: the next one writes a file of its own.
            drop(addr_file);
        };
        tokio::join!(server.run(shutdown.clone()), stopping);
    }
    tracing::info!("stopped");
    Ok(())
}

/// Keeps the file of the addresses true when the certificate is replaced.
async fn follow(tls: Option<&Tls>, addr_file: Option<&mut AddrFile>, served_at: ServedAt) {
    let (Some(tls), Some(addr_file)) = (tls, addr_file) else { return pending().await };
    let mut fingerprint = tls.fingerprint();
    loop {
        if let Err(error) = addr_file.replace(ServedAt { certificate: Some(fingerprint), ..served_at }) {
            tracing::warn!(%error, "`wallet healthcheck` does not know the new certificate: cannot write beside the \
                                    database");
        }
        fingerprint = tls.replaced(fingerprint).await;
    }
}
