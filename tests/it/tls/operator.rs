//! Engines are no cashiers: what moves money in and out is called from the operator's addresses alone.

use tonic::{Request, Status};
use tonic_types::StatusExt as _;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{
    ChargeRequest, CreateWalletRequest, DepositRequest, FreezeWalletRequest, GetWalletRequest, TransactRequest,
    UnfreezeWalletRequest, WatchEntriesRequest, WithdrawRequest,
};
use wallet::api::reason::Reason;

use super::proxy::Kind;
use super::{Deployment, ENGINES_ADDR, assert_refused, runtime};

through_each_proxy! {
    an_engine_may_play_and_nothing_else_through_rest
    an_engine_may_play_and_nothing_else_through_grpc
}

/// REST calls that are the operator's: method, path and body.
const OPERATORS: [(&str, &str, &str); 13] = [
    ("POST", "/api/v1/deposit", r#"{"UserId":123123,"TransactionId":1,"Amount":1}"#),
    ("POST", "/api/v1/withdraw", r#"{"UserId":123123,"TransactionId":1,"Amount":1}"#),
    ("POST", "/api/v1/users", r#"{"UserId":7,"AccountBalance":1000000}"#),
    ("POST", "/api/v1/users/123123/freeze", r#"{"TransactionId":2}"#),
    ("POST", "/api/v1/users/123123/unfreeze", r#"{"TransactionId":3}"#),
    ("POST", "/api/v1/batch", r#"{"Commands":[]}"#),
    ("GET", "/api/v1/users/123123/entries", ""),
    ("GET", "/api/v1/ledger/entries", ""),
    ("GET", "/api/v1/ledger/checkpoint", ""),
    ("GET", "/api/v1/openapi.json", ""),
    ("GET", "/docs/", ""),
    ("GET", "/console", ""),
    ("GET", "/", ""),
];

fn an_engine_may_play_and_nothing_else_through_rest(kind: Kind) {
    let Some(deployment) = Deployment::start(kind, "an engine's REST calls") else { return };
    let client = &deployment.client;
    client.create_user();
    for version in ["--http1.1", "--http2"] {
        let from_engine = [version, "--interface", ENGINES_ADDR, "--path-as-is"];
        for (method, path, body) in OPERATORS {
            let call = |args: &[&str]| match method {
                "POST" => client.post_with(args, path, body.as_bytes()),
                _ => client.rest(args, path, b""),
            };
            assert_refused(&call(&from_engine), Reason::Forbidden);
            let by_operator = call(&[version]);
            assert_ne!(by_operator.status(), "403", "{path}: {}", by_operator.body);
        }
        // By other spellings of the path there is no way around: they are refused here, or the wallet has no such path.
        for path in [
            "/api/v1/%64eposit",
            "//api/v1/deposit",
            "/api/v1/charge/../deposit",
            "/api/v1/charge/%2e%2e/deposit",
            "/api/v1/deposit/../charge",
            "/api/v1/deposit%2F..%2Fcharge",
            "/api/v1/users/../deposit",
            "/api/v1/users/..%2Fdeposit",
            "/api/v1/deposit?/api/v1/charge",
            "/api/v1/deposit;/../charge",
        ] {
            let body = br#"{"UserId":123123,"TransactionId":99,"Amount":1}"#;
            let refused = client.post_with(&from_engine, path, body);
            assert!(
                ["400", "403", "404", "405"].contains(&refused.status()),
                "{path}: {} {}",
                refused.head,
                refused.body
            );
        }
        // As with the user's own documents: health, and an engine's calls.
        for path in ["/livez", "/readyz", "/api/v1/healthcheck", "/api/v1/users/123123"] {
            assert_eq!(client.rest(&from_engine, path, b"").status(), "200", "{path}");
        }
        let not_known = client.rest(&from_engine, "/api/v1/users/123123/events/77", b"");
        not_known.assert_refused(404, Reason::UnknownEvent, Reason::UnknownEvent.message());
        for (path, body) in [
            ("charge", r#"{"UserId":123123,"EventId":5,"Amount":0}"#),
            ("win", r#"{"UserId":123123,"WinningEventId":5,"Amount":0}"#),
            ("play", r#"{"UserId":123123,"EventId":6,"Amount":0,"WinningEventId":6,"WinningAmount":0}"#),
            ("rollback", r#"{"UserId":123123,"EventId":9}"#),
        ] {
            let played = client.post_with(&from_engine, &format!("/api/v1/{path}"), body.as_bytes());
            assert_eq!(played.status(), "200", "{path}: {}", played.body);
        }
    }
    assert_eq!(client.balance(), "10.00");
}

/// Asserts that this is how the wallet itself would have refused.
fn assert_forbidden(status: &Status) {
    let reason = Reason::Forbidden;
    assert_eq!((status.code(), status.message()), (reason.grpc(), reason.message()), "{status:?}");
    let info = status.get_details_error_info().expect("a reason");
    assert_eq!((&*info.reason, &*info.domain), (reason.name(), "wallet.v1"));
    assert!(status.metadata().get("x-request-id").is_some(), "{status:?}");
}

fn an_engine_may_play_and_nothing_else_through_grpc(kind: Kind) {
    let Some(deployment) = Deployment::start(kind, "an engine's gRPC calls") else { return };
    deployment.client.create_user();
    let runtime = runtime();
    let mut engine = WalletServiceClient::new(deployment.channel(&runtime, ENGINES_ADDR));
    let mut operator = WalletServiceClient::new(deployment.channel(&runtime, "127.0.0.1"));
    let (user_id, id, minor) = (Some(123_123), Some(1), Some(1));
    macro_rules! operators {
        ($($call:ident $request:expr;)*) => {$(
            let refused = runtime.block_on(engine.$call($request)).err();
            assert_forbidden(&refused.expect(stringify!($call)));
            runtime.block_on(operator.$call($request)).expect(stringify!($call));
        )*};
    }
    operators! {
        deposit DepositRequest { user_id, transaction_id: id, amount_minor: minor, ..Default::default() };
        withdraw WithdrawRequest { user_id, transaction_id: id, amount_minor: minor, ..Default::default() };
        create_wallet CreateWalletRequest { user_id: Some(7), ..Default::default() };
        freeze_wallet FreezeWalletRequest { user_id, transaction_id: Some(2), ..Default::default() };
        unfreeze_wallet UnfreezeWalletRequest { user_id, transaction_id: Some(3), ..Default::default() };
        watch_entries WatchEntriesRequest::default();
        transact Request::new(tokio_stream::empty::<TransactRequest>());
    }
    let charge = ChargeRequest { user_id, event_id: id, amount_minor: minor, ..Default::default() };
    let charged = runtime.block_on(engine.charge(charge)).expect("a charge").into_inner();
    assert_eq!(charged.balance_minor, 999);
    let wallet = GetWalletRequest { user_id, at: None };
    assert_eq!(runtime.block_on(engine.get_wallet(wallet)).expect("a wallet").get_ref().balance_minor, 999);
}
