//! A call has exactly one message, whatever its client sends.

use axum::http;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use tonic::{Code, Status};
use wallet::api::grpc::proto::{
    CreateWalletRequest, DepositRequest, GetCheckpointRequest, GetWalletRequest, ListEntriesRequest, RollbackRequest,
    WinRequest, WithdrawRequest, rollback_request,
};

use super::{USER, app, assert_status, balance, charge};
use crate::support::app::App;

/// A message as it is sent: a flag, its length, and its bytes.
fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    [&[0][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), &bytes].concat()
}

/// Sends a call whose body comes in these frames, with trailers if asked for; its status.
async fn call(app: &App, path: &str, frames: Vec<Vec<u8>>, trailers: bool) -> Status {
    let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<tonic::body::Body>();
    let data = stream::iter(frames).then(async |bytes| {
        // What was sent before is on its way.
        tokio::task::yield_now().await;
        Ok::<_, Status>(Frame::data(Bytes::from(bytes)))
    });
    let end = stream::iter(trailers.then(|| Ok(Frame::trailers(http::HeaderMap::new()))));
    let request = http::Request::post(format!("http://{}{path}", app.grpc))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(StreamBody::new(Box::pin(data.chain(end)))))
        .unwrap();
    let response = http.request(request).await.unwrap();
    let head = response.headers().clone();
    let trailers = response.into_body().collect().await.ok().and_then(|body| body.trailers().cloned());
    Status::from_header_map(&head).or_else(|| Status::from_header_map(&trailers?)).expect("a status")
}

/// Each way not to send exactly one message, made from one that is right.
fn not_one(message: &[u8]) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let twice = [message, message].concat();
    let (whole, cut) = (message.to_vec(), message[..message.len() - 1].to_vec());
    vec![
        ("no message", vec![]),
        ("an empty frame", vec![vec![]]),
        ("a prefix alone", vec![vec![0, 0, 0, 0, 9]]),
        ("half a message", vec![cut]),
        ("two in one frame", vec![twice.clone()]),
        ("two in two frames", vec![whole.clone(), whole.clone()]),
        ("two in single bytes", twice.chunks(1).map(<[u8]>::to_vec).collect()),
        ("one and a byte", vec![whole.clone(), vec![0]]),
        ("one and a prefix", vec![whole.clone(), vec![0, 0, 0, 0, 9]]),
        ("one and half of another", vec![whole.clone(), message[..6.min(message.len())].to_vec()]),
        ("one and an empty one", vec![whole, vec![0, 0, 0, 0, 0]]),
    ]
}

#[tokio::test]
async fn a_call_without_exactly_one_message_is_refused_and_nothing_moves() {
    let (app, client) = app().await;
    let (user_id, amount_minor) = (Some(USER), Some(100));
    let event = Some(rollback_request::Event::EventId(7));
    let win = WinRequest { user_id, winning_event_id: Some(1), amount_minor, round_id: None };
    let create = CreateWalletRequest { user_id: Some(31), opening_balance_minor: Some(1_000) };
    let watched = tonic_health::pb::HealthCheckRequest { service: String::new() };
    let calls = [
        ("/wallet.v1.WalletService/Charge", framed(&charge(1, 100))),
        ("/wallet.v1.WalletService/Win", framed(&win)),
        ("/wallet.v1.WalletService/Rollback", framed(&RollbackRequest { user_id, event })),
        (
            "/wallet.v1.WalletService/Deposit",
            framed(&DepositRequest { user_id, transaction_id: Some(1), amount_minor, note: None }),
        ),
        (
            "/wallet.v1.WalletService/Withdraw",
            framed(&WithdrawRequest { user_id, transaction_id: Some(1), amount_minor, note: None }),
        ),
        ("/wallet.v1.WalletService/CreateWallet", framed(&create)),
        ("/wallet.v1.WalletService/GetWallet", framed(&GetWalletRequest { user_id, at: None })),
        (
            "/wallet.v1.WalletService/ListEntries",
            framed(&ListEntriesRequest { user_id, page_size: None, page_token: None }),
        ),
        ("/wallet.v1.WalletService/GetCheckpoint", framed(&GetCheckpointRequest {})),
        ("/grpc.health.v1.Health/Check", framed(&watched)),
        ("/grpc.health.v1.Health/Watch", framed(&watched)),
    ];
    for (path, message) in &calls {
        for (kind, frames) in not_one(message) {
            for trailers in [false, true] {
                let status = call(&app, path, frames.clone(), trailers).await;
                println!("{path} {kind} {trailers}: {status}");
                assert_status(&status, Code::InvalidArgument, "INVALID_REQUEST", &[]);
            }
        }
    }
    assert_eq!(balance(&client).await, 1_000);
    let entries = client.clone().list_entries(ListEntriesRequest { user_id, ..Default::default() }).await;
    assert_eq!(entries.unwrap().into_inner().entries.len(), 1, "it was opened, and nothing since");
    assert_eq!(app.get("/api/v1/users/31").await.status, 404);
    // The same calls with one message are done, however it is cut.
    for (path, message) in calls.iter().filter(|(path, _)| !path.ends_with("Watch")) {
        for trailers in [false, true] {
            let status = call(&app, path, message.chunks(3).map(<[u8]>::to_vec).collect(), trailers).await;
            assert_eq!(status.code(), Code::Ok, "{path}: {status}");
        }
    }
}
