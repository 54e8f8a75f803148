//! Streams of commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status};
use wallet::api::grpc::proto::rollback_request::Event;
use wallet::api::grpc::proto::transact_request::Command;
use wallet::api::grpc::proto::transact_response::Outcome;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{
    ChargeRequest, GetCheckpointRequest, RollbackRequest, TransactRequest, TransactResponse, WinRequest,
};

use super::{USER, app, app_with, assert_status, balance, charge};

pub fn commands(commands: impl IntoIterator<Item = Command>) -> Vec<TransactRequest> {
    commands.into_iter().map(|command| TransactRequest { command: Some(command) }).collect()
}

/// The balance of an answer, or its reason.
pub fn in_short(answer: TransactResponse) -> Result<i64, String> {
    match answer.outcome.expect("an answer has an outcome") {
        Outcome::Applied(applied) => Ok(applied.balance_minor),
        Outcome::Refused(refused) => Err(refused.reason),
    }
}

#[tokio::test]
async fn a_stream_answers_every_command_in_order_and_goes_on_after_a_refusal() {
    let (_app, mut client) = app().await;
    let win = WinRequest { user_id: Some(USER), winning_event_id: Some(1), amount_minor: Some(5), round_id: None };
    let rollback = RollbackRequest { user_id: Some(USER), event: Some(Event::EventId(1)) };
    let mut requests = commands([
        Command::Charge(charge(1, 100)),
        Command::Charge(charge(2, 901)),
        Command::Charge(charge(-1, 1)),
        Command::Charge(charge(3, -1)),
        Command::Win(win),
        Command::Charge(charge(1, 100)),
        Command::Charge(charge(1, 7)),
        Command::Rollback(rollback),
        Command::Charge(ChargeRequest { user_id: Some(5), ..charge(1, 1) }),
    ]);
    requests.insert(3, TransactRequest { command: None });
    let answers = client.transact(stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| in_short(answer.unwrap())).collect().await;
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
async fn many_frames_of_one_command_each_are_accepted() {
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
    assert!(first.expect("the connection is open").is_data());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_do_not_keep_other_callers_out() {
    // A queue so small that a few streams would fill it.
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
        client.charge(charge(i64::MAX - event, 1)).await.expect("the queue has space");
    }
    streams.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn at_shut_down_what_was_accepted_is_answered_and_the_stream_says_why_it_ends() {
    let (app, mut client) = app().await;
    let (sender, requests) = mpsc::unbounded_channel();
    for request in commands((0..500).map(|event| Command::Charge(charge(event, 1)))) {
        sender.send(request).unwrap();
    }
    let mut answers = client.transact(UnboundedReceiverStream::new(requests)).await.unwrap().into_inner();
    assert_eq!(in_short(answers.message().await.unwrap().unwrap()), Ok(999));
    app.begin_stop();
    let mut answered = 1;
    let end = loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                answered += 1;
                assert_eq!(in_short(answer), Ok(1_000 - answered));
            }
            Ok(None) => panic!("it ended without a status"),
            Err(status) => break status,
        }
    };
    assert_status(&end, Code::Unavailable, "UNAVAILABLE", &[]);
    let report = app.stop().await.audit();
    assert_eq!(report.heads.entries(), answered + 1, "all that was decided was answered");
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
