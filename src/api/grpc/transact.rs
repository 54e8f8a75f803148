//! The stream of commands: each answered once, in order.
//!
//! A task reads commands and queues them; the response stream waits for each answer in turn. Between them lies a
//! bounded channel, so a client that does not read its answers is soon read no further: it slows only itself.

use std::future;

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{self, Instant};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::Instrument;

use super::convert;
use super::proto::{TransactRequest, TransactResponse};
use super::status;
use crate::api::code::{Problem, Reason};
use crate::engine::{Answer, Engine};
use crate::ledger::Command;

/// What the response stream waits for next.
enum Pending {
    /// The outcome of a command that was queued.
    Queued(Answer),
    /// Nothing: the command was malformed or negative, and never queued.
    Refused(Problem),
    /// Nothing: after all that came before, the stream ends with this.
    End(Status),
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
    let (sender, pending) = mpsc::channel(in_flight_max);
    tokio::spawn(read(engine, requests, deadline, sender, shutdown).in_current_span());
    ReceiverStream::new(pending).then(answer)
}

async fn read(
    engine: Engine,
    requests: Streaming<TransactRequest>,
    deadline: Option<Instant>,
    pending: mpsc::Sender<Pending>,
    shutdown: CancellationToken,
) {
    let end = tokio::select! {
        end = queue(engine, requests, deadline, &pending) => end,
        () = shutdown.cancelled() => Err(Problem::from(Reason::Unavailable).into()),
        () = passed(deadline) => Err(Problem::from(Reason::Deadline).into()),
        // The client is gone. What was queued is decided all the same.
        () = pending.closed() => Ok(()),
    };
    if let Err(status) = end {
        // Room comes as the client reads; if it never does, its connection is cut off in the end, and this with it.
        let _ = pending.send(Pending::End(status)).await;
    }
}

/// Queues command after command, for as long as they come.
async fn queue(
    engine: Engine,
    mut requests: Streaming<TransactRequest>,
    deadline: Option<Instant>,
    pending: &mpsc::Sender<Pending>,
) -> Result<(), Status> {
    loop {
        // The place for the answer comes first: a command that is queued has one, wherever this is cancelled.
        let Ok(place) = pending.reserve().await else { return Ok(()) };
        let request = requests.message().await.map_err(|status| status::framework(&status))?;
        let Some(request) = request else { return Ok(()) };
        place.send(match Command::try_from(request) {
            Ok(command) => Pending::Queued(engine.enqueue(command, deadline).await.map_err(Problem::from)?),
            Err(problem) => Pending::Refused(problem),
        });
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline).await,
        None => future::pending().await,
    }
}

async fn answer(pending: Pending) -> Result<TransactResponse, Status> {
    let result = match pending {
        Pending::Queued(answer) => {
            answer.outcome().await.map_err(Problem::from).and_then(|outcome| convert::applied(&outcome))
        }
        Pending::Refused(problem) => Err(problem),
        Pending::End(status) => return Err(status),
    };
    Ok(result.into())
}
