//! Serves both APIs until the process is told to stop.

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::server::{Server, raise_file_limit};

/// Serves until the process gets `SIGTERM` or `SIGINT`.
///
/// # Errors
/// If the service cannot start.
///
/// # Panics
/// If the system cannot start the threads that serve.
#[tokio::main]
pub async fn run(settings: Settings) -> Result<()> {
    raise_file_limit();
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
        tracing::info!("stopping");
        stop.cancel();
        // Both signals stay caught: a second one must not cut off what the first lets finish, and that takes seconds.
    });
    let server = Server::start(settings).await?;
    tracing::info!(http = %server.http_addr(), grpc = %server.grpc_addr(), "serving");
    server.run(shutdown).await;
    tracing::info!("stopped");
    Ok(())
}
