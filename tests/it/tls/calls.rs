//! Both APIs through the proxy: all that an engine and an operator do.

use prost::Message as _;
use serde_json::{Value, json};
use wallet::api::grpc::proto::ChargeRequest;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::reason::Reason;

use super::proxy::Kind;
use super::{CHARGE, Deployment, TRANSACT, assert_refused, runtime};
use crate::parity;
use crate::support::client::Client;
use crate::support::http::HttpClient;

through_each_proxy! {
    rest_is_served_over_both_versions_of_http
    a_batch_may_be_larger_than_other_bodies
    grpc_is_served_with_reflection_and_streams
    a_calls_deadline_reaches_the_wallet
    every_scenario_of_both_apis_has_its_outcome
}

fn rest_is_served_over_both_versions_of_http(kind: Kind) {
    let Some(deployment) = Deployment::start(kind, "REST") else { return };
    let client = &deployment.client;
    let healthy = r#"{"success":true,"message":"System is up and running"}"#;
    for (flag, version) in [("--http1.1", "http/1.1"), ("--http2", "http/2")] {
        let answer = client.rest(&[flag], "/api/v1/healthcheck", b"");
        assert_eq!((answer.version(), answer.status(), &*answer.body), (version, "200", healthy));
        let server = if kind == Kind::Nginx { "nginx" } else { "" };
        assert_eq!(answer.header("server"), server, "without its version");
        assert_eq!(answer.header("via"), "");
    }
    client.create_user();
    let charge = br#"{"UserId": 123123, "EventId": 321123, "Amount": 1.00}"#;
    for (flag, replayed) in [("--http1.1", ""), ("--http2", "true")] {
        let answer = client.post_with(&[flag], "/api/v1/charge", charge);
        assert_eq!(answer.body, r#"{"success":true,"UserId":123123,"AccountBalance":9.00}"#);
        assert_eq!(answer.header("idempotent-replayed"), replayed);
    }
    // The wallet's own refusals pass as they are.
    let too_high = client.post("/api/v1/charge", r#"{"UserId":123123,"EventId":1,"Amount":9.01}"#);
    assert_refused(&too_high, Reason::BalanceTooLow);
    let page = client.rest(&[], "/docs/", b"");
    assert!(page.status() == "200" && page.header("content-type").starts_with("text/html"), "{}", page.head);
}

fn a_batch_may_be_larger_than_other_bodies(kind: Kind) {
    let Some(deployment) = Deployment::start(kind, "a batch") else { return };
    let client = &deployment.client;
    client.create_user();
    let charge = |event: i64| json!({ "Charge": { "UserId": 123_123, "EventId": event, "Amount": 0.01 } });
    let commands: Vec<Value> = (0..1_000).map(charge).collect();
    let mut batch = json!({ "Commands": commands }).to_string().into_bytes();
    // As large as it may be: spaces between values mean nothing.
    batch.resize(1024 * 1024, b' ');
    for version in ["--http1.1", "--http2"] {
        let answer = client.post_with(&[version], "/api/v1/batch", &batch);
        assert_eq!(answer.status(), "200", "{}", answer.body);
        let results: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(results["Results"].as_array().expect("results").len(), 1_000);
        assert_eq!(client.balance(), "0.00");
        let too_large = client.post_unread(&[version], "/api/v1/batch", &[&batch[..], b" "].concat());
        assert_refused(&too_large, Reason::PayloadTooLarge);
    }
}

fn grpc_is_served_with_reflection_and_streams(kind: Kind) {
    let Some(deployment) = Deployment::start(kind, "gRPC") else { return };
    let client = &deployment.client;
    let listed = client.grpcurl(&[], "list", b"");
    assert!(listed.out.lines().any(|line| line == "wallet.v1.WalletService"), "{} {}", listed.out, listed.err);
    let health = client.grpcurl(&[], "grpc.health.v1.Health/Check", b"");
    assert!(health.out.contains("SERVING"), "{} {}", health.out, health.err);

    client.create_user();
    let charge = r#"{"user_id":123123,"event_id":321123,"amount_minor":100}"#;
    let charged = client.grpcurl(&["-d", charge], CHARGE, b"");
    assert!(charged.out.contains(r#""balanceMinor": "900""#), "{} {}", charged.out, charged.err);

    // More than a REST body may be. The first 900 take what there is; after that, each answer is a refusal.
    let charge = |number: i64| {
        json!({ "charge": { "user_id": 123_123, "event_id": i64::MAX - number, "amount_minor": 1 } }).to_string()
    };
    let commands: Vec<String> = (0..3_000).map(charge).collect();
    let streamed = client.grpcurl(&["-d", "@"], TRANSACT, commands.join("\n").as_bytes());
    assert_eq!(streamed.code, Some(0), "{}", streamed.err);
    let answers = serde_json::Deserializer::from_str(&streamed.out).into_iter();
    let answers: Vec<Value> = answers.collect::<Result<_, _>>().expect("JSON");
    assert_eq!(answers.len(), commands.len());
    assert_eq!(answers[449]["applied"]["balanceMinor"], "450");
    assert!(answers[900..].iter().all(|answer| answer["refused"]["reason"] == Reason::BalanceTooLow.name()));
    assert_eq!(client.balance(), "0.00");
}

fn a_calls_deadline_reaches_the_wallet(kind: Kind) {
    let Some(deployment) = Deployment::start(kind, "a deadline") else { return };
    let client = &deployment.client;
    client.create_user();
    let charge = ChargeRequest { user_id: Some(123_123), event_id: Some(1), amount_minor: Some(100), round_id: None };
    // By `curl`, as `grpcurl` would itself give up at a deadline that is over.
    let call = |timeout: &str| {
        client.grpc_head(&["--header", &format!("grpc-timeout: {timeout}")], CHARGE, &charge.encode_to_vec())
    };
    let late = call("1n");
    assert!(late.contains("grpc-status: 4"), "{late}");
    assert_eq!(client.balance(), "10.00");
    let in_time = call("30S");
    assert!(in_time.contains("grpc-status: 0"), "{in_time}");
    assert_eq!(client.balance(), "9.00");
}

fn every_scenario_of_both_apis_has_its_outcome(kind: Kind) {
    let Some(deployment) = Deployment::start(kind, "every scenario") else { return };
    let runtime = runtime();
    let trusted = std::fs::read_to_string(&deployment.client.trusted).expect("a certificate");
    let http = HttpClient::over_tls(deployment.proxy.addr, &trusted);
    let grpc = WalletServiceClient::new(deployment.channel(&runtime, "127.0.0.1"));
    runtime.block_on(parity::an_event_sent_to_one_api_is_known_to_the_other(&Client { http, grpc }));
}
