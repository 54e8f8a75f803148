//! How a command that runs on is told to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled when the process gets `SIGTERM` or `SIGINT`.
///
/// # Errors
/// If the signals cannot be caught.
pub fn on_signal() -> io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
        tracing::info!("stopping");
        stop.cancel();
        // Both signals stay caught: a second one must not cut off what the first lets finish, and that takes seconds.
    });
    Ok(shutdown)
}
