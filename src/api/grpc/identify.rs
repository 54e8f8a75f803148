//! Finds out who sent a call, before its message is read.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use futures::future::{Either, Ready, ready};
use tonic::Status;
use tower::{Layer, Service};

use super::side_streams;
use crate::access::Access;
use crate::api::actor::Actor;

/// Refuses calls whose sender is not known, and leaves an `Arc` of the [`Actor`] with the others. Health and reflection
/// are open to all. Where access is open, nothing is left: the method asks when it needs to.
#[derive(Clone)]
pub struct IdentifyLayer(pub Access);

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Identify<S> {
        Identify { inner, access: self.0.clone() }
    }
}

#[derive(Clone)]
pub struct Identify<S> {
    inner: S,
    access: Access,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Identify<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if self.access.is_open() || side_streams::is_side_call(request.uri()) {
            return Either::Left(self.inner.call(request));
        }
        match Actor::identify(&self.access, request.headers()) {
            Ok(actor) => {
                request.extensions_mut().insert(Arc::new(actor));
                Either::Left(self.inner.call(request))
            }
            Err(problem) => Either::Right(ready(Ok(Status::from(problem).into_http()))),
        }
    }
}
