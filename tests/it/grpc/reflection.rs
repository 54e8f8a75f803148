//! The standard reflection service, in both its versions.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionRequest, ServerReflectionRequest as Request, ServerReflectionResponse,
};
use wallet::engine::SystemClock;

use super::{app, assert_status};
use crate::support::app::App;
use crate::support::client;
use crate::support::faulty::Faulty;

fn ask(question: MessageRequest) -> Request {
    Request { host: String::new(), message_request: Some(question) }
}

fn symbol(name: impl Into<String>) -> Request {
    ask(MessageRequest::FileContainingSymbol(name.into()))
}

/// A stream, its questions to be sent one by one.
async fn open(channel: Channel) -> (mpsc::UnboundedSender<Request>, Streaming<ServerReflectionResponse>) {
    let (sender, questions) = mpsc::unbounded_channel();
    let questions = UnboundedReceiverStream::new(questions);
    let answers = ServerReflectionClient::new(channel).server_reflection_info(questions).await.unwrap();
    (sender, answers.into_inner())
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
        for name in ["wallet.v1.WalletService", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"] {
            assert!(services.iter().any(|service| service == name), "{name} in {services:?}");
        }
    }
}

#[tokio::test]
async fn every_kind_of_symbol_is_found_in_its_file() {
    let (app, _) = app().await;
    let (questions, mut answers) = open(app.channel().await).await;
    for (name, file) in [
        ("wallet.v1.WalletService", "wallet.proto"),
        ("wallet.v1.WalletService.Charge", "wallet.proto"),
        ("wallet.v1.ChargeRequest", "wallet.proto"),
        ("wallet.v1.ChargeRequest.user_id", "wallet.proto"),
        ("wallet.v1.TransactRequest.command", "wallet.proto"),
        ("wallet.v1.EntryKind", "wallet.proto"),
        ("wallet.v1.ENTRY_KIND_OPEN", "wallet.proto"),
        ("grpc.health.v1.HealthCheckResponse.ServingStatus", "health.proto"),
        ("google.rpc.ErrorInfo", "error_details.proto"),
        ("google.protobuf.Timestamp", "google/protobuf/timestamp.proto"),
    ] {
        questions.send(symbol(name)).unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        let Some(MessageResponse::FileDescriptorResponse(files)) = answer.message_response else {
            panic!("{name}: {answer:?}")
        };
        let found = FileDescriptorProto::decode(&*files.file_descriptor_proto[0]).unwrap().name.unwrap();
        assert!(found.ends_with(file), "{name} is in {found}");
        assert_eq!(answer.original_request, Some(symbol(name)));
        questions.send(ask(MessageRequest::FileByFilename(found))).unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.message_response, Some(MessageResponse::FileDescriptorResponse(files)));
    }
}

#[tokio::test]
async fn what_is_not_known_is_an_answer_and_the_stream_goes_on() {
    let (app, _) = app().await;
    let (questions, mut answers) = open(app.channel().await).await;
    let extension = |containing_type: &str, extension_number| {
        let containing_type = containing_type.to_owned();
        ask(MessageRequest::FileContainingExtension(ExtensionRequest { containing_type, extension_number }))
    };
    let large = "x".repeat(60_000);
    let questions_and_codes = [
        (symbol("wallet.v1.Nobody"), Code::NotFound),
        (symbol(""), Code::NotFound),
        (ask(MessageRequest::FileByFilename("nothing.proto".to_owned())), Code::NotFound),
        (ask(MessageRequest::AllExtensionNumbersOfType("wallet.v1.Nobody".to_owned())), Code::NotFound),
        (extension("wallet.v1.ChargeRequest", 1_000), Code::NotFound),
        (extension("wallet.v1.ChargeRequest", -1), Code::NotFound),
        (extension("wallet.v1.Nobody", 1), Code::NotFound),
        (symbol(large.clone()), Code::NotFound),
        (extension(&large, 1), Code::NotFound),
        (Request { host: large.clone(), ..symbol("wallet.v1.WalletService") }, Code::NotFound),
        (Request { host: String::new(), message_request: None }, Code::Unimplemented),
    ];
    for (question, code) in questions_and_codes {
        questions.send(question.clone()).unwrap();
        let answer = answers.message().await.unwrap().expect("the stream goes on");
        assert!(answer.encoded_len() < 1_000, "a long name is not repeated");
        let Some(MessageResponse::ErrorResponse(ErrorResponse { error_code, error_message })) = answer.message_response
        else {
            panic!("{question:?}: {answer:?}")
        };
        assert_eq!(error_code, i32::from(code), "{error_message}");
    }
    questions.send(ask(MessageRequest::AllExtensionNumbersOfType("wallet.v1.ChargeRequest".to_owned()))).unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::AllExtensionNumbersResponse(numbers)) = answer.message_response else {
        panic!("{answer:?}")
    };
    assert_eq!((numbers.base_type_name.as_str(), numbers.extension_number), ("wallet.v1.ChargeRequest", vec![]));

    questions.send(symbol("x".repeat(1_000_000))).unwrap();
    let status = answers.message().await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, "PAYLOAD_TOO_LARGE", &[]);
}

#[tokio::test]
async fn streams_are_limited_on_a_connection_and_in_all() {
    let (app, _) = app().await;
    let channels = [app.channel().await, app.channel().await, app.channel().await];
    let refused = async |channel: &Channel| {
        let mut client = ServerReflectionClient::new(channel.clone());
        client.server_reflection_info(stream::pending()).await.err()
    };
    let mut streams = Vec::new();
    for channel in &channels[..2] {
        for _ in 0..32 {
            streams.push(open(channel.clone()).await);
        }
        let status = refused(channel).await.expect("no more on this connection");
        assert_status(&status, Code::ResourceExhausted, "BUSY", &[]);
    }
    let status = refused(&channels[2]).await.expect("no more on any");
    assert_status(&status, Code::ResourceExhausted, "BUSY", &[]);
    // Who ends one may open another.
    let (questions, mut answers) = streams.pop().unwrap();
    drop(questions);
    assert!(answers.message().await.unwrap().is_none());
    open(channels[2].clone()).await;
}

#[tokio::test]
async fn a_stream_that_is_silent_or_sends_half_a_message_ends_in_time() {
    let faulty = Faulty::spawn(|_| (), SystemClock).await;
    let (questions, mut answers) = open(client::channel(faulty.grpc).await).await;
    // Together they take longer than a stream may be silent.
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        questions.send(symbol("wallet.v1.Wallet")).unwrap();
        assert!(answers.message().await.unwrap().is_some());
    }
    let status = answers.message().await.unwrap_err();
    assert_status(&status, Code::DeadlineExceeded, "REQUEST_TIMEOUT", &[]);

    let frames = stream::iter([hyper::body::Frame::data(bytes::Bytes::from_static(&[0, 0, 0, 0, 9, 8]))]);
    let body = http_body_util::StreamBody::new(frames.map(Ok::<_, tonic::Status>).chain(stream::pending()));
    let mut http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let http = http.http2_only(true).build_http::<tonic::body::Body>();
    let path = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
    let request = axum::http::Request::post(format!("http://{}/{path}", faulty.grpc))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(body))
        .unwrap();
    let response = http.request(request).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    let status = tonic::Status::from_header_map(body.trailers().expect("trailers")).expect("a status");
    assert_status(&status, Code::DeadlineExceeded, "REQUEST_TIMEOUT", &[]);
}

#[tokio::test]
async fn a_reflection_stream_left_open_does_not_hold_up_the_shut_down() {
    let (app, _) = app().await;
    let mut client = ServerReflectionClient::new(app.channel().await);
    let mut answers = client.server_reflection_info(stream::pending()).await.unwrap().into_inner();
    app.begin_stop();
    assert!(answers.message().await.expect("it is not cut off").is_none());
    app.stop().await;
}

#[tokio::test]
async fn reflection_can_be_switched_off() {
    let app = App::spawn_with(|settings| settings.access.reflection = false).await;
    let questions = stream::iter([ask(MessageRequest::ListServices(String::new()))]);
    let refused = ServerReflectionClient::new(app.channel().await).server_reflection_info(questions).await;
    assert_status(&refused.unwrap_err(), Code::Unimplemented, "METHOD_NOT_ALLOWED", &[]);
}
