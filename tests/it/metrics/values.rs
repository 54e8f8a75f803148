//! What each metric says, and what moves it.

use std::time::Duration;

use tonic::Code;
use wallet::access::Scope;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{ChargeRequest, GetWalletRequest, WatchEntriesRequest};

use super::{scrape, spawn_with};
use crate::access::{Tokens, bearer, with_token};
use crate::support::app::App;
use crate::support::authority::{self, Authority, Issued};
use crate::support::client::channel;
use crate::support::events::Events;
use crate::support::http::HttpClient;

/// How often a test asks for what must come soon.
const ATTEMPTS_MAX: usize = 10_000;

#[tokio::test]
async fn a_scrape_has_every_metric() {
    let app = spawn_with(|_| ()).await;
    let scrape = scrape(&app).await;
    assert_eq!(
        scrape.series("wallet_"),
        [
            concat!("wallet_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"),
            "wallet_connections{api=\"grpc\"}",
            "wallet_connections{api=\"rest\"}",
            "wallet_healthy",
            "wallet_refused_attempts_total{reason=\"FORBIDDEN\"}",
            "wallet_refused_attempts_total{reason=\"RATE_LIMITED\"}",
            "wallet_refused_attempts_total{reason=\"UNAUTHENTICATED\"}",
            "wallet_store_batches_total{shard=\"0\",path=\"fast\"}",
            "wallet_store_batches_total{shard=\"0\",path=\"locked\"}",
            "wallet_store_commits_in_doubt_total{shard=\"0\"}",
            "wallet_store_errors_total{shard=\"0\"}",
            "wallet_store_info{store=\"sqlite\",shards=\"1\"}",
            "wallet_store_lost_races_total{shard=\"0\"}",
            "wallet_store_sessions_total{shard=\"0\"}",
            "wallet_watchers",
        ]
    );
    assert_eq!(scrape.value(scrape.series("wallet_build_info")[0]), 1);
    assert_eq!(scrape.kind("wallet_refused_attempts_total"), "counter");
    assert_eq!(scrape.kind("wallet_connections"), "gauge");
    app.stop().await;
}

#[tokio::test]
async fn the_process_is_told_of() {
    let app = spawn_with(|_| ()).await;
    let scrape = scrape(&app).await;
    assert_eq!(scrape.kind("process_cpu_seconds_total"), "counter");
    assert!(scrape.value("process_resident_memory_bytes") > 1_000_000, "{scrape:?}");
    assert!(scrape.value("process_virtual_memory_bytes") >= scrape.value("process_resident_memory_bytes"));
    assert!(scrape.value("process_open_fds") >= 3, "{scrape:?}");
    assert!(scrape.value("process_threads") >= 2, "{scrape:?}");
    // It is later than the day on which this was written.
    assert!(scrape.value("process_start_time_seconds") > 1_760_000_000, "{scrape:?}");
}

#[tokio::test]
async fn connections_are_those_that_are_open() {
    let app = spawn_with(|_| ()).await;
    let open = async || {
        let scrape = scrape(&app).await;
        ["rest", "grpc"].map(|api| scrape.value(&format!("wallet_connections{{api=\"{api}\"}}")))
    };
    assert_eq!(open().await, [0, 0], "who asks for metrics does not count");
    let rest = HttpClient::new(app.http);
    assert_eq!(rest.get("/livez").await.status, 200);
    assert_eq!(open().await, [1, 0]);
    let grpc = channel(app.grpc).await;
    let message = GetWalletRequest { user_id: Some(1), at: None };
    let status = WalletServiceClient::new(grpc.clone()).get_wallet(message).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(open().await, [1, 1]);
    drop((rest, grpc));
    for attempt in 0.. {
        if open().await == [0, 0] {
            break;
        }
        assert!(attempt < ATTEMPTS_MAX, "they stay open");
    }
}

#[tokio::test]
async fn watchers_are_those_of_both_apis() {
    // A reader of REST that has gone is found out when it is written to.
    let app = spawn_with(|settings| settings.feed.sign_of_life_interval = Duration::from_millis(50)).await;
    let watchers = async || scrape(&app).await.value("wallet_watchers");
    assert_eq!(watchers().await, 0);
    let mut client = WalletServiceClient::new(app.channel().await);
    let request = WatchEntriesRequest { after: Some("now".to_owned()), user_id: None, kinds: Vec::new() };
    let mut entries = client.watch_entries(request).await.unwrap().into_inner();
    entries.message().await.unwrap();
    assert_eq!(watchers().await, 1);
    let path = "/api/v1/ledger/entries/stream";
    let events = Events::open(app.http, path, &[]).await.unwrap();
    assert_eq!(watchers().await, 2);
    drop((entries, events));
    for attempt in 0.. {
        if watchers().await == 0 {
            break;
        }
        assert!(attempt < ATTEMPTS_MAX, "they watch on");
    }
}

#[tokio::test]
async fn a_ledger_that_cannot_commit_is_not_healthy() {
    let app = spawn_with(|settings| settings.lock_timeout_ms = 1).await;
    app.create_user(1, "10.00").await;
    assert_eq!(scrape(&app).await.value("wallet_healthy"), 1);
    let charge = r#"{"UserId":1,"EventId":1,"Amount":1}"#;
    let lock = app.hold_write_lock();
    assert_eq!(app.post("/api/v1/charge", charge).await.status, 503);
    assert_eq!(scrape(&app).await.value("wallet_healthy"), 0);
    drop(lock);
    assert_eq!(app.post("/api/v1/charge", charge).await.status, 200);
    assert_eq!(scrape(&app).await.value("wallet_healthy"), 1);
}

/// Attempts that were refused so far: `UNAUTHENTICATED`, `FORBIDDEN`, `RATE_LIMITED`.
async fn refused(app: &App) -> [i64; 3] {
    let scrape = scrape(app).await;
    ["UNAUTHENTICATED", "FORBIDDEN", "RATE_LIMITED"]
        .map(|reason| scrape.value(&format!("wallet_refused_attempts_total{{reason=\"{reason}\"}}")))
}

#[tokio::test]
async fn a_refused_attempt_counts_on_each_door() {
    let tokens = Tokens::new();
    let auditor = tokens.add("auditor", Scope::Auditor);
    let app = spawn_with(|settings| settings.access.tokens_file = Some(tokens.path())).await;
    let known = bearer(&auditor);
    let rest = async |headers: &[(&str, &str)]| {
        let headers = [&[("content-type", "application/json")], headers].concat();
        let body = r#"{"UserId":1,"EventId":1,"Amount":1}"#;
        app.request("POST", "/api/v1/charge", &headers, body).await.status
    };
    let mut grpc = WalletServiceClient::new(app.channel().await);
    let charge = ChargeRequest { user_id: Some(1), event_id: Some(1), amount_minor: Some(1), round_id: None };
    assert_eq!(refused(&app).await, [0, 0, 0]);

    assert_eq!(rest(&[]).await, 401);
    assert_eq!(refused(&app).await, [1, 0, 0]);
    assert_eq!(grpc.charge(charge).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(refused(&app).await, [2, 0, 0]);

    assert_eq!(rest(&[("authorization", &known)]).await, 403);
    assert_eq!(refused(&app).await, [2, 1, 0]);
    assert_eq!(grpc.charge(with_token(charge, &auditor)).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(refused(&app).await, [2, 2, 0]);

    let known = [("authorization", known.as_str())];
    assert_eq!(app.request("GET", "/api/v1/users/1", &known, "").await.status, 404);
    assert_eq!(refused(&app).await, [2, 2, 0], "who may call is not counted");

    // Its attempts come back, one a second, so it is not known which one is too many.
    let mut answered = [0; 2];
    while answered[1] < 2 {
        match rest(&[]).await {
            401 => answered[0] += 1,
            429 => answered[1] += 1,
            status => panic!("{status}"),
        }
        assert!(answered[0] < 1_000, "there is no limit");
    }
    assert_eq!(refused(&app).await, [2 + answered[0], 2, 2]);
}

#[tokio::test]
async fn a_page_of_another_origin_counts_without_tokens_too() {
    let app = spawn_with(|_| ()).await;
    let headers = [("content-type", "application/json"), ("sec-fetch-site", "cross-site")];
    assert_eq!(app.request("POST", "/api/v1/charge", &headers, "{}").await.status, 403);
    assert_eq!(refused(&app).await, [0, 1, 0]);
}

/// Seconds until this certificate ends, as a service that shows it says.
async fn expiry(issued: &Issued) -> i64 {
    let dir = tempfile::tempdir().unwrap();
    let app = spawn_with(|settings| settings.tls = authority::settings(dir.path(), issued, None)).await;
    scrape(&app).await.value("wallet_certificate_expiry_seconds")
}

#[tokio::test]
async fn the_end_of_a_certificate_is_told_also_when_it_is_past() {
    let authority = Authority::new("the service's CA");
    let day = 24 * 60 * 60;
    // It ends at the beginning of a day.
    let seconds = expiry(&authority.issue_ending_in(10)).await;
    assert!((9 * day - 60..=10 * day).contains(&seconds), "{seconds}");
    let seconds = expiry(&authority.issue_expired("wallet")).await;
    assert!(seconds < -5 * 365 * day, "{seconds}");
    let app = spawn_with(|_| ()).await;
    let none: [&str; 0] = [];
    assert_eq!(scrape(&app).await.series("wallet_certificate"), none, "it has no certificate");
}
