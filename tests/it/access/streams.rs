//! Streams and batches: each command has its own right, and a stream outlives no token.

use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wallet::access::Scope;
use wallet::api::grpc::proto::transact_request::Command as ProtoCommand;
use wallet::api::grpc::proto::transact_response::Outcome;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{ListEntriesRequest, TransactRequest, WatchEntriesRequest};

use super::{Tokens, bearer, with_token};
use crate::support::command::{Message, PlainCommand};
use crate::support::process::{Process, database_url, run, wallet};

fn command(command: PlainCommand) -> TransactRequest {
    let Message::Command(command) = command.encode().message else { panic!("a stream does not carry it") };
    TransactRequest { command: Some(command) }
}

fn create(user_id: i64) -> wallet::api::grpc::proto::CreateWalletRequest {
    let Message::CreateWallet(request) = PlainCommand::open(user_id, 1_000).encode().message else { unreachable!() };
    request
}

#[tokio::test]
async fn a_command_that_its_caller_may_not_send_is_refused_alone() {
    let tokens = Tokens::new();
    let (engine, operator) = (tokens.add("engine-a", Scope::Engine), tokens.add("cashier", Scope::Operator));
    let app = tokens.serve().await;
    let mut client = WalletServiceClient::new(app.channel().await);
    client.create_wallet(with_token(create(1), &operator)).await.unwrap();
    let commands = [PlainCommand::charge(1, 1, 100), PlainCommand::deposit(1, 1, 5), PlainCommand::win(1, 1, 50)];
    let requests = tokio_stream::iter(commands.map(command));
    let answers = client.transact(with_token(requests, &engine)).await.unwrap().into_inner();
    let outcomes: Vec<String> = answers
        .map(|answer| match answer.unwrap().outcome.unwrap() {
            Outcome::Applied(applied) => applied.balance_minor.to_string(),
            Outcome::Refused(refused) => refused.reason,
        })
        .collect()
        .await;
    assert_eq!(outcomes, ["900", "FORBIDDEN", "950"]);

    let body = r#"{"Commands":[{"Deposit":{"UserId":1,"TransactionId":1,"Amount":1.00}},
                               {"Charge":{"UserId":1,"EventId":2,"Amount":1.00}}]}"#;
    let token = bearer(&operator);
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let results = app.request("POST", "/api/v1/batch", &headers, body).await.json()["Results"].clone();
    assert_eq!(results[0]["AccountBalance"], json!(10.50));
    let forbidden = json!({"success": false, "error": "Caller may not do this", "Reason": "FORBIDDEN"});
    assert_eq!(results[1], forbidden);
}

#[tokio::test]
async fn entries_keep_the_name_of_their_caller_and_verify_covers_it() {
    let tokens = Tokens::new();
    let (engine, operator) = (tokens.add("engine-a", Scope::Engine), tokens.add("cashier", Scope::Operator));
    let app = tokens.serve().await;
    let mut client = WalletServiceClient::new(app.channel().await);
    client.create_wallet(with_token(create(1), &operator)).await.unwrap();
    let requests = tokio_stream::once(command(PlainCommand::charge(1, 1, 100)));
    let mut answers = client.transact(with_token(requests, &engine)).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap();
    let token = bearer(&operator);
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let batch = r#"{"Commands":[{"Deposit":{"UserId":1,"TransactionId":1,"Amount":1.00,"Note":"by hand"}}]}"#;
    assert_eq!(app.request("POST", "/api/v1/batch", &headers, batch).await.status, 200);
    // A replay is its first caller's.
    let charge = command(PlainCommand::charge(1, 1, 100)).command.unwrap();
    let ProtoCommand::Charge(charge) = charge else { unreachable!() };
    let other = tokens.add("engine-b", Scope::Engine);
    drop(other);
    assert!(client.charge(with_token(charge, &engine)).await.unwrap().get_ref().replayed);
    let list = ListEntriesRequest { user_id: Some(1), ..ListEntriesRequest::default() };
    let listed = client.list_entries(with_token(list, &operator)).await.unwrap();
    let callers: Vec<_> = listed.get_ref().entries.iter().map(|entry| entry.caller().to_owned()).collect();
    assert_eq!(callers, ["cashier", "engine-a", "cashier"]);

    let ledger = app.stop().await;
    let database = ledger.file();
    let verify = || run(&["verify", "--database-url", &database_url(database)]);
    assert_eq!(verify().2, Some(0));
    // Somebody changes a name behind the ledger's back, and mends the trigger that is in the way.
    let connection = rusqlite::Connection::open(database).unwrap();
    let by_name = "select sql from sqlite_schema where name = 'caller_is_never_updated'";
    let trigger: String = connection.query_row(by_name, [], |row| row.get(0)).unwrap();
    connection.execute_batch("drop trigger caller_is_never_updated").unwrap();
    assert_eq!(connection.execute("update caller set name = 'engine-x' where name = 'engine-a'", []), Ok(1));
    connection.execute_batch(&trigger).unwrap();
    drop(connection);
    let (_, err, code) = verify();
    assert!(code == Some(2) && err.contains("the ledger is wrong"), "{err}");
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked() {
    let tokens = Tokens::new();
    let (engine, operator) = (tokens.add("engine-a", Scope::Engine), tokens.add("cashier", Scope::Operator));
    let path = tokens.path();
    let flags = ["--tokens-file", path.to_str().unwrap()];
    let process = Process::start_with(wallet(), &tokens.folder().join("wallet.db"), &flags);
    let channel = crate::support::client::channel(process.grpc).await;
    let mut client = WalletServiceClient::new(channel);
    client.create_wallet(with_token(create(1), &operator)).await.unwrap();
    let (sender, requests) = mpsc::unbounded_channel();
    sender.send(command(PlainCommand::charge(1, 1, 1))).unwrap();
    let requests = UnboundedReceiverStream::new(requests);
    let mut answers = client.transact(with_token(requests, &engine)).await.unwrap().into_inner();
    assert!(answers.next().await.unwrap().is_ok());
    let watching = with_token(WatchEntriesRequest::default(), &operator);
    let mut watched = client.watch_entries(watching).await.unwrap().into_inner();
    assert!(watched.next().await.unwrap().is_ok());

    let another = tokens.add("engine-b", Scope::Engine);
    tokens.revoke("engine-a");
    tokens.revoke("cashier");
    process.signal("HUP");
    let (mut event, mut taken) = (1, 0);
    let refused = loop {
        event += 1;
        let _ = sender.send(command(PlainCommand::charge(1, event, 1)));
        match answers.next().await {
            Some(Ok(_)) => taken += 1,
            Some(Err(status)) => break status,
            None => panic!("it ends with a reason"),
        }
    };
    assert_unauthenticated(&refused);
    // The feed says so with the next entry.
    let Message::Command(ProtoCommand::Charge(charge)) = PlainCommand::charge(1, 1_000_000, 1).encode().message else {
        unreachable!()
    };
    client.charge(with_token(charge, &another)).await.unwrap();
    let refused = loop {
        match watched.next().await {
            Some(Ok(_)) => {}
            Some(Err(status)) => break status,
            None => panic!("it ends with a reason"),
        }
    };
    assert_unauthenticated(&refused);
    let list = ListEntriesRequest { user_id: Some(1), page_size: Some(1_000), page_token: None };
    let auditor = tokens.add("auditor", Scope::Auditor);
    process.signal("HUP");
    let entries = loop {
        match client.list_entries(with_token(list.clone(), &auditor)).await {
            Ok(listed) => break listed.into_inner().entries,
            Err(status) => assert_ne!(status.code(), Code::Internal),
        }
    };
    assert_eq!(entries.iter().filter(|entry| entry.caller() == "engine-a").count(), taken + 1, "no more than answered");
}

fn assert_unauthenticated(status: &Status) {
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "UNAUTHENTICATED");
}
