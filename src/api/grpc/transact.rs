//! The stream of commands: each answered once, in order.
//!
//! A task reads what has come and queues it together. The response stream waits for the replies in turn. A limited
//! number of commands may lie between them, so a client that does not read its answers is soon read no further: it
//! slows only itself.

use std::future;
use std::sync::Arc;

use futures::future::BoxFuture;
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
use crate::api::actor::Actor;
use crate::api::group::{Group, Outcomes, Places};
use crate::api::reason::{Problem, Reason};
use crate::engine::Ledger;
use crate::ledger::Command;

/// What the response stream waits for next.
enum Pending {
    /// The outcomes of commands that came together.
    Group(Queued),
    /// Nothing: after all that came before, the stream ends with this.
    End(Status),
}

/// Who sends a stream's commands, to whom, and until when.
pub struct Sender {
    pub actor: Arc<Actor>,
    pub ledger: Ledger,
    pub deadline: Option<Instant>,
}

/// Commands that came together.
struct Queued {
    /// Of all.
    places: Places,
    /// Of those that were queued, in order.
    outcomes: BoxFuture<'static, Outcomes>,
    /// One for each command, held until it is answered.
    _permits: OwnedSemaphorePermit,
}

/// The answers to the commands of `requests`, in their order. The stream ends when they do. It ends with an error,
/// after all that was accepted, when `deadline` passes, when `shutdown` is cancelled, or when bytes come that are no
/// message.
pub fn answers(
    sender: Sender,
    requests: Streaming<TransactRequest>,
    in_flight_max: usize,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<TransactResponse, Status>> + Send {
    let (queue, pending) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(in_flight_max.max(sender.ledger.group_size_max())));
    let span = Span::current();
    tokio::spawn(read(sender, requests, permits, queue, shutdown).in_current_span());
    let answer = move |pending| answer(pending).instrument(span.clone());
    UnboundedReceiverStream::new(pending).then(answer).flat_map(stream::iter)
}

async fn read(
    sender: Sender,
    requests: Streaming<TransactRequest>,
    permits: Arc<Semaphore>,
    pending: mpsc::UnboundedSender<Pending>,
    shutdown: CancellationToken,
) {
    let end = tokio::select! {
        end = queue(&sender, requests, permits, &pending) => end,
        () = shutdown.cancelled() => Err(Problem::from(Reason::Unavailable).into()),
        denied = sender.actor.denied() => Err(denied.into()),
        () = until_deadline(sender.deadline) => Err(Problem::from(Reason::Deadline).into()),
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
    Sender { actor, ledger, deadline }: &Sender,
    requests: Streaming<TransactRequest>,
    permits: Arc<Semaphore>,
    pending: &mpsc::UnboundedSender<Pending>,
) -> Result<(), Status> {
    let mut requests = requests.ready_chunks(ledger.group_size_max());
    while let Some(chunk) = requests.next().await {
        let (Group { commands, places }, end) = group(actor, chunk);
        let size = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let permits = Arc::clone(&permits).acquire_many_owned(size).await.expect("it is never closed");
        // To wait for them may have taken longer than the token was valid.
        actor.recheck()?;
        let replies = ledger.enqueue(commands, *deadline).await.map_err(Problem::from)?;
        // Nothing is awaited in between: what was queued will be answered, wherever this is cancelled.
        let outcomes = places.outcomes(actor, replies.outcomes());
        let _ = pending.send(Pending::Group(Queued { places, outcomes, _permits: permits }));
        end?;
    }
    Ok(())
}

/// The commands of a chunk, and whether the stream broke.
fn group(actor: &Actor, chunk: Vec<Result<TransactRequest, Status>>) -> (Group, Result<(), Status>) {
    let mut group = Group::with_capacity(chunk.len());
    for request in chunk {
        match request {
            Ok(request) => group.push(actor, Command::try_from(request)),
            Err(status) => return (group, Err(status::normal(status))),
        }
    }
    (group, Ok(()))
}

async fn until_deadline(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline).await,
        None => future::pending().await,
    }
}

async fn answer(pending: Pending) -> Vec<Result<TransactResponse, Status>> {
    let Queued { places, outcomes, _permits } = match pending {
        Pending::Group(group) => group,
        Pending::End(status) => return vec![Err(status)],
    };
    let outcomes = outcomes.await;
    let answer = |outcome: Result<_, _>| Ok(outcome.and_then(|outcome| convert::applied(&outcome)).into());
    places.answers(outcomes).map(answer).collect()
}
