//! Everything that is not a success, in the one documented shape.

use std::any::Any;

use axum::http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::response::{self, ErrorAnswer, WALLET_CURRENT_BALANCE, WALLET_REASON, WALLET_RECORDED_AMOUNT};
use crate::api::reason::{Call, Detail, Problem, Reason};
use crate::engine::EngineError;
use crate::ledger::{Currency, Refusal};

/// A problem and the HTTP status that it has for this call.
#[derive(Debug)]
pub struct Failure {
    problem: Problem,
    status: StatusCode,
    /// In which the problem's detail is written.
    currency: Option<Currency>,
    /// Whether a content coding is what was refused.
    coding: bool,
}

impl Failure {
    /// The failure of a call that only looks something up.
    pub fn into_error(reason: Reason) -> Self {
        Self { problem: Problem::from(reason), status: reason.http(Call::Read), currency: None, coding: false }
    }

    /// A body with a content coding that is not supported.
    pub fn unsupported_coding() -> Self {
        let message = "Content-Encoding is not supported".to_owned();
        Self { coding: true, ..Problem { message, ..Reason::UnsupportedMediaType.into() }.into() }
    }

    /// The ledger's refusal of a command.
    pub fn refused(refusal: Refusal, currency: Currency) -> Self {
        Self { currency: Some(currency), ..Self::from(Problem::from(refusal)) }
    }
}

/// Only [`Reason::UnknownUser`] depends on the call, and a read uses [`Failure::into_error`].
impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let status = problem.reason.http(Call::Command);
        Self { problem, status, currency: None, coding: false }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Problem::from(error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self { problem: Problem { reason, message, detail }, status, currency, coding } = self;
        let mut response = response::answer(status, &ErrorAnswer { success: false, error: message });
        let headers = response.headers_mut();
        headers.insert(WALLET_REASON, HeaderValue::from_static(reason.name()));
        if let Some((detail, currency)) = detail.zip(currency) {
            let money = match detail {
                Detail::Balance(balance) => Some((WALLET_CURRENT_BALANCE, balance.minor())),
                Detail::RecordedAmount(amount) => Some((WALLET_RECORDED_AMOUNT, amount.minor())),
                Detail::Cursor(_) => None,
            };
            if let Some((name, minor)) = money {
                headers.insert(name, response::money_header(currency, minor));
            }
        }
        // A 415 without it is about the media type (RFC 9110, section 12.5.3).
        if coding {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if reason == Reason::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(delay) = reason.retry_after() {
            headers.insert(RETRY_AFTER, delay.as_secs().into());
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
    let reason = Reason::of_protocol_http(status).unwrap_or(otherwise);
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    let mut normalized = Failure { status, ..Problem::from(reason).into() }.into_response();
    normalized.headers_mut().extend(parts.headers);
    normalized
}

/// The answer when a handler panicked: a bug, which must not look like a dropped connection. The panic hook has logged
/// it.
pub fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Failure::from(Problem::from(Reason::Internal)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header::{ALLOW, CACHE_CONTROL};

    use super::*;
    use crate::ledger::{Amount, Balance};

    #[test]
    fn the_frameworks_errors_get_the_shape_and_keep_their_headers() {
        let plain = Response::builder().status(405).header(ALLOW, "POST").header(CONTENT_TYPE, "text/plain");
        let normalized = normalize_error(plain.body(Body::from("no")).unwrap());
        assert_eq!(normalized.status(), 405);
        assert_eq!(normalized.headers()[ALLOW], "POST");
        assert_eq!(normalized.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(normalized.headers()[WALLET_REASON], "METHOD_NOT_ALLOWED");
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
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn a_refusal_tells_the_amount_that_it_is_about() {
        let eur = "EUR".parse().unwrap();
        let low = Refusal::BalanceTooLow { balance: Balance::from_minor(700).unwrap() };
        let response = Failure::refused(low, eur).into_response();
        assert_eq!(response.headers()[WALLET_CURRENT_BALANCE], "7.00");
        let conflict = Refusal::EventConflict { recorded: Amount::from_minor(100).unwrap() };
        let response = Failure::refused(conflict, eur).into_response();
        assert_eq!(response.headers()[WALLET_RECORDED_AMOUNT], "1.00");
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
