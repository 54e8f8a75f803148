//! Many commands in one request.

use std::fmt::Write as _;

use super::{app, assert_error, assert_ok, balance};

fn batch(commands: &[&str]) -> String {
    format!(r#"{{"Commands":[{}]}}"#, commands.join(","))
}

#[tokio::test]
async fn each_command_is_answered_as_its_own_call_would() {
    let app = app().await;
    let commands = [
        (
            r#"{"Charge":{"UserId":123123,"EventId":1,"Amount":1}}"#,
            r#"{"success":true,"UserId":123123,"AccountBalance":9.00}"#,
        ),
        (
            r#"{"Charge":{"UserId":123123,"EventId":2,"Amount":99}}"#,
            r#"{"success":false,"error":"Account balance is too low","Reason":"BALANCE_TOO_LOW"}"#,
        ),
        (
            r#"{"Win":{"UserId":123123,"WinningEventId":1,"Amount":0.5}}"#,
            r#"{"success":true,"UserId":123123,"AccountBalance":9.50}"#,
        ),
        (
            r#"{"Play":{"UserId":123123,"EventId":3,"Amount":2,"WinningEventId":3,"WinningAmount":1}}"#,
            r#"{"success":true,"UserId":123123,"AccountBalance":8.50}"#,
        ),
        (
            r#"{"Rollback":{"UserId":123123,"EventId":1}}"#,
            r#"{"success":true,"UserId":123123,"AccountBalance":9.50,"Applied":true}"#,
        ),
        (
            r#"{"Rollback":{"UserId":123123,"WinningEventId":9}}"#,
            r#"{"success":true,"UserId":123123,"AccountBalance":9.50,"Applied":false}"#,
        ),
        (
            r#"{"Deposit":{"UserId":123123,"TransactionId":1,"Amount":5,"Note":"hi"}}"#,
            r#"{"success":true,"UserId":123123,"AccountBalance":14.50}"#,
        ),
        (
            r#"{"Withdraw":{"UserId":123123,"TransactionId":1,"Amount":4.5}}"#,
            r#"{"success":true,"UserId":123123,"AccountBalance":10.00}"#,
        ),
        (
            r#"{"Charge":{"UserId":123123,"EventId":4,"Amount":-1}}"#,
            r#"{"success":false,"error":"Amount value is negative","Reason":"NEGATIVE_AMOUNT"}"#,
        ),
        (
            r#"{"Charge":{"UserId":123123,"Amount":1}}"#,
            r#"{"success":false,"error":"EventId is missing from the request","Reason":"INVALID_REQUEST"}"#,
        ),
        (
            r#"{"Win":{"UserId":5,"WinningEventId":1,"Amount":1}}"#,
            r#"{"success":false,"error":"Unknown user","Reason":"UNKNOWN_USER"}"#,
        ),
        (
            r#"{"Charge":{"UserId":123123,"EventId":1,"Amount":1}}"#,
            r#"{"success":false,"error":"Event has been rolled back","Reason":"ROLLED_BACK"}"#,
        ),
    ];
    let (asked, answered): (Vec<&str>, Vec<&str>) = commands.into_iter().unzip();
    let answer = format!(r#"{{"success":true,"Results":[{}]}}"#, answered.join(","));
    let first = app.post("/api/v1/batch", &batch(&asked)).await;
    assert_ok(&first, &answer);
    assert_eq!(balance(&app).await, "10.00");
    // Again: what was done is replayed, and of it only the charge was rolled back since.
    let again = app.post("/api/v1/batch", &batch(&asked)).await;
    let done = r#"{"success":true,"UserId":123123,"AccountBalance":9.00}"#;
    let undone = r#"{"success":false,"error":"Event has been rolled back","Reason":"ROLLED_BACK"}"#;
    assert_ok(&again, &answer.replacen(done, undone, 1));
    assert_eq!(balance(&app).await, "10.00");
    assert_ok(&app.post("/api/v1/batch", &batch(&[])).await, r#"{"success":true,"Results":[]}"#);
}

#[tokio::test]
async fn a_malformed_command_is_refused_alone() {
    let app = app().await;
    let one = "A command must be one of Charge, Win, Play, Rollback, Deposit and Withdraw";
    for (command, message) in [
        ("1", "A command must be a JSON object"),
        ("[]", "A command must be a JSON object"),
        ("{}", "Charge, Win, Play, Rollback, Deposit or Withdraw is missing from the request"),
        (r#"{"Freeze":{}}"#, "Charge, Win, Play, Rollback, Deposit or Withdraw is missing from the request"),
        (r#"{"charge":{}}"#, "charge must be spelled Charge"),
        (r#"{"Charge":{},"Charge":{}}"#, "Charge is given more than once"),
        (r#"{"Charge":{},"Win":{}}"#, one),
        (r#"{"Charge":7}"#, "Charge must be a JSON object"),
        (r#"{"Charge":{"userId":1}}"#, "userId must be spelled UserId"),
        (r#"{"Charge":{"UserId":1,"UserId":1}}"#, "UserId is given more than once"),
    ] {
        let good = r#"{"Win":{"UserId":123123,"WinningEventId":1,"Amount":0}}"#;
        let reply = app.post("/api/v1/batch", &batch(&[command, good])).await;
        let expected = format!(
            r#"{{"success":true,"Results":[{{"success":false,"error":"{message}","Reason":"INVALID_REQUEST"}},{}]}}"#,
            r#"{"success":true,"UserId":123123,"AccountBalance":10.00}"#
        );
        assert_ok(&reply, &expected);
    }
}

#[tokio::test]
async fn a_request_that_is_no_batch_is_refused_as_a_whole() {
    let app = app().await;
    for (body, message) in [
        ("{}", "Commands is missing from the request"),
        (r#"{"commands":[]}"#, "commands must be spelled Commands"),
        (r#"{"Commands":{}}"#, "Commands must be an array"),
        (r#"{"Commands":null}"#, "Commands must be an array"),
        (r#"{"Commands":[}"#, "Request body is not valid JSON"),
        ("[]", "Request body must be a JSON object"),
    ] {
        assert_error(&app.post("/api/v1/batch", body).await, 400, "INVALID_REQUEST", message);
    }
    let many = vec!["1"; 1001];
    let message = "Commands must have at most 1000 elements";
    assert_error(&app.post("/api/v1/batch", &batch(&many)).await, 400, "INVALID_REQUEST", message);
    let large = format!(r#"{{"Commands":[],"Other":"{}"}}"#, "x".repeat(1024 * 1024));
    let reply = app.post("/api/v1/batch", &large).await;
    assert_error(&reply, 413, "PAYLOAD_TOO_LARGE", "Request body is too large");
    let fits = format!(r#"{{"Commands":[],"Other":"{}"}}"#, "x".repeat(1000 * 1024));
    assert_eq!(app.post("/api/v1/batch", &fits).await.status, 200);
    let charge = app.post("/api/v1/charge", &fits).await;
    assert_error(&charge, 413, "PAYLOAD_TOO_LARGE", "Request body is too large");
}

#[tokio::test]
async fn a_whole_batch_is_decided_in_order() {
    let app = app().await;
    let (mut commands, mut expected) = (String::new(), String::new());
    for number in 1..=1000 {
        let comma = if number == 1 { "" } else { "," };
        let _ = write!(commands, r#"{comma}{{"Charge":{{"UserId":123123,"EventId":{number},"Amount":0.01}}}}"#);
        let (whole, cents) = ((1000 - number) / 100, (1000 - number) % 100);
        let _ = write!(expected, r#"{comma}{{"success":true,"UserId":123123,"AccountBalance":{whole}.{cents:02}}}"#);
    }
    let reply = app.post("/api/v1/batch", &format!(r#"{{"Commands":[{commands}]}}"#)).await;
    assert_ok(&reply, &format!(r#"{{"success":true,"Results":[{expected}]}}"#));
}
