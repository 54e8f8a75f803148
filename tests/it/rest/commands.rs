//! Charges, wins, rollbacks, deposits and withdrawals.

use futures::future::join_all;

use super::{CHARGE, WIN, app, assert_error, assert_ok, balance};
use crate::support::app::App;

#[tokio::test]
async fn the_documented_examples_hold_to_the_byte() {
    let app = app().await;
    let up = app.get("/api/v1/healthcheck").await;
    assert_ok(&up, r#"{"success":true,"message":"System is up and running"}"#);
    assert_ok(&app.post("/api/v1/charge", CHARGE).await, r#"{"success":true,"UserId":123123,"AccountBalance":9.00}"#);
    assert_ok(&app.post("/api/v1/win", WIN).await, r#"{"success":true,"UserId":123123,"AccountBalance":19.00}"#);

    let low = app.post("/api/v1/charge", r#"{"UserId":123123,"EventId":1,"Amount":19.01}"#).await;
    assert_error(&low, 400, "BALANCE_TOO_LOW", "Account balance is too low");
    assert_eq!(low.text(), r#"{"success":false,"error":"Account balance is too low"}"#);
    assert_eq!(low.header("wallet-current-balance"), "19.00");
    let conflict = "Request has a conflict with existing data.";
    let other = app.post("/api/v1/charge", r#"{"UserId":123123,"EventId":321123,"Amount":2}"#).await;
    assert_error(&other, 409, "EVENT_CONFLICT", conflict);
    assert_eq!(other.header("wallet-recorded-amount"), "1.00");
    let other = app.post("/api/v1/win", r#"{"UserId":123123,"WinningEventId":312123321,"Amount":1}"#).await;
    assert_error(&other, 409, "EVENT_CONFLICT", conflict);
    let negative = app.post("/api/v1/charge", r#"{"UserId":123123,"EventId":1,"Amount":-1.00}"#).await;
    assert_error(&negative, 400, "NEGATIVE_AMOUNT", "Amount value is negative");
    let negative = app.post("/api/v1/win", r#"{"UserId":123123,"WinningEventId":1,"Amount":-10}"#).await;
    assert_error(&negative, 400, "NEGATIVE_AMOUNT", "Winning amount is negative");
    let unknown = app.post("/api/v1/win", r#"{"UserId":5,"WinningEventId":1,"Amount":1}"#).await;
    assert_error(&unknown, 400, "UNKNOWN_USER", "Unknown user");
    assert_eq!(balance(&app).await, "19.00");
}

#[tokio::test]
async fn a_replay_is_the_first_answer_even_when_the_wallet_is_empty() {
    let app = app().await;
    let first = app.post("/api/v1/charge", CHARGE).await;
    assert_eq!((first.header("idempotent-replayed"), first.header("wallet-current-balance")), ("", ""));
    let rest = r#"{"UserId":123123,"EventId":2,"Amount":9}"#;
    assert_ok(&app.post("/api/v1/charge", rest).await, r#"{"success":true,"UserId":123123,"AccountBalance":0.00}"#);

    let again = app.post("/api/v1/charge", r#"{"Amount":10e-1,"EventId":321123.0,"UserId":123123}"#).await;
    assert_ok(&again, first.text());
    assert_eq!((again.header("idempotent-replayed"), again.header("wallet-current-balance")), ("true", "0.00"));
    assert_eq!(balance(&app).await, "0.00");
}

#[tokio::test]
async fn a_rollback_gives_back_once_and_bars_what_comes_late() {
    let app = app().await;
    app.post("/api/v1/charge", CHARGE).await;
    let rollback = r#"{"UserId":123123,"EventId":321123}"#;
    let answer = r#"{"success":true,"UserId":123123,"AccountBalance":10.00,"Applied":true}"#;
    assert_ok(&app.post("/api/v1/rollback", rollback).await, answer);
    let again = app.post("/api/v1/rollback", rollback).await;
    assert_ok(&again, answer);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_error(&app.post("/api/v1/charge", CHARGE).await, 409, "ROLLED_BACK", "Event has been rolled back");

    let early = app.post("/api/v1/rollback", r#"{"UserId":123123,"EventId":9}"#).await;
    assert_ok(&early, r#"{"success":true,"UserId":123123,"AccountBalance":10.00,"Applied":false}"#);
    let late = app.post("/api/v1/charge", r#"{"UserId":123123,"EventId":9,"Amount":1}"#).await;
    assert_error(&late, 409, "ROLLED_BACK", "Event has been rolled back");
    assert_eq!(balance(&app).await, "10.00");
}

#[tokio::test]
async fn the_cashier_moves_money_within_the_limit() {
    let app = app().await;
    let transaction = |amount: &str| format!(r#"{{"UserId":123123,"TransactionId":1,"Amount":{amount}}}"#);
    let answer = |balance: &str| format!(r#"{{"success":true,"UserId":123123,"AccountBalance":{balance}}}"#);
    assert_ok(&app.post("/api/v1/deposit", &transaction("2.5")).await, &answer("12.50"));
    assert_ok(&app.post("/api/v1/withdraw", &transaction("12.50")).await, &answer("0.00"));
    let negative = app.post("/api/v1/deposit", &transaction("-1")).await;
    assert_error(&negative, 400, "NEGATIVE_AMOUNT", "Amount value is negative");
    let low = app.post("/api/v1/withdraw", r#"{"UserId":123123,"TransactionId":2,"Amount":0.01}"#).await;
    assert_error(&low, 400, "BALANCE_TOO_LOW", "Account balance is too low");
    let much = r#"{"UserId":123123,"WinningEventId":3,"Amount":90071992547409.92}"#;
    let limit = app.post("/api/v1/win", much).await;
    assert_error(&limit, 400, "BALANCE_LIMIT", "Account balance would exceed the limit");
    let most = app.post("/api/v1/win", &much.replace(".92", ".91")).await;
    assert_ok(&most, &answer("90071992547409.91"));
}

#[tokio::test]
async fn a_rollback_takes_a_win_back_once_and_bars_what_comes_late() {
    let app = app().await;
    app.post("/api/v1/win", WIN).await;
    let rollback = r#"{"UserId":123123,"WinningEventId":312123321}"#;
    let answer = r#"{"success":true,"UserId":123123,"AccountBalance":10.00,"Applied":true}"#;
    assert_ok(&app.post("/api/v1/rollback", rollback).await, answer);
    let again = app.post("/api/v1/rollback", rollback).await;
    assert_ok(&again, answer);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_error(&app.post("/api/v1/win", WIN).await, 409, "ROLLED_BACK", "Event has been rolled back");

    let early = app.post("/api/v1/rollback", r#"{"UserId":123123,"WinningEventId":9}"#).await;
    assert_ok(&early, r#"{"success":true,"UserId":123123,"AccountBalance":10.00,"Applied":false}"#);
    let late = app.post("/api/v1/win", r#"{"UserId":123123,"WinningEventId":9,"Amount":1}"#).await;
    assert_error(&late, 409, "ROLLED_BACK", "Event has been rolled back");
    let charge = app.post("/api/v1/charge", r#"{"UserId":123123,"EventId":9,"Amount":1}"#).await;
    assert_ok(&charge, r#"{"success":true,"UserId":123123,"AccountBalance":9.00}"#);
    assert_eq!(balance(&app).await, "9.00");
}

#[tokio::test]
async fn a_win_that_was_spent_cannot_be_taken_back_until_there_is_enough() {
    let app = app().await;
    app.post("/api/v1/win", WIN).await;
    app.post("/api/v1/charge", r#"{"UserId":123123,"EventId":1,"Amount":15}"#).await;
    let rollback = r#"{"UserId":123123,"WinningEventId":312123321}"#;
    let low = app.post("/api/v1/rollback", rollback).await;
    assert_error(&low, 400, "BALANCE_TOO_LOW", "Account balance is too low");
    assert_eq!(low.header("wallet-current-balance"), "5.00");
    assert_eq!(balance(&app).await, "5.00");
    app.post("/api/v1/deposit", r#"{"UserId":123123,"TransactionId":1,"Amount":5}"#).await;
    let answer = r#"{"success":true,"UserId":123123,"AccountBalance":0.00,"Applied":true}"#;
    assert_ok(&app.post("/api/v1/rollback", rollback).await, answer);
}

#[tokio::test]
async fn an_unknown_user_is_400_for_commands_and_404_for_reads() {
    let app = App::spawn().await;
    for (path, event) in [
        ("charge", "EventId"),
        ("win", "WinningEventId"),
        ("rollback", "EventId"),
        ("rollback", "WinningEventId"),
        ("deposit", "TransactionId"),
        ("withdraw", "TransactionId"),
    ] {
        let body = format!(r#"{{"UserId":1,"{event}":1,"Amount":1}}"#);
        let reply = app.post(&format!("/api/v1/{path}"), &body).await;
        assert_error(&reply, 400, "UNKNOWN_USER", "Unknown user");
    }
    for path in ["/api/v1/users/1", "/api/v1/users/1?at=2026-01-02T03:04:05Z", "/api/v1/users/1/entries"] {
        assert_error(&app.get(path).await, 404, "UNKNOWN_USER", "Unknown user");
    }
}

#[tokio::test]
async fn equal_charges_at_once_move_money_once() {
    let app = app().await;
    let replies = join_all((0..64).map(|_| app.post("/api/v1/charge", CHARGE))).await;
    for reply in &replies {
        assert_ok(reply, r#"{"success":true,"UserId":123123,"AccountBalance":9.00}"#);
    }
    let replayed = replies.iter().filter(|reply| reply.header("idempotent-replayed") == "true").count();
    assert_eq!((replayed, balance(&app).await.as_str()), (63, "9.00"));
}

#[tokio::test]
async fn racing_charges_never_overdraw() {
    let app = app().await;
    let bodies: Vec<_> = (0..200).map(|id| format!(r#"{{"UserId":123123,"EventId":{id},"Amount":1}}"#)).collect();
    let replies = join_all(bodies.iter().map(|body| app.post("/api/v1/charge", body))).await;
    let (taken, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!((taken.len(), balance(&app).await.as_str()), (10, "0.00"));
    for reply in refused {
        assert_error(reply, 400, "BALANCE_TOO_LOW", "Account balance is too low");
    }
}

#[tokio::test]
async fn a_command_whose_time_ran_out_is_not_done() {
    let app = App::spawn_with(|settings| settings.command_timeout_ms = 0).await;
    let late = app.post("/api/v1/users", r#"{"UserId":1}"#).await;
    assert_error(&late, 503, "DEADLINE", "Time ran out and nothing was done, try again");
    // A read has as little time, so the ledger itself is asked.
    assert_eq!(app.stop().await.audit().heads.commits(), 0);
}
