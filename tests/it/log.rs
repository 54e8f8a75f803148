//! The log: what is served, each request that there is a reason to log, and no money.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tokio_stream::{StreamExt as _, iter};
use tonic::Request;
use wallet::api::grpc::proto::transact_request::Command;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{ChargeRequest, CreateWalletRequest, TransactRequest};

use crate::support::client::channel;
use crate::support::http::HttpClient;
use crate::support::process::{Process, database_url, wallet};

#[test]
fn what_is_served_is_logged_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let log = Process::start_with(wallet(), &database, &["--currency", "KWD"]).terminate_and_log();
    let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.find(|line| line["message"] == "serving").expect("a line");
    assert_eq!(line["currency"], "KWD");
    assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(line["database"], database_url(&database));
}

/// What a service answers to a request.
fn exchange(addr: SocketAddr, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    let head = "host: a\r\nconnection: close\r\nx-request-id: round-7\r\ncontent-type: application/json";
    write!(stream, "{request} HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The lines of a log, as JSON.
fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The lines of requests.
fn answered(log: &str) -> Vec<Value> {
    lines(log).into_iter().filter(|line| line["message"] == "answered").collect()
}

#[test]
fn the_log_has_each_request_by_its_id_and_no_money() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("wallet.db"));
    for (path, body, status) in [
        ("users", r#"{"UserId":1,"AccountBalance":7712345.31}"#, 201),
        ("charge", r#"{"UserId":1,"EventId":1,"Amount":8823456.42}"#, 400),
        ("charge", r#"{"UserId":1,"EventId":1,"Amount":6634567.53}"#, 200),
    ] {
        let answer = exchange(process.http, &format!("POST /api/v1/{path}"), body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let log = process.terminate_and_log();
    let of_requests = answered(&log);
    let of = |field: &str| of_requests.iter().map(|line| line[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("status"), [201, 400, 200]);
    assert_eq!(of("reason"), [Value::Null, Value::from("BALANCE_TOO_LOW"), Value::Null]);
    for line in &of_requests {
        assert_eq!((&line["span"]["request_id"], &line["logged_for"]), (&"round-7".into(), &"id".into()), "{line}");
        assert!(line["elapsed_ms"].as_f64().is_some_and(|elapsed| elapsed > 0.0), "{line}");
    }
    for line in lines(&log) {
        assert_eq!(line["level"], "INFO", "what is refused is no error: {line}");
    }
    // What the operator does is in the audit log, with its amount.
    let (audited, log): (Vec<&str>, Vec<&str>) = log.lines().partition(|line| line.contains("\"wallet.audit\""));
    assert_eq!(audited.len(), 1, "{audited:?}");
    let log = log.concat();
    // Each in the major and in the minor unit, and long enough that no time and no hash holds it by chance.
    for amount in ["7712345.31", "8823456.42", "6634567.53", "1077777.78"] {
        for written in [amount.to_owned(), amount.replace('.', "")] {
            assert!(!log.contains(&written), "{written} in {log}");
        }
    }
}

/// A gRPC request that has an id.
fn named<T>(id: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-request-id", id.parse().unwrap());
    request
}

#[tokio::test]
async fn a_grpc_call_is_logged_with_its_code_and_reason_when_it_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("wallet.db"));
    let mut client = WalletServiceClient::new(channel(process.grpc).await);
    let create = CreateWalletRequest { user_id: Some(1), opening_balance_minor: Some(5) };
    client.create_wallet(named("create", create)).await.unwrap();
    let charge = ChargeRequest { user_id: Some(1), event_id: Some(1), amount_minor: Some(6), round_id: None };
    client.charge(named("too-low", charge)).await.unwrap_err();
    let command = TransactRequest { command: Some(Command::Charge(charge)) };
    let mut answers = client.transact(named("stream", iter([command.clone()]))).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    // It ends with an error, after it has begun: the code comes behind the answers.
    let mut late = named("late", iter([command]).chain(tokio_stream::pending()));
    late.set_timeout(Duration::from_millis(100));
    let mut answers = client.transact(late).await.unwrap().into_inner();
    while let Ok(Some(_)) = answers.message().await {}
    // Nobody asked for a line.
    client.create_wallet(create).await.unwrap();
    drop(client);

    let log = process.terminate_and_log();
    let of_calls: Vec<_> = answered(&log)
        .into_iter()
        .map(|line| {
            assert!(line["status"].is_null() && line["elapsed_ms"].is_f64(), "HTTP's status says nothing: {line}");
            let id = line["span"]["request_id"].as_str().unwrap().to_owned();
            (id, line["grpc_status"].as_i64().unwrap(), line["reason"].as_str().map(ToOwned::to_owned))
        })
        .collect();
    let of = |id: &str, code, reason: Option<&str>| (id.to_owned(), code, reason.map(ToOwned::to_owned));
    let expected = [
        of("create", 0, None),
        of("too-low", 9, Some("BALANCE_TOO_LOW")),
        of("stream", 0, None),
        of("late", 4, Some("DEADLINE")),
    ];
    assert_eq!(of_calls, expected, "{log}");
}

#[tokio::test]
async fn one_request_now_and_then_is_logged_as_a_sample() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("wallet.db"));
    let client = HttpClient::new(process.http);
    for _ in 0..3_000 {
        assert_eq!(client.get("/livez-or-not").await.status, 404);
    }
    let log = process.terminate_and_log();
    let of_requests = answered(&log);
    assert!((1..=2).contains(&of_requests.len()), "one in 1024, and one in five seconds: {log}");
    assert!(of_requests.iter().all(|line| line["logged_for"] == "sample" && line["status"] == 404), "{log}");
}

#[tokio::test]
async fn a_failure_is_logged_and_a_flood_of_them_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start_with(wallet(), &database, &["--lock-timeout-ms", "1"]);
    let other = rusqlite::Connection::open(&database).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let client = HttpClient::new(process.http);
    let charge = r#"{"UserId":1,"EventId":1,"Amount":1.00}"#;
    for _ in 0..20 {
        assert_eq!(client.post("/api/v1/charge", charge).await.status, 503);
    }
    drop(other);
    let log = process.terminate_and_log();
    let of_requests = answered(&log);
    assert!((1..=4).contains(&of_requests.len()), "{log}");
    for line in of_requests {
        assert_eq!((&line["logged_for"], &line["reason"]), (&"failure".into(), &"UNAVAILABLE".into()), "{line}");
        assert_eq!((&line["level"], &line["span"]["path"]), (&"WARN".into(), &"/api/v1/charge".into()), "{line}");
        assert!(line["span"]["request_id"].is_string() && line["suppressed"].is_u64(), "{line}");
    }
}
