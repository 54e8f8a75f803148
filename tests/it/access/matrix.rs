//! The table of `docs/security.md`: each caller and each call, on both APIs.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::Value;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_types::StatusExt as _;
use wallet::access::Scope;
use wallet::api::grpc::proto::transact_request::Command as ProtoCommand;
use wallet::api::grpc::proto::transact_response::Outcome;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{
    GetCheckpointRequest, GetEventRequest, GetWalletRequest, ListEntriesRequest, TransactRequest, WatchEntriesRequest,
};

use super::{MADE, Tokens, bearer};
use crate::support::app::App;
use crate::support::command::{Message, PlainCommand};
use crate::support::events::Events;

const SECURITY: &str = include_str!("../../../docs/security.md");
/// The wallet that is there from the start, with an event.
const USER: i64 = 1;
const EVENT: i64 = 1;

/// The callers of the table's columns.
const CALLERS: [&str; 6] = ["nobody", "engine", "operator", "auditor", "expired", "revoked"];

/// A row: a call, and what each caller is answered.
struct Row {
    call: &'static str,
    /// The command that a batch or a stream carries.
    command: Option<&'static str>,
    cells: Vec<&'static str>,
}

fn rows() -> Vec<Row> {
    let table = SECURITY.lines().skip_while(|line| !line.starts_with("| call | nobody |"));
    let mut lines = table.take_while(|line| line.starts_with('|'));
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    assert_eq!(cells(lines.next().expect("a table"))[1..], CALLERS);
    let row = |line: &'static str| {
        let cells = cells(line);
        let mut words = cells[0].split('`').filter(|word| !word.trim().is_empty() && *word != " with a ");
        let (call, command) = (words.next().expect("a call"), words.next());
        Row { call, command, cells: cells[1..].to_vec() }
    };
    lines.skip(1).map(row).collect()
}

/// What the calls of one cell are sent with.
struct Caller<'a> {
    app: &'a App,
    channel: Channel,
    token: Option<&'a str>,
    /// Tells this cell from others: its events, its new user, and the address from which it seems to come, so that no
    /// caller is limited because of others.
    number: i64,
}

/// What came of a call: `yes`, or the status of who may not.
type Answer = &'static str;

impl Caller<'_> {
    fn address(&self) -> String {
        Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(self.number).expect("not that many")).to_string()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("x-forwarded-for", self.address().parse().expect("text"));
        if let Some(token) = self.token {
            metadata.insert("authorization", bearer(token).parse().expect("text"));
        }
        request
    }

    fn command(&self, name: &str) -> PlainCommand {
        let number = self.number + 1_000;
        match name {
            "charge" | "Charge" => PlainCommand::charge(USER, number, 1),
            "win" | "Win" => PlainCommand::win(USER, number, 1),
            "play" | "Play" => PlainCommand::play(USER, (number, 1), (number, 1)),
            "rollback" | "Rollback" => PlainCommand::rollback(USER, number),
            "deposit" | "Deposit" => PlainCommand::deposit(USER, number, 1),
            "withdraw" | "Withdraw" => PlainCommand::withdraw(USER, number, 1),
            "users" | "CreateWallet" => PlainCommand::open(number, 1),
            // A wallet of its own: others are not to be frozen.
            "freeze" | "FreezeWallet" => PlainCommand::freeze(2, number),
            "unfreeze" | "UnfreezeWallet" => PlainCommand::unfreeze(2, number),
            other => panic!("{other} is no command"),
        }
    }

    async fn rest(&self, method: &str, path: &str, carried: Option<&str>) -> Answer {
        let last = path.rsplit('/').next().expect("a path");
        let body = match (method, carried) {
            ("GET", _) => String::new(),
            (_, Some(name)) => {
                let fields = self.command(name).encode().json();
                format!(r#"{{"Commands":[{{"{name}":{fields}}}]}}"#)
            }
            (_, None) => self.command(last).encode().json(),
        };
        let user = if last == "freeze" || last == "unfreeze" { 2 } else { USER };
        let path = path.replace("{UserId}", &user.to_string()).replace("{EventId}", &EVENT.to_string());
        let authorization = self.token.map(bearer);
        let address = self.address();
        let mut headers = vec![("x-forwarded-for", address.as_str())];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        if method == "POST" {
            headers.push(("content-type", "application/json"));
        }
        if path.ends_with("/stream") {
            return self.events(&path, &headers).await;
        }
        let reply = self.app.request(method, &path, &headers, body).await;
        match (reply.status, reply.header("wallet-reason")) {
            (401, "UNAUTHENTICATED") => {
                assert_eq!(reply.header("www-authenticate"), "Bearer");
                "401"
            }
            (403, "FORBIDDEN") => "403",
            (200 | 201, _) => match carried.map(|_| reply.json()["Results"][0].clone()) {
                Some(result) if result["Reason"] == "FORBIDDEN" => "403",
                Some(result) if result["success"] != Value::Bool(true) => panic!("{result}"),
                _ => "yes",
            },
            _ => panic!("{method} {path}: {reply:?}"),
        }
    }

    /// The stream of events does not end: its head is looked at.
    async fn events(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        match Events::open(self.app.http, path, headers).await.expect("an answer").status {
            200 => "yes",
            401 => "401",
            403 => "403",
            other => panic!("{other}"),
        }
    }

    async fn grpc(&self, rpc: &str, carried: Option<&str>) -> Answer {
        let mut client = WalletServiceClient::new(self.channel.clone());
        let answered = match rpc {
            "GetWallet" => {
                let message = GetWalletRequest { user_id: Some(USER), at: None };
                client.get_wallet(self.request(message)).await.map(|_| ())
            }
            "GetEvent" => {
                let message = GetEventRequest { user_id: Some(USER), event_id: Some(EVENT) };
                client.get_event(self.request(message)).await.map(|_| ())
            }
            "ListEntries" => {
                let message = ListEntriesRequest { user_id: Some(USER), ..ListEntriesRequest::default() };
                client.list_entries(self.request(message)).await.map(|_| ())
            }
            "GetCheckpoint" => client.get_checkpoint(self.request(GetCheckpointRequest {})).await.map(|_| ()),
            "WatchEntries" => {
                let watched = client.watch_entries(self.request(WatchEntriesRequest::default())).await;
                first(watched.map(tonic::Response::into_inner)).await
            }
            "Transact" => return self.transact(client, carried.expect("a command")).await,
            command => self.unary(client, command).await,
        };
        named(answered)
    }

    async fn unary(&self, mut client: WalletServiceClient<Channel>, name: &str) -> Result<(), Status> {
        match self.command(name).encode().message {
            Message::CreateWallet(message) => client.create_wallet(self.request(message)).await.map(|_| ()),
            Message::FreezeWallet(message) => client.freeze_wallet(self.request(message)).await.map(|_| ()),
            Message::UnfreezeWallet(message) => client.unfreeze_wallet(self.request(message)).await.map(|_| ()),
            Message::Command(ProtoCommand::Charge(message)) => client.charge(self.request(message)).await.map(|_| ()),
            Message::Command(ProtoCommand::Win(message)) => client.win(self.request(message)).await.map(|_| ()),
            Message::Command(ProtoCommand::Play(message)) => client.play(self.request(message)).await.map(|_| ()),
            Message::Command(ProtoCommand::Rollback(message)) => {
                client.rollback(self.request(message)).await.map(|_| ())
            }
            Message::Command(ProtoCommand::Deposit(message)) => client.deposit(self.request(message)).await.map(|_| ()),
            Message::Command(ProtoCommand::Withdraw(message)) => {
                client.withdraw(self.request(message)).await.map(|_| ())
            }
        }
    }

    async fn transact(&self, mut client: WalletServiceClient<Channel>, name: &str) -> Answer {
        let Message::Command(command) = self.command(name).encode().message else { panic!("{name} is not carried") };
        let requests = tokio_stream::once(TransactRequest { command: Some(command) });
        let mut answers = match client.transact(self.request(requests)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return named(Err(status)),
        };
        let answer = answers.next().await.expect("an answer").expect("an answer");
        assert!(answers.next().await.is_none(), "a refusal does not end the stream with an error");
        match answer.outcome {
            Some(Outcome::Refused(refused)) if refused.reason == "FORBIDDEN" => "403",
            Some(Outcome::Applied(_)) => "yes",
            other => panic!("{other:?}"),
        }
    }

    async fn side(&self, call: &str) -> Answer {
        let health = HealthCheckRequest { service: String::new() };
        let mut client = HealthClient::new(self.channel.clone());
        named(match call {
            "grpc.health.v1.Health/Check" => client.check(self.request(health)).await.map(|_| ()),
            "grpc.health.v1.Health/Watch" => {
                first(client.watch(self.request(health)).await.map(tonic::Response::into_inner)).await
            }
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo" => {
                let message_request = Some(MessageRequest::ListServices(String::new()));
                let question = ServerReflectionRequest { host: String::new(), message_request };
                let mut client = ServerReflectionClient::new(self.channel.clone());
                let answers = client.server_reflection_info(self.request(tokio_stream::once(question))).await;
                first(answers.map(tonic::Response::into_inner)).await
            }
            other => panic!("{other} is no call"),
        })
    }
}

/// Waits for the first message of a stream.
async fn first<T>(answered: Result<tonic::Streaming<T>, Status>) -> Result<(), Status> {
    let message = answered?.message().await?;
    assert!(message.is_some(), "a first message");
    Ok(())
}

fn named(answered: Result<(), Status>) -> Answer {
    let Err(status) = answered else { return "yes" };
    let reason = status.get_details_error_info().expect("a reason").reason;
    match (status.code(), reason.as_str()) {
        (tonic::Code::Unauthenticated, "UNAUTHENTICATED") => "401",
        (tonic::Code::PermissionDenied, "FORBIDDEN") => "403",
        _ => panic!("{status:?}"),
    }
}

#[tokio::test]
async fn every_caller_may_do_what_is_documented_and_no_more() {
    let tokens = Tokens::new();
    let scopes = [("engine", Scope::Engine), ("operator", Scope::Operator), ("auditor", Scope::Auditor)];
    let mut texts: Vec<Option<String>> = vec![None];
    texts.extend(scopes.map(|(name, scope)| Some(tokens.add(name, scope))));
    texts.push(Some(tokens.add_until("expired", Scope::Operator, Some(MADE))));
    texts.push(Some(tokens.add("revoked", Scope::Operator)));
    tokens.revoke("revoked");
    let app = tokens.serve().await;
    let channel = app.channel().await;
    let caller = |number, token| Caller { app: &app, channel: channel.clone(), token, number };
    let (engine, operator) = (texts[1].as_deref(), texts[2].as_deref());
    for body in [r#"{"UserId":1,"AccountBalance":100}"#, r#"{"UserId":2}"#] {
        let token = bearer(operator.expect("a token"));
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        assert_eq!(app.request("POST", "/api/v1/users", &headers, body).await.status, 201);
    }
    let charge = PlainCommand::charge(USER, EVENT, 1).encode().message;
    let Message::Command(ProtoCommand::Charge(charge)) = charge else { unreachable!() };
    let mut client = WalletServiceClient::new(channel.clone());
    client.charge(caller(0, engine).request(charge)).await.expect("an event");

    let (mut number, mut wrong) = (0, Vec::new());
    for Row { call, command, cells } in rows() {
        assert_eq!(cells.len(), CALLERS.len(), "{call}");
        for ((name, token), expected) in CALLERS.iter().zip(&texts).zip(cells) {
            number += 1;
            let caller = caller(number, token.as_deref());
            let answer = match call.split_once(' ') {
                Some((method, path)) => caller.rest(method, path, command).await,
                None if call.starts_with("grpc.") => caller.side(call).await,
                None => caller.grpc(call, command).await,
            };
            if answer != expected {
                wrong.push(format!("{call} {} by {name}: {answer}, not {expected}", command.unwrap_or_default()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A call that the table does not have could be open to all.
#[test]
fn the_table_has_every_call() {
    let rows = rows();
    let listed: BTreeSet<&str> = rows.iter().map(|row| row.call).collect();
    let description = wallet::api::rest::openapi("EUR".parse().unwrap());
    let api: Value = serde_json::from_str(&description).unwrap();
    for (path, item) in api["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| ["get", "post"].contains(&key.as_str())) {
            let call = format!("{} {path}", method.to_uppercase());
            assert!(listed.contains(call.as_str()), "{call} is missing");
        }
    }
    let proto = include_str!("../../../proto/wallet.proto");
    for rpc in proto.lines().filter_map(|line| line.trim().strip_prefix("rpc ")) {
        let name = rpc.split('(').next().unwrap();
        assert!(listed.contains(name), "{name} is missing");
    }
    // What a batch or a stream may carry: each kind of command.
    for call in ["POST /api/v1/batch", "Transact"] {
        let carried: Vec<&str> = rows.iter().filter(|row| row.call == call).filter_map(|row| row.command).collect();
        assert_eq!(carried, ["Charge", "Win", "Play", "Rollback", "Deposit", "Withdraw"], "{call}");
    }
}
