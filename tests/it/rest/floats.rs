//! Amounts that were computed with floats.

use super::{USER, app, assert_error, assert_ok, balance};
use crate::support::app::App;

fn charge(event: i64, amount: &str) -> String {
    format!(r#"{{"UserId":123123,"EventId":{event},"Amount":{amount}}}"#)
}

#[tokio::test]
async fn what_a_float_all_but_missed_is_refused_by_default() {
    let app = app().await;
    for amount in ["0.30000000000000004", "0.29999999999999998", "0.300001"] {
        let reply = app.post("/api/v1/charge", &charge(1, amount)).await;
        assert_error(&reply, 400, "INVALID_REQUEST", "Amount has more than 2 decimals");
    }
    let reply = app.post("/api/v1/users", r#"{"UserId":1,"AccountBalance":0.30000000000000004}"#).await;
    assert_error(&reply, 400, "INVALID_REQUEST", "AccountBalance has more than 2 decimals");
    assert_eq!(balance(&app).await, "10.00");
}

#[tokio::test]
async fn a_legacy_engines_floats_are_taken_for_what_was_meant() {
    let app = App::spawn_with(|settings| settings.legacy_floats = true).await;
    let opened = app.post("/api/v1/users", r#"{"UserId":123123,"AccountBalance":9.999999999999998}"#).await;
    assert_eq!((opened.status, opened.json()["AccountBalance"].to_string().as_str()), (201, "10.0"));
    let answer = r#"{"success":true,"UserId":123123,"AccountBalance":9.70}"#;
    let first = app.post("/api/v1/charge", &charge(1, "0.30000000000000004")).await;
    assert_ok(&first, answer);
    // The amount is the one that was meant: whoever sends it exactly sends it again, and one cent more conflicts.
    for amount in ["0.3", "0.29999999999999998", "0.30000000000000004"] {
        let again = app.post("/api/v1/charge", &charge(1, amount)).await;
        assert_ok(&again, answer);
        assert_eq!(again.header("idempotent-replayed"), "true", "{amount}");
    }
    let other = app.post("/api/v1/charge", &charge(1, "0.31000000000000005")).await;
    assert_error(&other, 409, "EVENT_CONFLICT", "Request has a conflict with existing data.");
    assert_eq!(other.header("wallet-recorded-amount"), "0.30");
    for (amount, reason, message) in [
        ("0.305", "INVALID_REQUEST", "Amount has more than 2 decimals"),
        ("0.3000011", "INVALID_REQUEST", "Amount has more than 2 decimals"),
        ("-0.30000000000000004", "NEGATIVE_AMOUNT", "Amount value is negative"),
        (r#""0.30000000000000004""#, "INVALID_REQUEST", "Amount must be a number"),
    ] {
        assert_error(&app.post("/api/v1/charge", &charge(2, amount)).await, 400, reason, message);
    }
    for (path, event) in [("win", "WinningEventId"), ("deposit", "TransactionId"), ("withdraw", "TransactionId")] {
        let body = format!(r#"{{"UserId":123123,"{event}":1,"Amount":0.10000000000000001}}"#);
        assert_eq!(app.post(&format!("/api/v1/{path}"), &body).await.status, 200, "{path}");
    }
    assert_eq!(balance(&app).await, "9.80");
    // An id is never rounded.
    let id = app.post("/api/v1/charge", r#"{"UserId":123123.00000000001,"EventId":3,"Amount":1}"#).await;
    let message = "UserId must be a whole number from 0 to 9223372036854775807";
    assert_error(&id, 400, "INVALID_REQUEST", message);
    assert_eq!(app.get(&format!("/api/v1/users/{USER}")).await.status, 200);
}
