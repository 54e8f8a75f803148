//! The stream of commands: each answered once, in order.
//!
//! A task reads what has come and queues it together. The response stream waits for the replies in turn. A limited
//! number of commands may lie between them, so a client that does not read its answers is soon read no further: it
//! slows only itself.

use std::future;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{self, Instant};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{Instrument, Span};

use super::convert;
use super::proto::{TransactRequest, TransactResponse};
use super::status;
use crate::api::group;
use crate::api::reason::{Problem, Reason};
use crate::engine::{Ledger, Replies};
use crate::ledger::Command;

/// What the response stream waits for next.
enum Pending {
    /// The outcomes of commands that came together.
    Group(Group),
    /// Nothing: after all that came before, the stream ends with this.
    End(Status),
}

/// Commands that came together.
struct Group {
    /// For each, in order: why it was refused at once, malformed or negative; `None` if it was queued.
    refused: Vec<Option<Problem>>,
    /// Of those that were queued, in order.
    queued: Replies,
    /// One for each command, held until it is answered.
    _permits: OwnedSemaphorePermit,
}

/// The answers to the commands of `requests`, in their order. The stream ends when they do. It ends with an error,
/// after all that was accepted, when `deadline` passes, when `shutdown` is cancelled, or when bytes come that are no
/// message.
pub fn answers(
    ledger: Ledger,
    requests: Streaming<TransactRequest>,
    deadline: Option<Instant>,
    in_flight_max: usize,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<TransactResponse, Status>> + Send {
    let (sender, pending) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(in_flight_max.max(ledger.group_size_max())));
    tokio::spawn(read(ledger, requests, deadline, permits, sender, shutdown).in_current_span());
    let span = Span::current();
    let answer = move |pending| answer(pending).instrument(span.clone());
    UnboundedReceiverStream::new(pending).then(answer).flat_map(stream::iter)
}

async fn read(
    ledger: Ledger,
    requests: Streaming<TransactRequest>,
    deadline: Option<Instant>,
    permits: Arc<Semaphore>,
    pending: mpsc::UnboundedSender<Pending>,
    shutdown: CancellationToken,
) {
    let end = tokio::select! {
        end = queue(ledger, requests, deadline, permits, &pending) => end,
        () = shutdown.cancelled() => Err(Problem::from(Reason::Unavailable).into()),
        () = until_deadline(deadline) => Err(Problem::from(Reason::Deadline).into()),
        // The client is gone. What was queued is decided all the same.
        () = pending.closed() => Ok(()),
    };
    if let Err(status) = end {
        // If the client is gone, nobody reads it.
        let _ = pending.send(Pending::End(status));
    }
}

/// Queues commands as they come, grouping those that have already arrived.
async fn queue(
    ledger: Ledger,
    requests: Streaming<TransactRequest>,
    deadline: Option<Instant>,
    permits: Arc<Semaphore>,
    pending: &mpsc::UnboundedSender<Pending>,
) -> Result<(), Status> {
    let mut requests = requests.ready_chunks(ledger.group_size_max());
    while let Some(chunk) = requests.next().await {
        let (commands, refused, end) = partition(chunk);
        let size = u32::try_from(refused.len()).unwrap_or(u32::MAX);
        let permits = Arc::clone(&permits).acquire_many_owned(size).await.expect("it is never closed");
        let queued = ledger.enqueue(commands, deadline).await.map_err(Problem::from)?;
        // Nothing is awaited in between: what was queued will be answered, wherever this is cancelled.
        let _ = pending.send(Pending::Group(Group { refused, queued, _permits: permits }));
        end?;
    }
    Ok(())
}

/// Splits a chunk into the commands, why others were refused (one slot per request), and whether the stream broke.
fn partition(chunk: Vec<Result<TransactRequest, Status>>) -> (Vec<Command>, Vec<Option<Problem>>, Result<(), Status>) {
    let (mut commands, mut refused) = (Vec::with_capacity(chunk.len()), Vec::with_capacity(chunk.len()));
    for request in chunk {
        match request.map(Command::try_from) {
            Ok(Ok(command)) => {
                commands.push(command);
                refused.push(None);
            }
            Ok(Err(problem)) => refused.push(Some(problem)),
            Err(status) => return (commands, refused, Err(status::normal(status))),
        }
    }
    (commands, refused, Ok(()))
}

async fn until_deadline(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline).await,
        None => future::pending().await,
    }
}

async fn answer(pending: Pending) -> Vec<Result<TransactResponse, Status>> {
    let Group { refused, queued, _permits } = match pending {
        Pending::Group(group) => group,
        Pending::End(status) => return vec![Err(status)],
    };
    let outcomes = queued.outcomes().await;
    let answer = |outcome: Result<_, _>| Ok(outcome.and_then(|outcome| convert::applied(&outcome)).into());
    group::answers(refused, outcomes).map(answer).collect()
}
