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
pub struct IdentifyLayer(Option<Access>);

impl IdentifyLayer {
    pub fn new(access: &Access) -> Self {
        // Every request clones what its layers hold, and all processors share the count of clones.
        Self((!access.is_open()).then(|| access.clone()))
    }
}

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Identify<S> {
        Identify { inner, access: self.0.clone() }
    }
}

#[derive(Clone)]
pub struct Identify<S> {
    inner: S,
    access: Option<Access>,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Identify<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let access = self.access.as_ref().filter(|_| !side_streams::is_side_call(request.uri()));
        match access.map(|access| Actor::identify(access, request.headers())).transpose() {
            Ok(actor) => {
                actor.map(|actor| request.extensions_mut().insert(Arc::new(actor)));
                Either::Left(self.inner.call(request))
            }
            Err(problem) => Either::Right(ready(Ok(Status::from(problem).into_http()))),
        }
    }
}
