//! Everything that is not a success, as a gRPC status with its `ErrorInfo`.

use std::any::Any;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::convert::metadata;
use crate::api::reason::{Problem, Reason};

/// Who names the reasons in `ErrorInfo`.
const DOMAIN: &str = "wallet.v1";

impl From<Problem> for Status {
    fn from(Problem { reason, message, detail }: Problem) -> Self {
        let mut details = ErrorDetails::with_error_info(reason.name(), DOMAIN, metadata(detail));
        if let Some(delay) = reason.retry_after() {
            details.set_retry_info(Some(delay));
        }
        Self::with_error_details(reason.grpc(), message, details)
    }
}

/// Refuses a request that is not gRPC, as the specification of "gRPC over HTTP2" asks.
pub async fn of_grpc_only(request: Request, next: Next) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    match content_type.strip_prefix(b"application/grpc") {
        Some([] | [b'+' | b';', ..]) => next.run(request).await,
        _ => StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
    }
}

/// Gives an error of the framework (no such method, a message that cannot be read, …) its `ErrorInfo`.
pub fn normalize_error(response: Response) -> Response {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok && status.details().is_empty() => normal(status).into_http(),
        _ => response,
    }
}

/// An error with its `ErrorInfo`, the framework's or one that has it already.
pub fn normal(status: Status) -> Status {
    if !status.details().is_empty() {
        return status;
    }
    let mut normal = framework(&status);
    // What else the framework says stays: which compression it would take.
    *normal.metadata_mut() = status.metadata().clone();
    normal
}

/// The framework's error in this API's terms. tonic reports malformed requests as internal.
fn framework(status: &Status) -> Status {
    let code = match status.code() {
        // A message that is too large.
        Code::OutOfRange => Code::ResourceExhausted,
        code => code,
    };
    let reason = Reason::of_protocol_grpc(code).unwrap_or(Reason::InvalidRequest);
    let message = match status.message() {
        "" => "No such method".to_owned(),
        text => format!("Request is not valid: {text}"),
    };
    Problem { message, ..Problem::from(reason) }.into()
}

/// The answer when a method panicked: a bug, which must not look like a dropped connection. The panic hook has logged
/// it.
pub fn panicked(_: Box<dyn Any + Send + 'static>) -> Response<Body> {
    Status::from(Problem::from(Reason::Internal)).into_http()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ledger::{Balance, Refusal};

    #[test]
    fn a_status_tells_the_reason_and_what_else_is_known() {
        let refusal = Refusal::BalanceTooLow { balance: Balance::from_minor(7).unwrap() };
        let status = Status::from(Problem::from(refusal));
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "Account balance is too low"));
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("BALANCE_TOO_LOW", "wallet.v1"));
        assert_eq!(info.metadata["balance_minor"], "7");
        assert!(status.get_details_retry_info().is_none());
    }

    #[test]
    fn what_may_pass_says_when_to_come_again() {
        let status = Status::from(Problem::from(Reason::Busy));
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_frameworks_errors_get_their_reason() {
        for (status, code, reason) in [
            (Status::internal("bad bytes"), Code::InvalidArgument, "INVALID_REQUEST"),
            (Status::out_of_range("too large"), Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"),
            (Status::unimplemented(""), Code::Unimplemented, "METHOD_NOT_ALLOWED"),
            (Status::not_found("service not registered"), Code::NotFound, "NOT_FOUND"),
        ] {
            let answered = normalize_error(status.into_http());
            let status = Status::from_header_map(answered.headers()).unwrap();
            assert_eq!((status.code(), status.get_details_error_info().unwrap().reason.as_str()), (code, reason));
        }
    }

    #[test]
    fn what_has_its_reason_stays_as_it_is() {
        let answered = normalize_error(Status::from(Problem::from(Reason::Internal)).into_http());
        assert_eq!(Status::from_header_map(answered.headers()).unwrap().code(), Code::Internal);
        assert!(Status::from_header_map(normalize_error(Response::default()).headers()).is_none());
    }
}
