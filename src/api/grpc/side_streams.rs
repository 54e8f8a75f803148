//! Limits how many streams of health and of reflection are open, on one connection and in all.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::Uri;
use futures::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Extensions, Status};

use crate::api::reason::{Problem, Reason};

/// How many streams of health and of reflection one connection may have open, together.
pub const PER_CONNECTION_MAX: usize = 32;
/// How the paths of health and of reflection begin.
const PATHS: &str = "/grpc.";

/// Whether a call is one of health or of reflection.
pub fn is_side_call(uri: &Uri) -> bool {
    uri.path().starts_with(PATHS)
}

/// The streams of health and of reflection that one connection may still open.
#[derive(Clone, Debug)]
pub struct ConnectionStreams(Arc<Semaphore>);

impl Default for ConnectionStreams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PER_CONNECTION_MAX)))
    }
}

impl ConnectionStreams {
    /// Lets the request know its connection's limit, if its call is one that has to.
    pub fn mark<B>(&self, request: &mut Request<B>) {
        if is_side_call(request.uri()) {
            request.extensions_mut().insert(self.clone());
        }
    }
}

/// The streams of one service that may still be opened, on all connections.
pub struct StreamLimit(Arc<Semaphore>);

impl StreamLimit {
    pub fn new(streams_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(streams_max)))
    }

    /// The same stream, counted for as long as its client may read it. `request` are its request's extensions.
    ///
    /// # Errors
    /// [`Reason::Busy`] if there are as many as there may be.
    pub fn admit<S: Stream>(
        &self,
        request: &Extensions,
        stream: S,
    ) -> Result<impl Stream<Item = S::Item> + use<S>, Status> {
        let connection = request.get::<ConnectionStreams>().map(|ConnectionStreams(permits)| permit(permits));
        let permits = (connection.transpose()?, permit(&self.0)?);
        Ok(stream.inspect(move |_| _ = &permits))
    }
}

fn permit(permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(permits).try_acquire_owned().map_err(|_| {
        tracing::debug!("a stream was refused: there are as many as there may be");
        Reason::Busy.into()
    })
}
