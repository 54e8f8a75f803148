//! Plays: a charge and a win, together or not at all.

use super::{USER, WIN, app, assert_error, assert_ok, balance};

const PLAY: &str = r#"{"UserId":123123,"EventId":1,"Amount":1.00,"WinningEventId":2,"WinningAmount":0.50,"RoundId":7}"#;

#[tokio::test]
async fn a_play_is_answered_by_the_balance_after_both() {
    let app = app().await;
    let answer = r#"{"success":true,"UserId":123123,"AccountBalance":9.50}"#;
    let first = app.post("/api/v1/play", PLAY).await;
    assert_ok(&first, answer);
    assert_eq!((first.header("idempotent-replayed"), first.header("wallet-current-balance")), ("", ""));
    app.post("/api/v1/win", WIN).await;
    let again = app.post("/api/v1/play", PLAY).await;
    assert_ok(&again, answer);
    assert_eq!((again.header("idempotent-replayed"), again.header("wallet-current-balance")), ("true", "19.50"));
    let listed = app.get("/api/v1/users/123123/entries").await;
    for entry in [
        r#""Kind":"win","EventId":2,"Amount":0.50,"BalanceAfter":9.50,"RoundId":7,"#,
        r#""Kind":"charge","EventId":1,"Amount":1.00,"BalanceAfter":9.00,"RoundId":7,"#,
    ] {
        assert!(listed.text().contains(entry), "{}", listed.text());
    }
}

#[tokio::test]
async fn a_play_is_refused_as_the_half_that_is() {
    let app = app().await;
    let play = |stake: &str, prize: &str| {
        format!(r#"{{"UserId":{USER},"EventId":1,"Amount":{stake},"WinningEventId":1,"WinningAmount":{prize}}}"#)
    };
    for (stake, prize, status, reason, message) in [
        ("-1", "-1", 400, "NEGATIVE_AMOUNT", "Amount value is negative"),
        ("1", "-1", 400, "NEGATIVE_AMOUNT", "Winning amount is negative"),
        ("10.01", "99", 400, "BALANCE_TOO_LOW", "Account balance is too low"),
        ("1", "90071992547409.91", 400, "BALANCE_LIMIT", "Account balance would exceed the limit"),
        ("1.001", "1", 400, "INVALID_REQUEST", "Amount has more than 2 decimals"),
        ("1", "\"1\"", 400, "INVALID_REQUEST", "WinningAmount must be a number"),
    ] {
        assert_error(&app.post("/api/v1/play", &play(stake, prize)).await, status, reason, message);
    }
    assert_eq!(balance(&app).await, "10.00");
    let entries = app.get("/api/v1/users/123123/entries").await.json();
    assert_eq!(entries["Entries"].as_array().unwrap().len(), 1, "a refused play leaves no trace");
    for field in ["UserId", "EventId", "Amount", "WinningEventId", "WinningAmount"] {
        let body = PLAY.replace(&format!(r#""{field}""#), r#""Other""#);
        let message = format!("{field} is missing from the request");
        assert_error(&app.post("/api/v1/play", &body).await, 400, "INVALID_REQUEST", &message);
    }
}
