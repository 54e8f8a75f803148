//! Posts a running service's entries to a URL: in order, in signed batches, at least once.
//!
//! A batch is written to the cursor file before it is posted for the first time. So it is posted again as it was, with
//! the same id, whatever stops the relay.

mod batch;
mod cursor_file;
mod feed;
mod receiver;
mod retry;
mod signature;

use std::time::Duration;

use anyhow::{Result, bail};
use tokio_util::sync::CancellationToken;

use self::batch::Batch;
use self::cursor_file::{CursorFile, Route};
use self::feed::{Feed, Next};
use self::receiver::{PostError, Receiver};
use self::retry::Retry;
use super::{client, stop};
use crate::config::RelayArgs;

/// Relays until the process gets `SIGTERM` or `SIGINT`.
///
/// # Errors
/// If the relay cannot start or keep its cursor, if the receiver wants no more, or if the service refuses it.
///
/// # Panics
/// If the system cannot start the runtime.
#[tokio::main(flavor = "current_thread")]
pub async fn run(args: &RelayArgs) -> Result<()> {
    let shutdown = stop::on_signal()?;
    let receiver = Receiver::new(args)?;
    let route = Route::new(args);
    let client = client::connect(&args.service)?;
    let file = CursorFile::open(&args.cursor_file, &route, args.after.as_deref())?;
    let feed = Feed::new(client, args, file.reached());
    let retry = Retry::new("receiver", Duration::from_millis(args.retry_max_ms));
    let (service, to, version) = (&route.server, receiver.shown(), env!("CARGO_PKG_VERSION"));
    tracing::info!(%service, %to, cursor_file = %args.cursor_file.display(), version, "relaying");
    Relay { feed, file, receiver, retry, shutdown }.run().await?;
    tracing::info!("stopped");
    Ok(())
}

/// The parts of a running relay.
struct Relay {
    feed: Feed,
    file: CursorFile,
    receiver: Receiver,
    /// How the receiver is.
    retry: Retry,
    shutdown: CancellationToken,
}

impl Relay {
    async fn run(mut self) -> Result<()> {
        if let Some(batch) = self.file.pending().cloned() {
            self.deliver(&batch).await?;
        }
        while let Some(next) = self.shutdown.clone().run_until_cancelled(self.feed.next()).await {
            match next? {
                Next::Batch(batch) => {
                    self.file.begin(&batch)?;
                    self.deliver(&batch).await?;
                }
                Next::Nothing { cursor } => self.file.advance(cursor)?,
            }
        }
        Ok(())
    }

    /// Posts a batch until the receiver has taken it, or the relay is told to stop. The post under way is finished.
    async fn deliver(&mut self, batch: &Batch) -> Result<()> {
        while !self.shutdown.is_cancelled() {
            match self.receiver.post(batch).await {
                Ok(()) => {
                    self.retry.succeeded();
                    return self.file.finish();
                }
                Err(PostError::Gone) => {
                    bail!("{} answered 410 Gone and wants no more entries; nothing was skipped", self.receiver.shown())
                }
                Err(PostError::Failed { cause, retry_after }) => {
                    // The service keeps nothing ready for a relay that cannot go on.
                    self.feed.close();
                    let wait = self.retry.failed(&cause).max(retry_after.unwrap_or_default());
                    self.shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
                }
            }
        }
        Ok(())
    }
}
