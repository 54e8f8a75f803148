//! The standard health service.

use std::time::Duration;

use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_types::StatusExt as _;

use wallet::engine::SystemClock;

use super::{app, app_with, assert_status, balance, charge};
use crate::support::client;
use crate::support::faulty::Faulty;

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
async fn a_watch_of_an_unknown_service_says_so_and_stays_open() {
    let (app, _) = app().await;
    let mut health = HealthClient::new(app.channel().await);
    let unknown = HealthCheckRequest { service: "nobody".to_owned() };
    let mut watched = health.watch(unknown).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let next = tokio::time::timeout(Duration::from_millis(300), watched.message());
    assert!(next.await.is_err(), "it stays open");
    app.begin_stop();
    assert!(watched.message().await.unwrap().is_none(), "it does not hold up the shut-down");
}

#[tokio::test]
async fn at_shut_down_every_service_is_not_serving_and_known() {
    // Its connections go on, so that there is time to ask.
    let faulty = Faulty::spawn(|_| (), SystemClock).await;
    let mut health = HealthClient::new(client::channel(faulty.grpc).await);
    let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    faulty.begin_stop();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(watched.message().await.unwrap(), None);
    for service in ["", "wallet.v1.WalletService"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::NotServing, "{service:?}");
    }
}

#[tokio::test]
async fn watches_are_limited_on_a_connection() {
    let (app, _) = app().await;
    let mut health = HealthClient::new(app.channel().await);
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(health.watch(HealthCheckRequest::default()).await.unwrap());
    }
    let status = health.watch(HealthCheckRequest::default()).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, "BUSY", &[]);
    assert!(health.check(HealthCheckRequest::default()).await.is_ok());
    let large = HealthCheckRequest { service: "x".repeat(70_000) };
    for status in [health.check(large.clone()).await.unwrap_err(), health.watch(large).await.unwrap_err()] {
        assert_status(&status, Code::ResourceExhausted, "PAYLOAD_TOO_LARGE", &[]);
    }
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_unavailable_and_health_says_so() {
    let (app, mut client) = app_with(|settings| settings.lock_timeout_ms = 50).await;
    let mut health = HealthClient::new(app.channel().await);
    let name = "wallet.v1.WalletService";
    let mut watched = health.watch(HealthCheckRequest { service: name.to_owned() }).await.unwrap().into_inner();
    let mut next = async || watched.message().await.unwrap().map(|answer| answer.status());
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
