//! Users and their wallets, as they stand and as they stood.

use super::{CHARGE, app, assert_error, assert_ok};
use crate::support::app::App;

#[tokio::test]
async fn a_user_is_created_once() {
    let app = App::spawn().await;
    let body = r#"{"UserId":7,"AccountBalance":10}"#;
    let first = app.post("/api/v1/users", body).await;
    let wallet_id = first.json()["WalletId"].as_str().expect("a wallet id").to_owned();
    assert_eq!(uuid::Uuid::parse_str(&wallet_id).unwrap().get_version_num(), 7);
    let expected = format!(r#"{{"success":true,"UserId":7,"WalletId":"{wallet_id}","AccountBalance":10.00}}"#);
    assert_eq!((first.status, first.text()), (201, expected.as_str()));

    app.post("/api/v1/charge", r#"{"UserId":7,"EventId":1,"Amount":2.50}"#).await;
    let again = app.post("/api/v1/users", body).await;
    assert_ok(&again, &expected);
    assert_eq!((again.header("idempotent-replayed"), again.header("wallet-current-balance")), ("true", "7.50"));
    let other = app.post("/api/v1/users", r#"{"UserId":7}"#).await;
    assert_error(&other, 409, "EVENT_CONFLICT", "Request has a conflict with existing data.");
    let negative = app.post("/api/v1/users", r#"{"UserId":8,"AccountBalance":-0.01}"#).await;
    assert_error(&negative, 400, "NEGATIVE_AMOUNT", "Opening balance is negative");
    let unknown = app.get("/api/v1/users/8").await;
    assert_error(&unknown, 404, "UNKNOWN_USER", "Unknown user");
    assert_eq!(app.post("/api/v1/users", r#"{"UserId":0}"#).await.status, 201);
    let now = expected.replace("10.00}", r#"7.50,"Frozen":false}"#);
    assert_eq!(app.get("/api/v1/users/7").await.text(), now);
}

#[tokio::test]
async fn a_wallet_is_seen_as_it_stood_at_a_moment() {
    let app = app().await;
    app.post("/api/v1/charge", CHARGE).await;
    let entries = app.get("/api/v1/users/123123/entries").await.json();
    let at = |moment: &str| format!("/api/v1/users/123123?at={moment}");
    let time_of = |index: usize| entries["Entries"][index]["CreatedAt"].as_str().unwrap().to_owned();
    let (opened, charged) = (time_of(1), time_of(0));
    assert!(app.get(&at(&charged)).await.text().ends_with(r#""AccountBalance":9.00,"Frozen":false}"#));
    // The two may share a microsecond's batch on no machine: each waited for its own answer.
    assert!(opened < charged);
    assert!(app.get(&at(&opened)).await.text().ends_with(r#""AccountBalance":10.00,"Frozen":false}"#));
    let elsewhere = opened.replace('Z', "%2B00:00");
    assert!(app.get(&at(&elsewhere)).await.text().ends_with(r#""AccountBalance":10.00,"Frozen":false}"#));
    assert!(app.get(&at("9999-01-01T00:00:00Z")).await.text().ends_with(r#""AccountBalance":9.00,"Frozen":false}"#));
    assert_error(&app.get(&at("1969-12-31T23:59:59Z")).await, 404, "UNKNOWN_USER", "Unknown user");
    for moment in ["", "now", "1767323045", "2026-01-02", "2026-02-30T00:00:00Z"] {
        let message = "at must be an RFC 3339 time, such as 2026-01-02T03:04:05Z; write + as %2B";
        assert_error(&app.get(&at(moment)).await, 400, "INVALID_REQUEST", message);
    }
}
