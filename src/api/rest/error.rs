//! Everything that is not a success, in the one documented shape.

use std::any::Any;

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::response::{self, ErrorAnswer};
use crate::api::reason::{Call, Problem, Reason};
use crate::engine::{EngineError, panic_message};

/// The header in which machines read why something was not done.
pub const WALLET_REASON: HeaderName = HeaderName::from_static("wallet-reason");

/// A problem and the HTTP status that it has for this call.
#[derive(Debug)]
pub struct Failure {
    problem: Problem,
    status: StatusCode,
}

impl Failure {
    /// The failure of a call that only looks something up.
    pub fn of_read(reason: Reason) -> Self {
        Self { problem: Problem::from(reason), status: reason.http(Call::Read) }
    }
}

/// Only [`Reason::UnknownUser`] depends on the call, and a read says so with [`Failure::of_read`].
impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let status = problem.reason.http(Call::Command);
        Self { problem, status }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Problem::from(error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Problem { reason, message, .. } = self.problem;
        tracing::debug!(reason = reason.name(), message, "refused");
        let mut response = response::answer(self.status, &ErrorAnswer { success: false, error: message });
        response.headers_mut().insert(WALLET_REASON, HeaderValue::from_static(reason.name()));
        if let Some(delay) = reason.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, delay.as_secs().into());
        }
        response
    }
}

/// Gives an error of the framework (no such path, wrong method, …) the documented shape, and keeps its headers.
pub fn normalize_error(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.headers().contains_key(WALLET_REASON) {
        return response;
    }
    let otherwise = if status.is_server_error() { Reason::Internal } else { Reason::InvalidRequest };
    let reason = Reason::ALL.into_iter().find(|reason| reason.http(Call::Command) == status).unwrap_or(otherwise);
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    let mut normalize_error = Failure { problem: Problem::from(reason), status }.into_response();
    normalize_error.headers_mut().extend(parts.headers);
    normalize_error
}

/// The answer when a handler panicked: a bug, which must not look like a dropped connection.
#[expect(clippy::needless_pass_by_value, reason = "tower-http hands the panic over by value")]
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!(panic = panic_message(panic.as_ref()), "a handler panicked");
    Failure::from(Problem::from(Reason::Internal)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header::ALLOW;

    use super::*;

    #[test]
    fn the_frameworks_errors_get_the_shape_and_keep_their_headers() {
        let plain = Response::builder().status(405).header(ALLOW, "POST").header(CONTENT_TYPE, "text/plain");
        let normalize_error = normalize_error(plain.body(Body::from("no")).unwrap());
        assert_eq!(normalize_error.status(), 405);
        assert_eq!(normalize_error.headers()[ALLOW], "POST");
        assert_eq!(normalize_error.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(normalize_error.headers()[WALLET_REASON], "METHOD_NOT_ALLOWED");
    }

    #[test]
    fn every_status_a_framework_may_answer_has_a_reason() {
        for (status, name) in [
            (400, "INVALID_REQUEST"),
            (404, "NOT_FOUND"),
            (408, "REQUEST_TIMEOUT"),
            (413, "PAYLOAD_TOO_LARGE"),
            (415, "UNSUPPORTED_MEDIA_TYPE"),
            (418, "INVALID_REQUEST"),
            (500, "INTERNAL"),
            (502, "INTERNAL"),
        ] {
            let response = Response::builder().status(status).body(Body::empty()).unwrap();
            assert_eq!(normalize_error(response).headers()[WALLET_REASON], name, "{status}");
        }
    }

    #[test]
    fn a_panic_is_an_internal_error() {
        let response = panicked(Box::new("boom"));
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[WALLET_REASON], "INTERNAL");
    }

    #[test]
    fn every_503_says_when_to_come_again() {
        for error in [EngineError::Busy, EngineError::Deadline, EngineError::Stopped] {
            let response = Failure::from(error).into_response();
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers()[RETRY_AFTER], "1");
        }
    }
}
