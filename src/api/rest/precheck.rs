//! Refuses a request for what its head says, before any handler sees it.

use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use futures::future::{Either, Ready, ready};
use tower::{Layer, Service};

/// Asks `refusal` about each request. One for which it has no answer goes on.
///
/// A layer, and no function of `axum::middleware`, which costs every request several allocations.
#[derive(Clone, Copy)]
pub struct PrecheckLayer<F> {
    refusal: F,
}

impl<F: Fn(&Request) -> Option<Response>> PrecheckLayer<F> {
    pub const fn new(refusal: F) -> Self {
        Self { refusal }
    }
}

impl<S, F: Clone> Layer<S> for PrecheckLayer<F> {
    type Service = Precheck<S, F>;

    fn layer(&self, inner: S) -> Precheck<S, F> {
        Precheck { inner, refusal: self.refusal.clone() }
    }
}

#[derive(Clone)]
pub struct Precheck<S, F> {
    inner: S,
    refusal: F,
}

impl<S, F> Service<Request> for Precheck<S, F>
where
    S: Service<Request, Response = Response>,
    F: Fn(&Request) -> Option<Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match (self.refusal)(&request) {
            None => Either::Left(self.inner.call(request)),
            Some(refusal) => Either::Right(ready(Ok(refusal))),
        }
    }
}
