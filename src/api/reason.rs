//! The one table of reasons: what each is called, and how each API answers it.
//!
//! The OpenAPI description and the parity tests are made from it.

use std::fmt::Display;
use std::time::Duration;

use axum::http::StatusCode;
use tonic::Code;

use crate::engine::EngineError;
use crate::ledger::{Amount, Balance, Cursor, Kind, Refusal};

/// What kind of call a reason answers: the one thing besides the reason that a status depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// It would have moved money.
    Command,
    /// It only looks something up.
    Read,
}

/// One reason's row.
struct Row {
    name: &'static str,
    http_command: u16,
    http_read: u16,
    grpc: Code,
    retry: bool,
    protocol: bool,
    message: &'static str,
}

/// Declares the reasons, one row each.
macro_rules! reasons {
    ($(
        $reason:ident $name:literal $command:literal $read:literal $grpc:ident $retry:ident $protocol:ident
            $message:literal
    )*) => {
        /// Why a call did not succeed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($reason,)*
        }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: [Self; [$(Self::$reason,)*].len()] = [$(Self::$reason,)*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$reason => Row {
                        name: $name,
                        http_command: $command,
                        http_read: $read,
                        grpc: Code::$grpc,
                        retry: $retry,
                        protocol: $protocol,
                        message: $message,
                    },)*
                }
            }
        }
    };
}

const YES: bool = true;
const NO: bool = false;

// The columns: reason, name, HTTP status on commands and on reads, gRPC code, whether trying again may help, whether
// the HTTP and gRPC libraries answer with it as well; below, the message.
#[rustfmt::skip]
reasons! {
    InvalidRequest       "INVALID_REQUEST"        400 400 InvalidArgument    NO  YES
        "Request is not valid"
    NegativeAmount       "NEGATIVE_AMOUNT"        400 400 InvalidArgument    NO  NO
        "Amount value is negative"
    UnknownUser          "UNKNOWN_USER"           400 404 NotFound           NO  NO
        "Unknown user"
    UnknownEvent         "UNKNOWN_EVENT"          404 404 NotFound           NO  NO
        "Unknown event"
    RolledBack           "ROLLED_BACK"            409 409 FailedPrecondition NO  NO
        "Event has been rolled back"
    EventConflict        "EVENT_CONFLICT"         409 409 AlreadyExists      NO  NO
        "Request has a conflict with existing data."
    Frozen               "FROZEN"                 403 403 FailedPrecondition NO  NO
        "Account is frozen"
    BalanceTooLow        "BALANCE_TOO_LOW"        400 400 FailedPrecondition NO  NO
        "Account balance is too low"
    BalanceLimit         "BALANCE_LIMIT"          400 400 OutOfRange         NO  NO
        "Account balance would exceed the limit"
    NotFound             "NOT_FOUND"              404 404 NotFound           NO  YES
        "No such path"
    MethodNotAllowed     "METHOD_NOT_ALLOWED"     405 405 Unimplemented      NO  YES
        "Method is not allowed for this path"
    RequestTimeout       "REQUEST_TIMEOUT"        408 408 DeadlineExceeded   NO  YES
        "Request took too long to arrive"
    PayloadTooLarge      "PAYLOAD_TOO_LARGE"      413 413 ResourceExhausted  NO  YES
        "Request body is too large"
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" 415 415 InvalidArgument    NO  YES
        "Content-Type must be application/json"
    Unauthenticated      "UNAUTHENTICATED"        401 401 Unauthenticated    NO  NO
        "Credentials are missing or not valid"
    Forbidden            "FORBIDDEN"              403 403 PermissionDenied   NO  NO
        "Caller may not do this"
    RateLimited          "RATE_LIMITED"           429 429 ResourceExhausted  YES NO
        "Too many failed attempts from this address"
    Busy                 "BUSY"                   503 503 ResourceExhausted  YES NO
        "Wallet is busy and nothing was done, try again"
    SlowReader           "SLOW_READER"            503 503 ResourceExhausted  YES NO
        "Reader is too slow, go on from the cursor"
    Deadline             "DEADLINE"               503 503 DeadlineExceeded   YES NO
        "Time ran out and nothing was done, try again"
    Unavailable          "UNAVAILABLE"            503 503 Unavailable        YES NO
        "Wallet is unavailable, try again with the same ids"
    Internal             "INTERNAL"               500 500 Internal           NO  NO
        "Internal error, try again with the same ids"
}

impl Reason {
    /// Those for which an attempt to call is refused: who called, or what the caller may do, is not right.
    pub const OF_ATTEMPTS: [Self; 3] = [Self::Unauthenticated, Self::Forbidden, Self::RateLimited];

    /// The name that machines read: in the header `Wallet-Reason`, in `ErrorInfo`, in `Refused`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The HTTP status.
    ///
    /// # Panics
    /// Never: the table has valid statuses.
    #[must_use]
    pub fn http(self, call: Call) -> StatusCode {
        let status = match call {
            Call::Command => self.row().http_command,
            Call::Read => self.row().http_read,
        };
        StatusCode::from_u16(status).expect("a status")
    }

    /// The gRPC status code.
    #[must_use]
    pub const fn grpc(self) -> Code {
        self.row().grpc
    }

    /// How long to wait before trying again, where that may help.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        if self.row().retry { Some(Duration::from_secs(1)) } else { None }
    }

    /// The message for a person to read, where the reason alone decides it.
    ///
    /// [`Problem`] replaces it where more is known: what is invalid, which amount is negative.
    #[must_use]
    pub const fn message(self) -> &'static str {
        self.row().message
    }

    /// The reason for which the HTTP library answers with this status, if it is one of the table.
    #[must_use]
    pub fn of_protocol_http(status: StatusCode) -> Option<Self> {
        Self::of_protocol(|reason| reason.http(Call::Command) == status)
    }

    /// The reason for which the gRPC library answers with this code, if it is one of the table.
    #[must_use]
    pub fn of_protocol_grpc(code: Code) -> Option<Self> {
        Self::of_protocol(|reason| reason.grpc() == code)
    }

    fn of_protocol(matches: impl Fn(Self) -> bool) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.row().protocol && matches(*reason))
    }
}

/// A reason with its message and what else a caller may want to know: all that either API needs to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub reason: Reason,
    pub message: String,
    pub detail: Option<Detail>,
}

/// More about a refusal, for machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What the wallet holds.
    Balance(Balance),
    /// The amount with which the event is known.
    RecordedAmount(Amount),
    /// How far a reader of the feed has come.
    Cursor(Cursor),
}

impl Detail {
    /// The metadata's key and value: an amount is in minor units.
    #[must_use]
    pub fn metadata(self) -> (&'static str, String) {
        match self {
            Self::Balance(balance) => ("balance_minor", balance.minor().to_string()),
            Self::RecordedAmount(amount) => ("recorded_amount_minor", amount.minor().to_string()),
            Self::Cursor(cursor) => ("cursor", cursor.to_string()),
        }
    }
}

impl Problem {
    /// A request that is not well formed; the message names the field.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::from(Reason::InvalidRequest) }
    }

    /// A reader of the feed that was cut off, behind this place.
    #[must_use]
    pub fn slow_reader(cursor: Cursor) -> Self {
        Self { detail: Some(Detail::Cursor(cursor)), ..Self::from(Reason::SlowReader) }
    }

    /// A request that lacks the field called `name`.
    #[must_use]
    pub fn missing(name: &str) -> Self {
        Self::invalid(format!("{name} is missing from the request"))
    }

    /// A request in which the field called `name` holds no id.
    #[must_use]
    pub fn invalid_id(name: &str) -> Self {
        Self::out_of_range(name, 0, i64::MAX)
    }

    /// A request in which the field called `name` holds no whole number of this range.
    #[must_use]
    pub fn out_of_range(name: &str, min: impl Display, max: impl Display) -> Self {
        Self::invalid(format!("{name} must be a whole number from {min} to {max}"))
    }
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Self { reason, message: reason.message().to_owned(), detail: None }
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
            Refusal::Frozen => Self::from(Reason::Frozen),
            Refusal::EventConflict { recorded } => {
                Self { detail: Some(Detail::RecordedAmount(recorded)), ..Self::from(Reason::EventConflict) }
            }
            Refusal::BalanceTooLow { balance } => {
                Self { detail: Some(Detail::Balance(balance)), ..Self::from(Reason::BalanceTooLow) }
            }
            Refusal::BalanceLimit => Self::from(Reason::BalanceLimit),
        }
    }
}

/// The engine has logged what failed, where it failed.
impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        Self::from(match error {
            EngineError::UnknownCursor => return Self::invalid("The cursor is beyond the end of the ledger"),
            EngineError::ForeignCursor => {
                return Self::invalid("The cursor is of a ledger with another number of shards");
            }
            EngineError::Busy => Reason::Busy,
            EngineError::Deadline => Reason::Deadline,
            EngineError::Unavailable(_) | EngineError::Stopped => Reason::Unavailable,
            EngineError::Corrupt(_) | EngineError::Panicked => Reason::Internal,
        })
    }
}

const fn negative_message(kind: Kind) -> &'static str {
    match kind {
        Kind::Win => "Winning amount is negative",
        Kind::Open => "Opening balance is negative",
        Kind::Charge
        | Kind::Rollback
        | Kind::WinRollback
        | Kind::Deposit
        | Kind::Withdrawal
        | Kind::Freeze
        | Kind::Unfreeze => Reason::NegativeAmount.message(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_complete_and_no_name_stands_twice() {
        let mut names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        for reason in Reason::ALL {
            assert!(!reason.message().is_empty());
            assert!(!reason.http(Call::Command).is_success() && !reason.http(Call::Read).is_success());
            assert_ne!(reason.grpc(), Code::Ok);
            let later = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
            assert_eq!(reason.retry_after().is_some(), later.contains(&reason.http(Call::Command)), "{reason:?}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn only_an_unknown_user_is_answered_otherwise_by_a_read() {
        let differ = Reason::ALL.into_iter().filter(|reason| reason.http(Call::Command) != reason.http(Call::Read));
        assert_eq!(differ.collect::<Vec<_>>(), [Reason::UnknownUser]);
    }

    #[test]
    fn the_table_in_the_proto_is_this_one() {
        let proto = include_str!("../../proto/wallet.proto");
        let rows = proto.lines().skip_while(|line| !line.contains("reason             code")).skip(1);
        let mut listed = Vec::new();
        for row in rows.take_while(|row| row.starts_with("//   ")) {
            let mut words = row["//   ".len()..].split_whitespace();
            let (name, code) = (words.next().unwrap(), words.next().unwrap());
            // A row's meaning may go on in the next line.
            let Some(reason) = Reason::ALL.into_iter().find(|reason| reason.name() == name) else {
                assert!(row.starts_with("//                     "), "{row}");
                continue;
            };
            assert_eq!(code.replace('_', "").to_lowercase(), format!("{:?}", reason.grpc()).to_lowercase(), "{name}");
            listed.push(reason);
        }
        let unlisted = Reason::ALL.into_iter().filter(|reason| !listed.contains(reason));
        assert_eq!(unlisted.collect::<Vec<_>>(), [Reason::UnsupportedMediaType], "only REST has media types");
        let retried = Reason::ALL.into_iter().filter(|reason| reason.retry_after().is_some());
        assert_eq!(
            retried.map(Reason::name).collect::<Vec<_>>(),
            ["RATE_LIMITED", "BUSY", "SLOW_READER", "DEADLINE", "UNAVAILABLE",]
        );
        assert!(proto.contains("// RATE_LIMITED, BUSY, SLOW_READER, DEADLINE and UNAVAILABLE carry"));
    }

    #[test]
    fn what_a_library_answers_has_its_reason() {
        let http = |status| Reason::of_protocol_http(StatusCode::from_u16(status).unwrap());
        assert_eq!(http(400), Some(Reason::InvalidRequest));
        assert_eq!(http(404), Some(Reason::NotFound));
        assert_eq!((http(409), http(503)), (None, None));
        assert_eq!(Reason::of_protocol_grpc(Code::ResourceExhausted), Some(Reason::PayloadTooLarge));
        assert_eq!(Reason::of_protocol_grpc(Code::NotFound), Some(Reason::NotFound));
        assert_eq!(Reason::of_protocol_grpc(Code::Unavailable), None);
    }
}
