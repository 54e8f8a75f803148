//! One event's fate.

use serde_json::Value;

use super::{CHARGE, app, assert_error};

#[tokio::test]
async fn an_event_shows_every_entry_of_its_number() {
    let app = app().await;
    app.post("/api/v1/charge", CHARGE).await;
    app.post("/api/v1/rollback", r#"{"UserId":123123,"EventId":321123}"#).await;
    app.post("/api/v1/deposit", r#"{"UserId":123123,"TransactionId":321123,"Amount":2}"#).await;
    let event = app.get("/api/v1/users/123123/events/321123").await;
    assert_eq!(event.status, 200);
    let start = concat!(
        r#"{"success":true,"UserId":123123,"EventId":321123,"Charge":{"EntryId":2,"UserId":123123,"Sequence":2,"#,
        r#""Kind":"charge","EventId":321123,"Amount":1.00,"BalanceAfter":9.00,"#
    );
    assert!(event.text().starts_with(start), "{}", event.text());
    assert!(event.text().ends_with(r#","WinRollback":null}"#), "{}", event.text());
    let event = event.json();
    let names: Vec<&str> = event.as_object().unwrap().keys().skip(3).map(String::as_str).collect();
    assert_eq!(names, ["Charge", "Win", "Deposit", "Withdrawal", "Rollback", "WinRollback"]);
    let given: Vec<bool> = names.iter().map(|name| event[name] != Value::Null).collect();
    assert_eq!(given, [true, false, true, false, true, false]);
    let listed = app.get("/api/v1/users/123123/entries").await.json();
    assert_eq!((&event["Deposit"], &event["Rollback"]), (&listed["Entries"][0], &listed["Entries"][1]));
}

#[tokio::test]
async fn an_event_that_is_not_known_is_told_from_a_user_that_is_not() {
    let app = app().await;
    app.post("/api/v1/users/123123/freeze", r#"{"TransactionId":5}"#).await;
    for event in ["1", "0", "5", "9223372036854775807"] {
        let reply = app.get(&format!("/api/v1/users/123123/events/{event}")).await;
        assert_error(&reply, 404, "UNKNOWN_EVENT", "Unknown event");
    }
    assert_error(&app.get("/api/v1/users/5/events/1").await, 404, "UNKNOWN_USER", "Unknown user");
    for (path, name) in [("123123/events/x", "EventId"), ("123123/events/01", "EventId"), ("-1/events/1", "UserId")] {
        let message = format!("{name} must be a whole number from 0 to 9223372036854775807");
        assert_error(&app.get(&format!("/api/v1/users/{path}")).await, 400, "INVALID_REQUEST", &message);
    }
    let unknown = app.get("/api/v1/users/123123/events/1?x=1").await;
    assert_error(&unknown, 400, "INVALID_REQUEST", "`x` is not a query parameter of this call");
}
