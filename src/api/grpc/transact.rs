//! The stream of commands: each answered once, in order.
//!
//! A task reads what has come and queues it together; the response stream waits for the answers in turn. Between them
//! lies room for so many commands and no more, so a client that does not read its answers is soon read no further: it
//! slows only itself.

use std::future;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{self, Instant};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::Instrument;

use super::convert;
use super::proto::{TransactRequest, TransactResponse};
use super::status;
use crate::api::reason::{Problem, Reason};
use crate::engine::{Answers, Engine};
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
    /// Of each, in order: why it was refused at once, malformed or negative; or nothing, if it was queued.
    refused: Vec<Option<Problem>>,
    /// Of those that were queued, in order.
    queued: Answers,
    /// The room that they take until they are answered.
    _room: OwnedSemaphorePermit,
}

/// The answers to the commands of `requests`, in their order. The stream ends when they do; with an error when
/// `deadline` passes, when `shutdown` is cancelled, or when what comes is no message: after all that was accepted.
pub fn answers(
    engine: Engine,
    requests: Streaming<TransactRequest>,
    deadline: Option<Instant>,
    in_flight_max: usize,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<TransactResponse, Status>> + Send {
    let (sender, pending) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(in_flight_max.max(engine.group_size_max())));
    tokio::spawn(read(engine, requests, deadline, room, sender, shutdown).in_current_span());
    UnboundedReceiverStream::new(pending).then(answer).flat_map(stream::iter)
}

async fn read(
    engine: Engine,
    requests: Streaming<TransactRequest>,
    deadline: Option<Instant>,
    room: Arc<Semaphore>,
    pending: mpsc::UnboundedSender<Pending>,
    shutdown: CancellationToken,
) {
    let end = tokio::select! {
        end = queue(engine, requests, deadline, room, &pending) => end,
        () = shutdown.cancelled() => Err(Problem::from(Reason::Unavailable).into()),
        () = until_deadline(deadline) => Err(Problem::from(Reason::Deadline).into()),
        // The client is gone. What was queued is decided all the same.
        () = pending.closed() => Ok(()),
    };
    if let Err(status) = end {
        // If the client is gone, nobody wants to know.
        let _ = pending.send(Pending::End(status));
    }
}

/// Queues commands for as long as they come, those together that have come together.
async fn queue(
    engine: Engine,
    requests: Streaming<TransactRequest>,
    deadline: Option<Instant>,
    room: Arc<Semaphore>,
    pending: &mpsc::UnboundedSender<Pending>,
) -> Result<(), Status> {
    let mut requests = requests.ready_chunks(engine.group_size_max());
    while let Some(chunk) = requests.next().await {
        let (commands, refused, end) = partition(chunk);
        let size = u32::try_from(refused.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&room).acquire_many_owned(size).await.expect("it is never closed");
        let queued = engine.enqueue(commands, deadline).await.map_err(Problem::from)?;
        // Nothing is awaited in between: what was queued will be answered, wherever this is cancelled.
        let _ = pending.send(Pending::Group(Group { refused, queued, _room: room }));
        end?;
    }
    Ok(())
}

/// The commands of a chunk; why others were refused, with a place for each of both; and whether the stream broke.
fn partition(chunk: Vec<Result<TransactRequest, Status>>) -> (Vec<Command>, Vec<Option<Problem>>, Result<(), Status>) {
    let (mut commands, mut refused) = (Vec::with_capacity(chunk.len()), Vec::with_capacity(chunk.len()));
    for request in chunk {
        match request.map(Command::try_from) {
            Ok(Ok(command)) => {
                commands.push(command);
                refused.push(None);
            }
            Ok(Err(problem)) => refused.push(Some(problem)),
            Err(status) => return (commands, refused, Err(status::framework(&status))),
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
    let Group { refused, queued, _room } = match pending {
        Pending::Group(group) => group,
        Pending::End(status) => return vec![Err(status)],
    };
    let outcomes = queued.outcomes().await;
    let mut outcomes = match outcomes {
        Ok(outcomes) => outcomes.into_iter(),
        // Whoever stopped the engine left these commands to their fate.
        Err(error) => vec![Err(error); refused.len()].into_iter(),
    };
    let answer = |refused: Option<Problem>| {
        let result = match refused {
            Some(problem) => Err(problem),
            None => outcomes
                .next()
                .expect("each command that was queued has its outcome")
                .map_err(Problem::from)
                .and_then(|outcome| convert::applied(&outcome)),
        };
        Ok(result.into())
    };
    refused.into_iter().map(answer).collect()
}
