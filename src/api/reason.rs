//! The one table that says how each reason looks at each door: HTTP status, gRPC code, message.
//!
//! The OpenAPI description and the parity tests are made from it.

use std::error::Error;
use std::iter;
use std::time::Duration;

use axum::http::StatusCode;
use tonic::Code;

use crate::engine::EngineError;
use crate::ledger::{Kind, Refusal};

/// Why something was not done, by the name that machines read: in the header `Wallet-Reason`, in `ErrorInfo`, in
/// `Refused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    InvalidRequest,
    NegativeAmount,
    UnknownUser,
    RolledBack,
    EventConflict,
    BalanceTooLow,
    BalanceLimit,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    PayloadTooLarge,
    UnsupportedMediaType,
    Busy,
    Deadline,
    Unavailable,
    Internal,
}

/// What kind of call a reason answers: the one thing besides the reason that a status depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// It would have moved money.
    Command,
    /// It only looks something up.
    Read,
}

impl Reason {
    /// Every reason, in the order of the checks.
    pub const ALL: [Self; 18] = [
        Self::InvalidRequest,
        Self::NegativeAmount,
        Self::UnknownUser,
        Self::RolledBack,
        Self::EventConflict,
        Self::BalanceTooLow,
        Self::BalanceLimit,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::Busy,
        Self::Deadline,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The name that machines read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::NegativeAmount => "NEGATIVE_AMOUNT",
            Self::UnknownUser => "UNKNOWN_USER",
            Self::RolledBack => "ROLLED_BACK",
            Self::EventConflict => "EVENT_CONFLICT",
            Self::BalanceTooLow => "BALANCE_TOO_LOW",
            Self::BalanceLimit => "BALANCE_LIMIT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::RequestTimeout => "REQUEST_TIMEOUT",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::Busy => "BUSY",
            Self::Deadline => "DEADLINE",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn http(self, call: Call) -> StatusCode {
        match self {
            Self::InvalidRequest | Self::NegativeAmount | Self::BalanceTooLow | Self::BalanceLimit => {
                StatusCode::BAD_REQUEST
            }
            Self::UnknownUser => match call {
                Call::Command => StatusCode::BAD_REQUEST,
                Call::Read => StatusCode::NOT_FOUND,
            },
            Self::RolledBack | Self::EventConflict => StatusCode::CONFLICT,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Busy | Self::Deadline | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The gRPC status code.
    #[must_use]
    pub const fn grpc(self) -> Code {
        match self {
            Self::InvalidRequest | Self::NegativeAmount | Self::UnsupportedMediaType => Code::InvalidArgument,
            Self::UnknownUser | Self::NotFound => Code::NotFound,
            Self::RolledBack | Self::BalanceTooLow => Code::FailedPrecondition,
            Self::EventConflict => Code::AlreadyExists,
            Self::BalanceLimit => Code::OutOfRange,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            Self::MethodNotAllowed => Code::Unimplemented,
            Self::RequestTimeout | Self::Deadline => Code::DeadlineExceeded,
            Self::Busy | Self::PayloadTooLarge => Code::ResourceExhausted,
            Self::Unavailable => Code::Unavailable,
            Self::Internal => Code::Internal,
        }
    }

    /// How long to wait before trying again, where that may help.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Busy | Self::Deadline | Self::Unavailable => Some(Duration::from_secs(1)),
            Self::InvalidRequest
            | Self::NegativeAmount
            | Self::UnknownUser
            | Self::RolledBack
            | Self::EventConflict
            | Self::BalanceTooLow
            | Self::BalanceLimit
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::RequestTimeout
            | Self::PayloadTooLarge
            | Self::UnsupportedMediaType
            | Self::Internal => None,
        }
    }

    /// The message for a person to read, where the reason alone decides it.
    ///
    /// [`Problem`] replaces it where more is known: what is invalid, which amount is negative.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::InvalidRequest => "Request is not valid",
            Self::NegativeAmount => "Amount value is negative",
            Self::UnknownUser => "Unknown user",
            Self::RolledBack => "Event has been rolled back",
            Self::EventConflict => "Request has a conflict with existing data.",
            Self::BalanceTooLow => "Account balance is too low",
            Self::BalanceLimit => "Account balance would exceed the limit",
            Self::Unauthenticated => "Request is not authenticated",
            Self::Forbidden => "Request is not allowed",
            Self::NotFound => "No such path",
            Self::MethodNotAllowed => "Method is not allowed for this path",
            Self::RequestTimeout => "Request took too long to arrive",
            Self::PayloadTooLarge => "Request body is too large",
            Self::UnsupportedMediaType => "Content-Type must be application/json",
            Self::Busy => "Wallet is busy and nothing was done, try again",
            Self::Deadline => "Time ran out and nothing was done, try again",
            Self::Unavailable => "Wallet is unavailable, try again with the same ids",
            Self::Internal => "Internal error, try again with the same ids",
        }
    }
}

/// A reason with its message and what else a caller may want to know: all that either door needs to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub reason: Reason,
    pub message: String,
    /// More about it, for machines: a key in snake case and its value.
    pub metadata: Option<(&'static str, String)>,
}

impl Problem {
    /// A request that is not well formed; the message names the field.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::from(Reason::InvalidRequest) }
    }

    /// A request in which the field called `name` holds no id.
    #[must_use]
    pub fn invalid_id(name: &str) -> Self {
        Self::invalid(format!("{name} must be a whole number from 0 to {}", i64::MAX))
    }
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Self { reason, message: reason.message().to_owned(), metadata: None }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NegativeAmount(kind) => {
                Self { message: negative_message(kind).to_owned(), ..Self::from(Reason::NegativeAmount) }
            }
            Refusal::UnknownUser => Self::from(Reason::UnknownUser),
            Refusal::RolledBack => Self::from(Reason::RolledBack),
            Refusal::EventConflict { recorded } => {
                let metadata = Some(("recorded_amount_minor", recorded.minor().to_string()));
                Self { metadata, ..Self::from(Reason::EventConflict) }
            }
            Refusal::BalanceTooLow { balance } => {
                let metadata = Some(("balance_minor", balance.minor().to_string()));
                Self { metadata, ..Self::from(Reason::BalanceTooLow) }
            }
            Refusal::BalanceLimit => Self::from(Reason::BalanceLimit),
        }
    }
}

impl From<EngineError> for Problem {
    /// Logs the error with its chain of sources: this is the one place that does.
    fn from(error: EngineError) -> Self {
        let reason = match &error {
            EngineError::Busy => Reason::Busy,
            EngineError::Deadline => Reason::Deadline,
            EngineError::Unavailable(_) | EngineError::Stopped => Reason::Unavailable,
            EngineError::Corrupt(_) | EngineError::Panicked => Reason::Internal,
        };
        match reason {
            // A caller is told to come again, and nothing is broken.
            Reason::Busy | Reason::Deadline => tracing::debug!(%error, "a request was not done"),
            _ => tracing::error!(error = %chain(&error), "a request failed"),
        }
        Self::from(reason)
    }
}

/// An error and what it came from, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let errors = iter::successors(Some(error), |error| (*error).source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

const fn negative_message(kind: Kind) -> &'static str {
    match kind {
        Kind::Win => "Winning amount is negative",
        Kind::Open => "Opening balance is negative",
        Kind::Charge | Kind::Rollback | Kind::Deposit | Kind::Withdrawal => Reason::NegativeAmount.message(),
    }
}
