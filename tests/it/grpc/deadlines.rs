//! Deadlines of calls and of streams.

use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;
use wallet::api::grpc::proto::transact_request::Command;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;

use super::transact::{commands, in_short};
use super::{app, assert_status, balance, charge, client_without_timeout, within};

#[tokio::test]
async fn a_command_whose_deadline_has_passed_is_not_applied() {
    let (app, client) = app().await;
    let mut client_without_timeout = client_without_timeout!(app);
    let late = client_without_timeout.charge(within("0n", charge(1, 100))).await.unwrap_err();
    assert_status(&late, Code::DeadlineExceeded, "DEADLINE", &[]);
    let lock = app.hold_write_lock();
    let late = client_without_timeout.charge(within("50m", charge(2, 100))).await.unwrap_err();
    assert_status(&late, Code::DeadlineExceeded, "DEADLINE", &[]);
    drop(lock);
    assert_eq!(balance(&client).await, 1_000);
    assert!(client_without_timeout.charge(within("1M", charge(3, 100))).await.is_ok());
    let wrong = client_without_timeout.charge(within("soon", charge(4, 100))).await.unwrap_err();
    assert_status(&wrong, Code::InvalidArgument, "INVALID_REQUEST", &[]);
    assert_eq!(balance(&client).await, 900);
}

#[tokio::test]
async fn a_streams_deadline_ends_it_after_what_was_accepted() {
    let (app, client) = app().await;
    let mut client_without_timeout = client_without_timeout!(app);
    let (sender, requests) = mpsc::unbounded_channel();
    for request in commands([Command::Charge(charge(1, 100))]) {
        sender.send(request).unwrap();
    }
    let requests = within("2S", UnboundedReceiverStream::new(requests));
    let mut answers = client_without_timeout.transact(requests).await.unwrap().into_inner();
    assert_eq!(in_short(answers.message().await.unwrap().unwrap()), Ok(900));
    let end = answers.message().await.unwrap_err();
    assert_status(&end, Code::DeadlineExceeded, "DEADLINE", &[]);
    assert_eq!(balance(&client).await, 900);
}
