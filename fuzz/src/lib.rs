//! What must hold of any bytes, wherever the service parses some: no panic, no hang, and an answer in shape.
//!
//! The APIs are the real ones, over an engine on this thread and a ledger that keeps nothing: so each run is like the
//! one before, whatever came first.

mod ledger;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::{Router, http};
use http_body_util::BodyExt as _;
use prost::Message as _;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use wallet::access::Access;
use wallet::api::grpc::proto::ListEntriesRequest;
use wallet::api::grpc::{self, GrpcOptions};
use wallet::api::reason::Reason;
use wallet::api::rest::{self, AllowedHosts, RestOptions};
use wallet::config::Settings;
use wallet::engine::{Engine, EngineOptions, SystemClock};
use wallet::ledger::{Currency, DecimalError, parse_decimal};

/// Where a body goes, by its first byte.
const PATHS: &[&str] = &["charge", "win", "rollback", "deposit", "withdraw", "users"];

/// Where a message goes, by its first byte.
const METHODS: &[&str] = &[
    "Charge",
    "Win",
    "Rollback",
    "Deposit",
    "Withdraw",
    "CreateWallet",
    "GetWallet",
    "ListEntries",
    "GetCheckpoint",
    "Transact",
];

/// An amount is read as JSON reads numbers, and what is read is written and read again as the same.
pub fn amount(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let is_number = serde_json::from_str::<&RawValue>(&text).is_ok_and(|value| {
        let starts = |c: char| c == '-' || c.is_ascii_digit();
        value.get() == text && value.get().starts_with(starts)
    });
    for decimals in 0..=4 {
        let parsed = parse_decimal(&text, decimals);
        assert_eq!(parsed == Err(DecimalError::NotANumber), !is_number, "{text:?}: {parsed:?}");
    }
    for code in ["EUR", "JPY", "KWD"] {
        let currency: Currency = code.parse().expect("a code");
        if let Ok(minor) = currency.parse_minor(&text) {
            let written = currency.format_minor(minor);
            assert_eq!(currency.parse_minor(&written), Ok(minor), "{text:?} became {written}");
        }
        tolerated(&text, currency);
    }
}

/// What is read with tolerance is what the number rounds to, if that is at most a ten-thousandth away.
fn tolerated(text: &str, currency: Currency) {
    const UNIT: i64 = 100_000_000;
    const TOLERANCE: i64 = UNIT / 10_000;
    let (exact, tolerant) = (currency.parse_minor(text), currency.parse_minor_tolerant(text));
    let Err(DecimalError::TooFine(decimals)) = exact else {
        assert_eq!(tolerant, exact, "{text:?}");
        return;
    };
    // What needs more places, or does not fit with so many, is left to the unit tests.
    let Ok(fine) = parse_decimal(text, decimals + 8) else { return };
    let expected = match (fine.div_euclid(UNIT), fine.rem_euclid(UNIT)) {
        (below, rest) if rest <= TOLERANCE => Ok(below),
        (below, rest) if rest >= UNIT - TOLERANCE => Ok(below + 1),
        _ => exact,
    };
    assert_eq!(tolerant, expected, "{text:?}");
}

/// Both APIs of a service that keeps nothing.
pub struct Service {
    runtime: Runtime,
    rest: Router,
    grpc: Router,
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

impl Service {
    /// Starts them.
    #[must_use]
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (rest, grpc) = runtime.block_on(async {
            let settings = Settings::defaults();
            let options = EngineOptions { spin: false, ..settings.engine() };
            let (engine, work) = Engine::new(ledger::store(settings.currency), SystemClock, options);
            for work in work {
                tokio::spawn(work);
            }
            let hosts = AllowedHosts::default();
            let rest = rest::router(engine.clone(), Access::default(), RestOptions::default(), hosts);
            (rest, grpc::router(engine, Access::default(), GrpcOptions::default(), CancellationToken::new()))
        });
        Self { runtime, rest, grpc }
    }

    /// A JSON body, for the path that the first byte tells.
    pub fn body(&self, bytes: &[u8]) {
        let Some((path, body)) = chosen(bytes, PATHS) else { return };
        let request = Request::post(format!("/api/v1/{path}")).header("content-type", "application/json");
        self.rest(request.body(Body::from(body.to_vec())).expect("a request"));
    }

    /// A protobuf message, for the method that the first byte tells.
    pub fn message(&self, bytes: &[u8]) {
        let Some((method, message)) = chosen(bytes, METHODS) else { return };
        self.grpc(method, message);
    }

    /// A page token, a user's id, a page's end and size.
    pub fn page(&self, bytes: &[u8]) {
        let page_token = String::from_utf8_lossy(bytes).into_owned();
        let text = percent_encoded(bytes);
        let request = ListEntriesRequest { user_id: Some(2), page_size: Some(7), page_token: Some(page_token) };
        self.grpc("ListEntries", &request.encode_to_vec());
        for path in [format!("2/entries?before={text}"), format!("2/entries?limit={text}"), format!("{text}/entries")] {
            self.get(&path);
        }
    }

    /// A moment in time, by RFC 3339.
    pub fn moment(&self, bytes: &[u8]) {
        self.get(&format!("2?at={}", percent_encoded(bytes)));
        // As it is, for what a query string may hold of itself.
        if let Ok(text) = std::str::from_utf8(bytes) {
            self.get(&format!("2?{text}"));
        }
    }

    fn get(&self, path: &str) {
        // What is no URI never reaches the service.
        let Ok(request) = Request::get(format!("/api/v1/users/{path}")).body(Body::empty()) else { return };
        self.rest(request);
    }

    fn rest(&self, mut request: http::Request<Body>) {
        request.headers_mut().insert("host", http::HeaderValue::from_static("fuzz"));
        let (parts, body) = self.answer(&self.rest, request);
        let shown = String::from_utf8_lossy(&body);
        let json: Value = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {shown}"));
        assert_eq!(json["success"], parts.status.is_success(), "{}: {shown}", parts.status);
        assert!(!parts.status.is_server_error(), "{}: {shown}", parts.status);
        let reason = parts.headers.get("wallet-reason").and_then(|reason| reason.to_str().ok());
        if parts.status.is_success() {
            assert!(reason.is_none(), "{shown}");
        } else {
            let fields = json.as_object().expect("an object").len();
            assert!(fields == 2 && json["error"].as_str().is_some_and(|error| !error.is_empty()), "{shown}");
            assert!(Reason::ALL.iter().any(|known| reason == Some(known.name())), "{reason:?}: {shown}");
        }
    }

    fn grpc(&self, method: &str, message: &[u8]) {
        let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
        let framed = [&[0], &length[..], message].concat();
        let request = Request::post(format!("/wallet.v1.WalletService/{method}"));
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let (parts, _) = self.answer(&self.grpc, request.body(Body::from(framed)).expect("a request"));
        assert_eq!(parts.status, StatusCode::OK);
        let status = parts.headers.get("grpc-status").expect("a status").to_str().expect("text").to_owned();
        // OK, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, OUT_OF_RANGE
        assert!(["0", "3", "5", "6", "8", "9", "11"].contains(&status.as_str()), "{method}: {:?}", parts.headers);
        assert_eq!(status != "0", parts.headers.contains_key("grpc-status-details-bin"), "{:?}", parts.headers);
    }

    /// The head of an answer, with its trailers, and its body.
    fn answer(&self, router: &Router, request: http::Request<Body>) -> (http::response::Parts, Vec<u8>) {
        self.runtime.block_on(async {
            let response = router.clone().oneshot(request).await.expect("an answer");
            let (mut parts, body) = response.into_parts();
            let body = body.collect().await.expect("a body");
            let trailers: HeaderMap = body.trailers().cloned().unwrap_or_default();
            parts.headers.extend(trailers);
            (parts, body.to_bytes().to_vec())
        })
    }
}

/// What the first byte chooses, and the rest.
fn chosen<'a>(bytes: &'a [u8], choices: &[&'static str]) -> Option<(&'static str, &'a [u8])> {
    let (first, rest) = bytes.split_first()?;
    Some((choices[usize::from(*first) % choices.len()], rest))
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).map(char::from).collect()
}
