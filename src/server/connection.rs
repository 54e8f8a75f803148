//! One connection: its requests reach the API, and it ends when it is idle or its client does not read.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use futures::future;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{self, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tower::Service as _;

use super::activity::{Activity, Call, Piece, Verdict};
use super::limits::{Timeouts, Version};
use super::socket::LimitedSocket;
use crate::api::grpc::ConnectionStreams;
use crate::api::peer::Peer;

/// What serves connections.
#[derive(Clone)]
pub struct Server {
    pub builder: Builder<Executor>,
    pub router: Router,
    pub version: Version,
    pub timeouts: Timeouts,
}

impl Server {
    /// Serves one connection until it ends, or until what is in flight at shut-down is finished.
    pub async fn serve(
        self,
        socket: impl AsyncRead + AsyncWrite + Unpin + 'static,
        peer: Peer,
        shutdown: &CancellationToken,
    ) {
        let Self { builder, router, version, timeouts } = self;
        let activity = Arc::new(Activity::default());
        let io = TokioIo::new(LimitedSocket::new(socket, version, Arc::clone(&activity), timeouts));
        let (activity_of_calls, streams) = (Arc::clone(&activity), ConnectionStreams::default());
        let api = Api { router, activity: activity_of_calls, peer: Arc::new(peer), streams };
        let mut connection = pin!(builder.serve_connection(io, api));
        let mut watch = AbortOnDropHandle::new(tokio::spawn(watch(Arc::clone(&activity), timeouts, shutdown.clone())));
        let result = tokio::select! {
            biased;
            result = connection.as_mut() => result,
            verdict = &mut watch => {
                // A runtime that ends is a shut-down.
                let verdict = verdict.unwrap_or(None);
                if verdict == Some(Verdict::Unread) {
                    tracing::debug!("a connection is closed: its client does not read");
                    return;
                }
                connection.as_mut().graceful_shutdown();
                if verdict.is_none() {
                    connection.await
                } else {
                    tracing::debug!("a connection is closed: it is idle");
                    tokio::select! {
                        result = connection => result,
                        () = until_idle(&activity, timeouts.write_timeout) => return,
                    }
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(error, "a connection ended with an error");
        }
    }
}

/// Waits until the connection has to end; `None` for the shut-down.
///
/// A task of its own, because a connection wakes for each request: it would look at a timer, and at a token that all
/// connections share behind one lock, each time.
async fn watch(activity: Arc<Activity>, timeouts: Timeouts, shutdown: CancellationToken) -> Option<Verdict> {
    shutdown.run_until_cancelled(activity.watch(timeouts)).await
}

/// Waits so long, and until no call is open: one that came in the same moment is served.
async fn until_idle(activity: &Activity, pause: Duration) {
    loop {
        time::sleep(pause).await;
        if activity.is_idle() {
            return;
        }
    }
}

/// The API, as one connection sees it.
struct Api {
    router: Router,
    activity: Arc<Activity>,
    peer: Arc<Peer>,
    streams: ConnectionStreams,
}

impl hyper::service::Service<Request<Incoming>> for Api {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        let call = Call::begin(&self.activity);
        self.streams.mark(&mut request);
        let running = self.router.clone().call(request);
        Answering { running, peer: Arc::clone(&self.peer), call: Some(call) }
    }
}

struct Answering {
    running: RouteFuture<Infallible>,
    peer: Arc<Peer>,
    /// Until the answer has it.
    call: Option<Call>,
}

impl Future for Answering {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { running, peer, .. } = &mut *self;
        let response = ready!(peer.run(|| Pin::new(running).poll(cx)))?;
        let call = self.call.take().expect("it is polled until it is ready");
        Poll::Ready(Ok(response.map(|body| Answer { body, call })))
    }
}

/// An answer's body, in pieces that are counted until they are written.
struct Answer {
    body: Body,
    call: Call,
}

tokio::task_local! {
    /// Which piece of its answer an HTTP/2 call has handed over last, if it was not asked for more since: by its
    /// number, which is never 0; 0 if there is none.
    static OFFERED: Cell<u32>;
}

impl HttpBody for Answer {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let is_data = matches!(&frame, Poll::Ready(Some(Ok(frame))) if frame.is_data());
        // In HTTP/1 nobody asks.
        let _ = OFFERED.try_with(|piece| piece.set(if is_data { piece.get().wrapping_add(1).max(1) } else { 0 }));
        frame.map_ok(|frame| frame.map_data(|bytes| self.call.piece(bytes)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs HTTP/2 calls, and ends those whose clients do not read.
///
/// The HTTP library asks for a piece of an answer, and holds it until the client's window has room. It does not limit
/// how long that takes. Dropping the call resets its stream.
#[derive(Clone, Copy, Debug)]
pub struct Executor {
    pub write_timeout: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, call: F) {
        tokio::spawn(until_unread(call, self.write_timeout));
    }
}

/// Runs a call to its end, or until a piece of its answer has waited so long.
async fn until_unread(call: impl Future<Output = ()>, timeout: Duration) {
    let mut call = pin!(call);
    let mut offered = 0;
    let mut wait: Option<Pin<Box<Sleep>>> = None;
    future::poll_fn(|cx| {
        let (polled, now) =
            OFFERED.sync_scope(Cell::new(offered), || (call.as_mut().poll(cx), OFFERED.with(Cell::get)));
        if polled.is_ready() {
            return Poll::Ready(());
        }
        if now != offered {
            (offered, wait) = (now, None);
        }
        if offered != 0 {
            ready!(wait.get_or_insert_with(|| Box::pin(time::sleep(timeout))).as_mut().poll(cx));
            tracing::debug!("a call is reset: its client does not read the answer");
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}
