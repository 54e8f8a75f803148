//! The gRPC door from outside: every rpc, every refusal with its details, deadlines, streams, health and reflection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http;
use bytes::Bytes;
use futures::future::join_all;
use futures::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use prost_types::Timestamp;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_types::StatusExt as _;
use wallet::api::grpc::proto::transact_request::Command;
use wallet::api::grpc::proto::transact_response::Outcome;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{
    ChargeRequest, CreateWalletRequest, EntryKind, GetCheckpointRequest, GetWalletRequest, ListEntriesRequest,
    RollbackRequest, TransactRequest, TransactResponse, WinRequest,
};

use crate::app::App;

const USER: i64 = 123_123;

type WalletClient = WalletServiceClient<Channel>;

/// A service with a user who has 10.00, and a client of it.
async fn app() -> (App, WalletClient) {
    app_with(|_| ()).await
}

async fn app_with(change: impl FnOnce(&mut wallet::config::Settings)) -> (App, WalletClient) {
    let app = App::spawn_with(change).await;
    app.create_user(USER, "10.00").await;
    let client = WalletServiceClient::new(app.channel().await);
    (app, client)
}

fn charge(event_id: i64, amount_minor: i64) -> ChargeRequest {
    ChargeRequest { user_id: USER, event_id, amount_minor }
}

async fn balance(client: &WalletClient) -> i64 {
    let request = GetWalletRequest { user_id: USER, at: None };
    client.clone().get_wallet(request).await.unwrap().into_inner().balance_minor
}

/// Asserts a status: its code, and the reason and metadata of its `ErrorInfo`.
#[track_caller]
fn assert_status(status: &Status, code: Code, reason: &str, metadata: &[(&str, &str)]) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "wallet.v1"), "{status:?}");
    let expected = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    assert_eq!(info.metadata, expected);
}

#[tokio::test]
async fn a_game_is_played() {
    let (_app, mut client) = app().await;
    let first = client.charge(charge(321_123, 100)).await.unwrap().into_inner();
    assert_eq!((first.user_id, first.balance_minor, first.replayed), (USER, 900, false));
    assert_eq!((first.current_balance_minor, first.entry_id, first.sequence), (900, 2, 2));
    let win = WinRequest { user_id: USER, winning_event_id: 312_123_321, amount_minor: 1_000 };
    assert_eq!(client.win(win).await.unwrap().into_inner().balance_minor, 1_900);
    let again = client.charge(charge(321_123, 100)).await.unwrap().into_inner();
    assert_eq!((again.balance_minor, again.replayed, again.current_balance_minor), (900, true, 1_900));
    assert_eq!((again.entry_id, again.sequence), (first.entry_id, first.sequence));

    let rollback = RollbackRequest { user_id: USER, event_id: 321_123 };
    let undone = client.rollback(rollback).await.unwrap().into_inner();
    assert_eq!((undone.balance_minor, undone.applied, undone.replayed), (2_000, true, false));
    let unknown = client.rollback(RollbackRequest { user_id: USER, event_id: 9 }).await.unwrap().into_inner();
    assert_eq!((unknown.balance_minor, unknown.applied), (2_000, false));

    let checkpoint = client.get_checkpoint(GetCheckpointRequest {}).await.unwrap().into_inner();
    assert_eq!((checkpoint.commit_id, checkpoint.entry_id, checkpoint.hash.len()), (5, 5, 32));
    assert!(checkpoint.create_time.is_some());
}

#[tokio::test]
async fn an_empty_ledgers_checkpoint_is_genesis() {
    let app = App::spawn().await;
    let mut client = WalletServiceClient::new(app.channel().await);
    let checkpoint = client.get_checkpoint(GetCheckpointRequest {}).await.unwrap().into_inner();
    assert_eq!((checkpoint.commit_id, checkpoint.entry_id, checkpoint.create_time), (0, 0, None));
    assert_eq!(checkpoint.hash, [0; 32]);
}

#[tokio::test]
async fn a_wallet_is_made_once_and_seen_as_it_was() {
    let app = App::spawn().await;
    let mut client = WalletServiceClient::new(app.channel().await);
    let request = CreateWalletRequest { user_id: USER, opening_balance_minor: 1_000 };
    let made = client.create_wallet(request).await.unwrap().into_inner();
    assert_eq!((made.balance_minor, made.sequence), (1_000, 1));
    assert_eq!(uuid::Uuid::parse_str(&made.wallet_id).unwrap().get_version_num(), 7);
    client.charge(charge(1, 100)).await.unwrap();
    assert_eq!(client.create_wallet(request).await.unwrap().into_inner(), made);
    let other = CreateWalletRequest { opening_balance_minor: 1, ..request };
    let conflict = client.create_wallet(other).await.unwrap_err();
    assert_status(&conflict, Code::AlreadyExists, "EVENT_CONFLICT", &[("recorded_amount_minor", "1000")]);

    let get = async |at| client.clone().get_wallet(GetWalletRequest { user_id: USER, at }).await;
    let now = get(None).await.unwrap().into_inner();
    assert_eq!((now.balance_minor, now.sequence, &now.wallet_id), (900, 2, &made.wallet_id));
    let then = get(made.create_time).await.unwrap().into_inner();
    assert_eq!((then.balance_minor, then.sequence), (1_000, 1));
    let before = get(Some(Timestamp { seconds: 1, nanos: 0 })).await.unwrap_err();
    assert_status(&before, Code::NotFound, "UNKNOWN_USER", &[]);
    let wrong = get(Some(Timestamp { seconds: 1, nanos: -1 })).await.unwrap_err();
    assert_status(&wrong, Code::InvalidArgument, "INVALID_REQUEST", &[]);
}

#[tokio::test]
async fn a_history_is_listed_page_by_page() {
    let (_app, mut client) = app().await;
    for event in 1..=5 {
        client.charge(charge(event, 1)).await.unwrap();
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListEntriesRequest { user_id: USER, page_size: 2, page_token };
        let page = client.list_entries(request).await.unwrap().into_inner();
        listed.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let told: Vec<_> = listed.iter().map(|entry| (entry.sequence, entry.kind(), entry.event_id)).collect();
    let charges = (1..=5).rev().map(|event| (event + 1, EntryKind::Charge, event));
    assert_eq!(told, charges.chain([(1, EntryKind::Open, 0)]).collect::<Vec<_>>());
    assert_eq!((listed[0].amount_minor, listed[0].balance_after_minor, listed[0].user_id), (1, 995, USER));
    for (page_size, page_token) in [(-1, ""), (1, "x"), (1, "-1")] {
        let request = ListEntriesRequest { user_id: USER, page_size, page_token: page_token.to_owned() };
        assert_status(&client.list_entries(request).await.unwrap_err(), Code::InvalidArgument, "INVALID_REQUEST", &[]);
    }
    let unknown = ListEntriesRequest { user_id: 5, page_size: 0, page_token: String::new() };
    assert_status(&client.list_entries(unknown).await.unwrap_err(), Code::NotFound, "UNKNOWN_USER", &[]);
}

#[tokio::test]
async fn a_refusal_tells_what_a_caller_may_want_to_know() {
    let (_app, mut client) = app().await;
    client.charge(charge(1, 100)).await.unwrap();
    let low = client.charge(charge(2, 901)).await.unwrap_err();
    assert_status(&low, Code::FailedPrecondition, "BALANCE_TOO_LOW", &[("balance_minor", "900")]);
    assert_eq!(low.message(), "Account balance is too low");
    let conflict = client.charge(charge(1, 7)).await.unwrap_err();
    assert_status(&conflict, Code::AlreadyExists, "EVENT_CONFLICT", &[("recorded_amount_minor", "100")]);
    let malformed = client.charge(charge(-1, -1)).await.unwrap_err();
    assert_status(&malformed, Code::InvalidArgument, "INVALID_REQUEST", &[]);
    assert_eq!(malformed.message(), "event_id must be a whole number from 0 to 9223372036854775807");
    assert_eq!(balance(&client).await, 900);
}

#[tokio::test]
async fn the_frameworks_own_errors_have_their_reason() {
    let (app, mut client) = app().await;
    let large = ListEntriesRequest { user_id: USER, page_size: 1, page_token: "1".repeat(64 * 1024) };
    let status = client.list_entries(large).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, "PAYLOAD_TOO_LARGE", &[]);

    let raw = async |path: &'static str, bytes: &'static [u8]| {
        let mut grpc = tonic::client::Grpc::new(app.channel().await);
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<Raw, ()>::default();
        grpc.unary(Request::new(Raw(bytes)), path.parse().unwrap(), codec).await.unwrap_err()
    };
    let status = raw("/wallet.v1.WalletService/Charge", b"\x08").await;
    assert_status(&status, Code::InvalidArgument, "INVALID_REQUEST", &[]);
    let status = raw("/wallet.v1.WalletService/Steal", b"").await;
    assert_status(&status, Code::Unimplemented, "METHOD_NOT_ALLOWED", &[]);
    let status = raw("/wallet.v9.Other/Charge", b"").await;
    assert_status(&status, Code::Unimplemented, "METHOD_NOT_ALLOWED", &[]);
}

/// A message that is these bytes, whatever they are.
#[derive(Debug, Default)]
struct Raw(&'static [u8]);

impl prost::Message for Raw {
    fn encode_raw(&self, buffer: &mut impl bytes::BufMut) {
        buffer.put_slice(self.0);
    }

    fn merge_field(
        &mut self,
        _: u32,
        _: prost::encoding::WireType,
        _: &mut impl bytes::Buf,
        _: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        unreachable!("it is only sent")
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {}
}

/// A request with a time-out that only the server looks at: tonic's own client would act on it first.
fn within<T>(timeout: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    request
}

macro_rules! patient_client {
    ($app:expr) => {{
        let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<tonic::body::Body>();
        WalletServiceClient::with_origin(http, format!("http://{}", $app.grpc).parse().unwrap())
    }};
}

#[tokio::test]
async fn a_command_whose_deadline_has_passed_is_not_applied() {
    let (app, client) = app().await;
    let mut patient = patient_client!(app);
    let late = patient.charge(within("0n", charge(1, 100))).await.unwrap_err();
    assert_status(&late, Code::DeadlineExceeded, "DEADLINE", &[]);
    let lock = app.hold_write_lock();
    let late = patient.charge(within("50m", charge(2, 100))).await.unwrap_err();
    assert_status(&late, Code::DeadlineExceeded, "DEADLINE", &[]);
    drop(lock);
    assert_eq!(balance(&client).await, 1_000);
    assert!(patient.charge(within("1M", charge(3, 100))).await.is_ok());
    let wrong = patient.charge(within("soon", charge(4, 100))).await.unwrap_err();
    assert_status(&wrong, Code::InvalidArgument, "INVALID_REQUEST", &[]);
    assert_eq!(balance(&client).await, 900);
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_unavailable_and_health_says_so() {
    let (app, mut client) = app_with(|settings| settings.lock_timeout_ms = 50).await;
    let mut health = HealthClient::new(app.channel().await);
    let name = "wallet.v1.WalletService";
    let mut watched = health.watch(HealthCheckRequest { service: name.to_owned() }).await.unwrap().into_inner();
    let mut next = async || watched.message().await.unwrap().map(|told| told.status());
    assert_eq!(next().await, Some(ServingStatus::Serving));

    let lock = app.hold_write_lock();
    let status = client.charge(charge(1, 100)).await.unwrap_err();
    assert_status(&status, Code::Unavailable, "UNAVAILABLE", &[]);
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(app.get("/api/v1/healthcheck").await.status, 503);
    assert_eq!(balance(&client).await, 1_000, "reads go on");
    drop(lock);
    assert_eq!(next().await, Some(ServingStatus::Serving), "it comes back by itself");
    assert_eq!(app.get("/api/v1/healthcheck").await.status, 200);
    assert!(!client.charge(charge(1, 100)).await.unwrap().into_inner().replayed, "nothing was done the first time");

    app.begin_stop();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None, "the stream ends, and does not hold up the shut-down");
}

#[tokio::test]
async fn every_service_is_healthy_and_an_unknown_one_is_not_found() {
    let (app, _) = app().await;
    let mut health = HealthClient::new(app.channel().await);
    for service in ["", "wallet.v1.WalletService"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let unknown = health.check(HealthCheckRequest { service: "nobody".to_owned() }).await.unwrap_err();
    assert_status(&unknown, Code::NotFound, "NOT_FOUND", &[]);
}

#[tokio::test]
async fn both_versions_of_reflection_list_the_services() {
    let (app, _) = app().await;
    macro_rules! listed {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::ServerReflectionRequest;
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
            let message_request = Some(MessageRequest::ListServices(String::new()));
            let request = ServerReflectionRequest { host: String::new(), message_request };
            let mut client = ServerReflectionClient::new(app.channel().await);
            let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
            match answers.message().await.unwrap().unwrap().message_response {
                Some(MessageResponse::ListServicesResponse(list)) => {
                    list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
                }
                other => panic!("no list: {other:?}"),
            }
        }};
    }
    for services in [listed!(v1), listed!(v1alpha)] {
        for name in ["wallet.v1.WalletService", "grpc.health.v1.Health"] {
            assert!(services.iter().any(|service| service == name), "{name} in {services:?}");
        }
    }
}

#[tokio::test]
async fn a_reflection_stream_left_open_does_not_hold_up_the_shut_down() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    let (app, _) = app().await;
    let mut client = ServerReflectionClient::new(app.channel().await);
    let mut answers = client.server_reflection_info(stream::pending()).await.unwrap().into_inner();
    app.begin_stop();
    assert!(answers.message().await.expect("it is not cut off").is_none());
    app.stop().await;
}

#[tokio::test]
async fn a_request_id_is_echoed() {
    let (_app, mut client) = app().await;
    let mut request = Request::new(charge(1, 1));
    request.metadata_mut().insert("x-request-id", "round-7".parse().unwrap());
    assert_eq!(client.charge(request).await.unwrap().metadata().get("x-request-id").unwrap(), "round-7");
    assert_eq!(client.charge(charge(1, 1)).await.unwrap().metadata().get("x-request-id").unwrap().len(), 36);
}

#[tokio::test]
async fn equal_charges_at_once_move_money_once() {
    let (_app, client) = app().await;
    let answers = join_all((0..64).map(|_| {
        let mut client = client.clone();
        async move { client.charge(charge(1, 100)).await.unwrap().into_inner() }
    }))
    .await;
    assert!(answers.iter().all(|answer| answer.balance_minor == 900));
    assert_eq!(answers.iter().filter(|answer| answer.replayed).count(), 63);
    assert_eq!(balance(&client).await, 900);
}

fn commands(commands: impl IntoIterator<Item = Command>) -> Vec<TransactRequest> {
    commands.into_iter().map(|command| TransactRequest { command: Some(command) }).collect()
}

/// An answer in short: the balance, or the reason.
fn told(answer: TransactResponse) -> Result<i64, String> {
    match answer.outcome.expect("an answer has an outcome") {
        Outcome::Applied(applied) => Ok(applied.balance_minor),
        Outcome::Refused(refused) => Err(refused.reason),
    }
}

#[tokio::test]
async fn a_stream_answers_every_command_in_order_and_goes_on_after_a_refusal() {
    let (_app, mut client) = app().await;
    let win = WinRequest { user_id: USER, winning_event_id: 1, amount_minor: 5 };
    let rollback = RollbackRequest { user_id: USER, event_id: 1 };
    let mut requests = commands([
        Command::Charge(charge(1, 100)),
        Command::Charge(charge(2, 901)),
        Command::Charge(charge(-1, 1)),
        Command::Charge(charge(3, -1)),
        Command::Win(win),
        Command::Charge(charge(1, 100)),
        Command::Charge(charge(1, 7)),
        Command::Rollback(rollback),
        Command::Charge(ChargeRequest { user_id: 5, ..charge(1, 1) }),
    ]);
    requests.insert(3, TransactRequest { command: None });
    let answers = client.transact(stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| told(answer.unwrap())).collect().await;
    let refused = |reason: &str| Err(reason.to_owned());
    let expected = [
        Ok(900),
        refused("BALANCE_TOO_LOW"),
        refused("INVALID_REQUEST"),
        refused("INVALID_REQUEST"),
        refused("NEGATIVE_AMOUNT"),
        Ok(905),
        Ok(900),
        refused("EVENT_CONFLICT"),
        Ok(1_005),
        refused("UNKNOWN_USER"),
    ];
    assert_eq!(answers, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_are_in_flight_on_one_stream() {
    const COUNT: i64 = 20_000;
    let (app, mut client) = app().await;
    let requests = (0..COUNT).map(|event| TransactRequest { command: Some(Command::Charge(charge(event, 0))) });
    let mut answers = client.transact(stream::iter(requests)).await.unwrap().into_inner();
    let mut sequence = 1;
    while let Some(answer) = answers.message().await.unwrap() {
        let Some(Outcome::Applied(applied)) = answer.outcome else { panic!("{answer:?}") };
        sequence += 1;
        assert_eq!(applied.sequence, sequence, "in order");
    }
    assert_eq!(sequence, COUNT + 1);
    let commits = client.get_checkpoint(GetCheckpointRequest {}).await.unwrap().into_inner().commit_id;
    assert!(commits < COUNT / 10, "they share commits: {commits}");
    app.stop().await;
}

/// Charges without end, and how many of them were taken.
fn endless_charges() -> (impl Stream<Item = TransactRequest>, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&taken);
    let requests = stream::iter(0..).map(move |event| {
        counter.fetch_add(1, Ordering::Relaxed);
        TransactRequest { command: Some(Command::Charge(charge(event, 0))) }
    });
    (requests, taken)
}

/// The count when it has come to rest.
async fn at_rest(count: &AtomicU64) -> u64 {
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = count.load(Ordering::Relaxed);
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_answers_slows_only_itself() {
    let (app, mut client) = app().await;
    let (requests, taken) = endless_charges();
    let mut answers = WalletServiceClient::new(app.channel().await).transact(requests).await.unwrap().into_inner();
    let taken = at_rest(&taken).await;
    assert!(taken < 200_000, "the stream is read no further: {taken}");
    client.charge(charge(i64::MAX, 100)).await.expect("others are served");
    for sequence in 2..taken.min(4_000) {
        let answer = answers.message().await.unwrap().unwrap();
        let Some(Outcome::Applied(applied)) = answer.outcome else { panic!("{answer:?}") };
        assert_eq!(applied.sequence.cast_unsigned(), sequence, "and the answers come when they are asked for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_frames_of_one_command_each_is_no_attack() {
    let (app, _) = app().await;
    let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<tonic::body::Body>();
    let (requests, taken) = endless_charges();
    let frames = requests.map(|request| {
        let length = u32::try_from(request.encoded_len()).unwrap();
        let message = [&[0][..], &length.to_be_bytes(), &request.encode_to_vec()].concat();
        Ok::<_, Status>(Frame::data(Bytes::from(message)))
    });
    let stalled = http::Request::post(format!("http://{}/wallet.v1.WalletService/Transact", app.grpc))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(StreamBody::new(frames)))
        .unwrap();
    let answers = http.request(stalled).await.unwrap();
    at_rest(&taken).await;
    let first = answers.into_body().frame().await.expect("an answer");
    assert!(first.expect("the connection lives").is_data());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_leave_room_for_everybody_else() {
    // So little room that a few streams would take all of it.
    let (app, mut client) = app_with(|settings| settings.queue_capacity = 512).await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        let (requests, _) = endless_charges();
        let mut stream = WalletServiceClient::new(app.channel().await);
        streams.push(tokio::spawn(async move {
            let mut answers = stream.transact(requests).await.unwrap().into_inner();
            while let Ok(Some(_)) = answers.message().await {}
        }));
    }
    for event in 0..200 {
        client.charge(charge(i64::MAX - event, 1)).await.expect("there is room");
    }
    streams.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_is_no_grpc_is_not_done() {
    let (app, client) = app().await;
    let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<http_body_util::Full<Bytes>>();
    let message = charge(1, 100).encode_to_vec();
    let length = u32::try_from(message.len()).unwrap();
    let body = Bytes::from([&[0][..], &length.to_be_bytes(), &message].concat());
    for (content_type, status) in [("text/plain", 415), ("application/grpc-web", 415), ("application/grpc+proto", 200)]
    {
        let request = http::Request::post(format!("http://{}/wallet.v1.WalletService/Charge", app.grpc))
            .header("content-type", content_type)
            .body(http_body_util::Full::new(body.clone()))
            .unwrap();
        assert_eq!(http.request(request).await.unwrap().status(), status, "{content_type}");
        assert_eq!(balance(&client).await, if status == 200 { 900 } else { 1_000 });
    }
}

#[tokio::test]
async fn at_shut_down_what_was_accepted_is_answered_and_the_stream_says_why_it_ends() {
    let (app, mut client) = app().await;
    let (sender, requests) = mpsc::unbounded_channel();
    for request in commands((0..500).map(|event| Command::Charge(charge(event, 1)))) {
        sender.send(request).unwrap();
    }
    let mut answers = client.transact(UnboundedReceiverStream::new(requests)).await.unwrap().into_inner();
    assert_eq!(told(answers.message().await.unwrap().unwrap()), Ok(999));
    app.begin_stop();
    let mut answered = 1;
    let end = loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                answered += 1;
                assert_eq!(told(answer), Ok(1_000 - answered));
            }
            Ok(None) => panic!("it ended without a word"),
            Err(status) => break status,
        }
    };
    assert_status(&end, Code::Unavailable, "UNAVAILABLE", &[]);
    let database = app.database.clone();
    let dir = app.stop().await;
    let report = wallet::store::sqlite::audit(&database, None).unwrap().unwrap();
    assert_eq!(report.head.last_entry_id.get(), answered + 1, "all that was decided was answered");
    drop(dir);
}

#[tokio::test]
async fn a_streams_deadline_ends_it_after_what_was_accepted() {
    let (app, client) = app().await;
    let mut patient = patient_client!(app);
    let (sender, requests) = mpsc::unbounded_channel();
    for request in commands([Command::Charge(charge(1, 100))]) {
        sender.send(request).unwrap();
    }
    let requests = within("2S", UnboundedReceiverStream::new(requests));
    let mut answers = patient.transact(requests).await.unwrap().into_inner();
    assert_eq!(told(answers.message().await.unwrap().unwrap()), Ok(900));
    let end = answers.message().await.unwrap_err();
    assert_status(&end, Code::DeadlineExceeded, "DEADLINE", &[]);
    assert_eq!(balance(&client).await, 900);
}

#[tokio::test]
async fn what_was_committed_stays_when_the_client_vanishes() {
    let (app, client) = app().await;
    let (sender, requests) = mpsc::unbounded_channel();
    for request in commands((0..100).map(|event| Command::Charge(charge(event, 1)))) {
        sender.send(request).unwrap();
    }
    let mut vanishing = WalletServiceClient::new(app.channel().await);
    let mut answers = vanishing.transact(UnboundedReceiverStream::new(requests)).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    drop((answers, vanishing, sender));
    let mut again = client.clone();
    let mut moved = 0;
    for event in 0..100 {
        moved += i64::from(!again.charge(charge(event, 1)).await.unwrap().into_inner().replayed);
    }
    assert!(moved < 100, "the first was committed before its answer came");
    assert_eq!(balance(&client).await, 900, "each once, whoever sent it");
}
