//! Freezing a wallet, and unfreezing it.

use super::{CHARGE, app, assert_error, assert_ok};

const FREEZE: &str = "/api/v1/users/123123/freeze";
const UNFREEZE: &str = "/api/v1/users/123123/unfreeze";

#[tokio::test]
async fn a_frozen_wallet_gives_nothing_out() {
    let app = app().await;
    let frozen = app.post(FREEZE, r#"{"TransactionId":1,"Note":"Card stolen"}"#).await;
    let text = frozen.text().to_owned();
    assert!(text.starts_with(r#"{"success":true,"UserId":123123,"WalletId":""#), "{text}");
    assert!(text.ends_with(r#"","AccountBalance":10.00,"Frozen":true}"#), "{text}");
    let charge = app.post("/api/v1/charge", CHARGE).await;
    assert_error(&charge, 403, "FROZEN", "Account is frozen");
    let win = r#"{"UserId":123123,"WinningEventId":1,"Amount":1}"#;
    assert_eq!(app.post("/api/v1/win", win).await.status, 200);
    assert!(app.get("/api/v1/users/123123").await.text().ends_with(r#""AccountBalance":11.00,"Frozen":true}"#));

    let thawed = app.post(UNFREEZE, r#"{"TransactionId":1}"#).await;
    assert!(thawed.text().ends_with(r#""AccountBalance":11.00,"Frozen":false}"#), "{}", thawed.text());
    assert_eq!(app.post("/api/v1/charge", CHARGE).await.status, 200);
    let again = app.post(FREEZE, r#"{"TransactionId":1}"#).await;
    assert_ok(&again, &text);
    assert_eq!((again.header("idempotent-replayed"), again.header("wallet-current-balance")), ("true", "10.00"));

    let listed = app.get("/api/v1/users/123123/entries").await;
    for entry in [
        r#""Kind":"unfreeze","EventId":1,"Amount":0.00,"BalanceAfter":11.00,"RoundId":null,"Note":null,"#,
        r#""Kind":"freeze","EventId":1,"Amount":0.00,"BalanceAfter":10.00,"RoundId":null,"Note":"Card stolen","#,
    ] {
        assert!(listed.text().contains(entry), "{}", listed.text());
    }
    let entries = listed.json()["Entries"].clone();
    let at = |index: usize| format!("/api/v1/users/123123?at={}", entries[index]["CreatedAt"].as_str().unwrap());
    for (index, frozen) in [(0, false), (1, false), (2, true), (3, true), (4, false)] {
        assert_eq!(app.get(&at(index)).await.json()["Frozen"], frozen, "{index}");
    }
}

#[tokio::test]
async fn a_freezing_names_its_wallet_in_the_path() {
    let app = app().await;
    let unknown = app.post("/api/v1/users/5/freeze", r#"{"TransactionId":1}"#).await;
    assert_error(&unknown, 400, "UNKNOWN_USER", "Unknown user");
    for path in ["/api/v1/users/x/freeze", "/api/v1/users/01/unfreeze", "/api/v1/users/-1/freeze"] {
        let message = "UserId must be a whole number from 0 to 9223372036854775807";
        assert_error(&app.post(path, r#"{"TransactionId":1}"#).await, 400, "INVALID_REQUEST", message);
    }
    let missing = app.post(FREEZE, "{}").await;
    assert_error(&missing, 400, "INVALID_REQUEST", "TransactionId is missing from the request");
    assert_error(&app.get(FREEZE).await, 405, "METHOD_NOT_ALLOWED", "Method is not allowed for this path");
}
