//! What operators write about deposits and withdrawals.

use super::{app, assert_error};

#[tokio::test]
async fn a_note_is_kept_as_it_was_written() {
    let app = app().await;
    let long = format!("\"{}\"", "é".repeat(200));
    let texts = [r#""Bonus \u00e9t\u00e9 \"2026\"""#, &long, r#""""#];
    for (id, text) in (1..).zip(texts) {
        let body = format!(r#"{{"UserId":123123,"TransactionId":{id},"Amount":1,"Note":{text}}}"#);
        assert_eq!(app.post("/api/v1/deposit", &body).await.status, 200, "{text}");
        assert_eq!(app.post("/api/v1/withdraw", &body).await.status, 200, "{text}");
    }
    let again = r#"{"UserId":123123,"TransactionId":1,"Amount":1,"Note":"another"}"#;
    assert_eq!(app.post("/api/v1/deposit", again).await.header("idempotent-replayed"), "true", "it is never compared");
    let entries = app.get("/api/v1/users/123123/entries").await.json()["Entries"].clone();
    let notes: Vec<String> = (0..6).map(|index| entries[index]["Note"].to_string()).collect();
    let first = r#""Bonus été \"2026\"""#;
    assert_eq!(notes, ["null", "null", long.as_str(), long.as_str(), first, first]);
}

#[tokio::test]
async fn a_note_that_is_too_long_or_no_string_is_refused() {
    let app = app().await;
    let limits = "Note must have at most 200 characters, no control characters";
    let long = format!("\"{}\"", "x".repeat(201));
    for (text, message) in [
        (r#""a\nb""#, limits),
        (r#""\u0000""#, limits),
        (r#""\u0085""#, limits),
        (long.as_str(), limits),
        (r#""\ud800""#, "Note must be a string"),
        ("1", "Note must be a string"),
        ("null", "Note must be a string"),
        (r#"["a"]"#, "Note must be a string"),
    ] {
        let body = format!(r#"{{"UserId":123123,"TransactionId":1,"Amount":-1,"Note":{text}}}"#);
        for call in ["deposit", "withdraw", "users/123123/freeze", "users/123123/unfreeze"] {
            let reply = app.post(&format!("/api/v1/{call}"), &body).await;
            assert_error(&reply, 400, "INVALID_REQUEST", message);
        }
    }
}
