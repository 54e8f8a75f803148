//! Limits how long a request may take to arrive.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use hyper::body::{Frame, SizeHint};
use tokio::time::{self, Sleep};
use tonic::Status;

use crate::api::reason::{Problem, Reason};

/// The calls whose requests are streams and have no time limit, by the beginning of their paths.
const STREAMS: [&str; 2] = ["/wallet.v1.WalletService/Transact", "/grpc.reflection."];

/// Limits the time in which the request's body must arrive. A stream of requests is not limited.
pub fn with_timeout(request: Request, timeout: Duration) -> Request {
    if STREAMS.iter().any(|stream| request.uri().path().starts_with(stream)) {
        return request;
    }
    request.map(|body| Body::new(TimeoutBody { body, timeout, sleep: None }))
}

/// A body that fails when it has not arrived within its timeout.
struct TimeoutBody {
    body: Body,
    timeout: Duration,
    /// Made at the first wait: most bodies arrive at once and need no timer.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for TimeoutBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let timeout = self.timeout;
        ready!(self.sleep.get_or_insert_with(|| Box::pin(time::sleep(timeout))).as_mut().poll(cx));
        Poll::Ready(Some(Err(axum::Error::new(Status::from(Problem::from(Reason::RequestTimeout))))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
