//! What a client without TLS is answered where TLS is spoken.

use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::{IntoResponse as _, Response};
use axum::{Router, middleware};

use super::error::Failure;
use crate::api::reason::Problem;
use crate::api::trace;

/// Refuses every request: it came without TLS, so anybody on its way could read it.
pub fn plaintext() -> Router {
    Router::new().fallback(refuse).layer(middleware::from_fn(trace::trace))
}

async fn refuse() -> Response {
    let mut response = Failure::from(Problem::invalid("Connection must use TLS")).into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
