//! The audit log: each act of the operator and each refused attempt, in a target of its own.

use serde_json::{Value, json};
use tonic::Request;
use wallet::access::Scope;
use wallet::api::grpc::proto::transact_request::Command as ProtoCommand;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{FreezeWalletRequest, TransactRequest};

use super::{Tokens, bearer, with_token};
use crate::support::client::channel;
use crate::support::command::{Message, PlainCommand};
use crate::support::http::HttpClient;
use crate::support::process::{Process, wallet};

/// The lines of the audit log, without what differs from run to run.
fn audited(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut audited: Vec<Value> = lines.filter(|line| line["target"] == "wallet.audit").collect();
    for line in &mut audited {
        let line = line.as_object_mut().expect("an object");
        line.retain(|key, _| !["timestamp", "target", "level"].contains(&key.as_str()));
    }
    audited.retain(|line| line["message"] != "the tokens file was read");
    audited
}

/// A call of the operator's, with its request id.
async fn post(process: &Process, path: &str, token: Option<&str>, id: &str, body: &str) -> u16 {
    let token = token.map(bearer);
    let mut headers = vec![("content-type", "application/json"), ("x-request-id", id)];
    headers.extend(token.as_deref().map(|token| ("authorization", token)));
    HttpClient::new(process.http).request("POST", path, &headers, body.to_owned()).await.status
}

#[tokio::test]
async fn each_act_and_each_refusal_has_its_line() {
    let tokens = Tokens::new();
    let (engine, operator) = (tokens.add("engine-a", Scope::Engine), tokens.add("cashier", Scope::Operator));
    let path = tokens.path();
    // The level of everything else does not silence the audit log.
    let flags = ["--tokens-file", path.to_str().unwrap(), "--log", "error"];
    let process = start(&tokens, &flags);
    let (operator, engine) = (Some(operator.as_str()), Some(engine.as_str()));
    let open = r#"{"UserId":7,"AccountBalance":10.00}"#;
    assert_eq!(post(&process, "/api/v1/users", operator, "open", open).await, 201);
    let deposit = r#"{"UserId":7,"TransactionId":3,"Amount":2.50,"Note":"not for the log"}"#;
    assert_eq!(post(&process, "/api/v1/deposit", operator, "deposit", deposit).await, 200);
    assert_eq!(post(&process, "/api/v1/deposit", operator, "again", deposit).await, 200);
    let withdraw = r#"{"UserId":7,"TransactionId":4,"Amount":99.00}"#;
    assert_eq!(post(&process, "/api/v1/withdraw", operator, "too-much", withdraw).await, 400);
    assert_eq!(post(&process, "/api/v1/charge", engine, "game", r#"{"UserId":7,"EventId":1,"Amount":1}"#).await, 200);
    assert_eq!(post(&process, "/api/v1/deposit", engine, "not-yours", deposit).await, 403);
    assert_eq!(post(&process, "/api/v1/charge", None, "nobody", "{}").await, 401);

    let mut client = WalletServiceClient::new(channel(process.grpc).await);
    let freeze = FreezeWalletRequest { user_id: Some(7), transaction_id: Some(9), note: None };
    let mut request: Request<_> = with_token(freeze, operator.unwrap());
    request.metadata_mut().insert("x-request-id", "frozen".parse().unwrap());
    client.freeze_wallet(request).await.unwrap();
    let commands = [PlainCommand::deposit(7, 5, 100), PlainCommand::charge(7, 2, 100)].map(|command| {
        let Message::Command(command) = command.encode().message else { unreachable!() };
        TransactRequest { command: Some(command) }
    });
    assert!(matches!(commands[0].command, Some(ProtoCommand::Deposit(_))));
    let mut request = with_token(tokio_stream::iter(commands), operator.unwrap());
    request.metadata_mut().insert("x-request-id", "stream".parse().unwrap());
    let mut answers = client.transact(request).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}

    let log = process.terminate_and_log();
    let line = |act: Option<(&str, i64, Option<i64>)>, outcome: &str, caller: Option<&str>, call: &str, id: &str| {
        let mut line = json!({"outcome": outcome, "client": "127.0.0.1", "call": call, "request_id": id});
        if let Some((act, event_id, amount_minor)) = act {
            line["act"] = json!(act);
            line["user_id"] = json!(7);
            line["event_id"] = json!(event_id);
            if let Some(minor) = amount_minor {
                line["amount_minor"] = json!(minor);
            }
        }
        if let Some(caller) = caller {
            line["caller"] = json!(caller);
        }
        line
    };
    let done = |mut line: Value| {
        line["message"] = json!("done");
        line
    };
    let refused = |mut line: Value, why: &str| {
        line["message"] = json!("refused");
        line["why"] = json!(why);
        line
    };
    let (cashier, scope) = (Some("cashier"), "the caller's scope does not allow it");
    let transact = "/wallet.v1.WalletService/Transact";
    let expected = [
        done(line(Some(("open", 0, Some(1_000))), "applied", cashier, "/api/v1/users", "open")),
        done(line(Some(("deposit", 3, Some(250))), "applied", cashier, "/api/v1/deposit", "deposit")),
        done(line(Some(("deposit", 3, Some(250))), "replayed", cashier, "/api/v1/deposit", "again")),
        done(line(Some(("withdrawal", 4, Some(9_900))), "BALANCE_TOO_LOW", cashier, "/api/v1/withdraw", "too-much")),
        refused(line(None, "FORBIDDEN", Some("engine-a"), "/api/v1/deposit", "not-yours"), scope),
        refused(line(None, "UNAUTHENTICATED", None, "/api/v1/charge", "nobody"), "no credentials"),
        done(line(Some(("freeze", 9, None)), "applied", cashier, "/wallet.v1.WalletService/FreezeWallet", "frozen")),
        refused(line(Some(("charge", 2, Some(100))), "FORBIDDEN", cashier, transact, "stream"), scope),
        done(line(Some(("deposit", 5, Some(100))), "applied", cashier, transact, "stream")),
    ];
    assert_eq!(audited(&log), expected, "{log}");
    assert!(!log.contains("not for the log"), "{log}");
}

fn start(tokens: &Tokens, flags: &[&str]) -> Process {
    // Without the line that says where it serves there is no address: other levels are for the audit log's test alone.
    let mut flags = flags.to_vec();
    let level = flags.iter_mut().find(|flag| **flag == "error").expect("a level");
    *level = "error,wallet::cli=info";
    Process::start_with(wallet(), &tokens.folder().join("wallet.db"), &flags)
}

#[tokio::test]
async fn a_page_that_is_turned_away_has_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("wallet.db"));
    let headers = [("content-type", "application/json"), ("origin", "http://evil.example"), ("x-request-id", "page")];
    let client = HttpClient::new(process.http);
    assert_eq!(client.request("POST", "/api/v1/charge", &headers, "{}").await.status, 403);
    let lines = audited(&process.terminate_and_log());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["outcome"], &lines[0]["request_id"]), (&json!("FORBIDDEN"), &json!("page")));
    assert!(lines[0]["why"].as_str().is_some_and(|why| why.contains("Origin")), "{lines:?}");
}

#[tokio::test]
async fn without_tokens_the_operators_acts_are_logged_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("wallet.db"));
    assert_eq!(post(&process, "/api/v1/users", None, "open", r#"{"UserId":7}"#).await, 201);
    let lines = audited(&process.terminate_and_log());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["act"], &lines[0]["caller"]), (&json!("open"), &Value::Null));
}

/// What is refused costs no more than a line now and then, once its address has used up its attempts.
#[tokio::test]
async fn a_flood_of_guesses_does_not_fill_the_log() {
    let tokens = Tokens::new();
    let path = tokens.path();
    let flags = ["--tokens-file", path.to_str().unwrap()];
    let process = Process::start_with(wallet(), &tokens.folder().join("wallet.db"), &flags);
    for _ in 0..300 {
        assert!([401, 429].contains(&post(&process, "/api/v1/charge", None, "guess", "{}").await));
    }
    let lines = audited(&process.terminate_and_log());
    let counted = lines.iter().filter_map(|line| line["suppressed"].as_u64()).sum::<u64>();
    let single = lines.iter().filter(|line| line["message"] == "refused").count();
    assert!(single < 150, "{single} lines");
    assert_eq!(single as u64 + counted, 300, "none is forgotten: {lines:?}");
}
