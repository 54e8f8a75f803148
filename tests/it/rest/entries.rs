//! A wallet's history, page by page.

use serde_json::Value;

use super::{app, assert_error, assert_ok};

#[tokio::test]
async fn a_history_is_paged_newest_first() {
    let app = app().await;
    for event in 1..=4 {
        let body = format!(r#"{{"UserId":123123,"EventId":{event},"Amount":{event}}}"#);
        assert_eq!(app.post("/api/v1/charge", &body).await.status, 200);
    }
    let first = app.get("/api/v1/users/123123/entries?limit=3").await;
    let entries = first.json()["Entries"].as_array().expect("entries").clone();
    let created_at = |index: usize| entries[index]["CreatedAt"].as_str().expect("a time");
    assert!(created_at(0).len() == 27 && created_at(0).ends_with('Z'), "{}", created_at(0));
    let start = concat!(
        r#"{"success":true,"UserId":123123,"Entries":[{"EntryId":5,"UserId":123123,"Sequence":5,"Kind":"charge","#,
        r#""EventId":4,"Amount":4.00,"BalanceAfter":0.00,"RoundId":null,"Note":null,"Caller":null,"CreatedAt":""#
    );
    assert!(first.text().starts_with(start), "{}", first.text());
    assert!(first.text().ends_with(r#""}],"NextBefore":3}"#), "{}", first.text());

    let last = app.get("/api/v1/users/123123/entries?limit=3&before=3").await.json();
    assert_eq!(last["NextBefore"], Value::Null);
    let ids = |page: &Value| -> Vec<i64> {
        page["Entries"].as_array().unwrap().iter().map(|entry| entry["EntryId"].as_i64().unwrap()).collect()
    };
    assert_eq!((ids(&first.json()), ids(&last)), (vec![5, 4, 3], vec![2, 1]));
    assert_eq!(last["Entries"][1]["Kind"], "open");
    for all in ["", "?", "?limit=1000", "?before=99", "?before=9223372036854775807"] {
        let page = app.get(&format!("/api/v1/users/123123/entries{all}")).await.json();
        assert_eq!(ids(&page), [5, 4, 3, 2, 1], "{all}");
    }
    let none = app.get("/api/v1/users/123123/entries?before=0").await;
    assert_ok(&none, r#"{"success":true,"UserId":123123,"Entries":[],"NextBefore":null}"#);
    let limit = "limit must be a whole number from 1 to 1000";
    let before = "before must be a whole number from 0 to 9223372036854775807";
    for (query, message) in
        [("limit=-1", limit), ("limit=x", limit), ("limit=", limit), ("before=-1", before), ("before=x", before)]
    {
        let reply = app.get(&format!("/api/v1/users/123123/entries?{query}")).await;
        assert_error(&reply, 400, "INVALID_REQUEST", message);
    }
}

#[tokio::test]
async fn an_entry_shows_the_round_of_its_command() {
    let app = app().await;
    let charge = |round: &str| format!(r#"{{"UserId":123123,"EventId":1,"Amount":1,"RoundId":{round}}}"#);
    for round in ["-1", "1.5", "null", r#""7""#, "9223372036854775808"] {
        let message = "RoundId must be a whole number from 0 to 9223372036854775807";
        let reply = app.post("/api/v1/charge", &charge(round)).await;
        assert_error(&reply, 400, "INVALID_REQUEST", message);
    }
    assert_eq!(app.post("/api/v1/charge", &charge("9223372036854775807")).await.status, 200);
    let again = app.post("/api/v1/charge", &charge("8")).await;
    assert_eq!(again.header("idempotent-replayed"), "true", "a round is never compared");
    let win = r#"{"UserId":123123,"WinningEventId":1,"Amount":1,"RoundId":0}"#;
    assert_eq!(app.post("/api/v1/win", win).await.status, 200);
    let entries = app.get("/api/v1/users/123123/entries").await.json();
    let rounds: Vec<Value> = (0..3).map(|index| entries["Entries"][index]["RoundId"].clone()).collect();
    assert_eq!(rounds, [Value::from(0), Value::from(i64::MAX), Value::Null]);
}
