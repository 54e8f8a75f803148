//! The OpenAPI description: complete, true to what is served, and readable in a browser without a network.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wallet::api::reason::Reason;

use crate::support::app::App;

fn description() -> Value {
    serde_json::from_str(&wallet::api::rest::openapi("EUR".parse().unwrap())).expect("the description is JSON")
}

/// Every operation: its path, its method, and its description.
fn operations(api: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = api["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods");
            methods.iter().map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

#[test]
fn every_call_is_described() {
    let api = description();
    assert_eq!(api["openapi"], "3.1.0");
    let calls: BTreeSet<_> = operations(&api).into_iter().map(|(path, method, _)| (method, path)).collect();
    let expected = BTreeSet::from([
        ("get", "/api/v1/healthcheck"),
        ("get", "/livez"),
        ("get", "/readyz"),
        ("post", "/api/v1/charge"),
        ("post", "/api/v1/win"),
        ("post", "/api/v1/play"),
        ("post", "/api/v1/rollback"),
        ("post", "/api/v1/batch"),
        ("post", "/api/v1/deposit"),
        ("post", "/api/v1/withdraw"),
        ("post", "/api/v1/users"),
        ("get", "/api/v1/users/{UserId}"),
        ("get", "/api/v1/users/{UserId}/entries"),
        ("get", "/api/v1/users/{UserId}/events/{EventId}"),
        ("post", "/api/v1/users/{UserId}/freeze"),
        ("post", "/api/v1/users/{UserId}/unfreeze"),
        ("get", "/api/v1/ledger/entries"),
        ("get", "/api/v1/ledger/entries/stream"),
        ("get", "/api/v1/ledger/checkpoint"),
    ]);
    assert_eq!(calls, expected);
}

#[test]
fn every_operation_has_what_a_reader_needs() {
    let api = description();
    for (path, method, operation) in operations(&api) {
        let at = format!("{method} {path}");
        assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{at}");
        let responses = operation["responses"].as_object().expect("responses");
        for (status, response) in responses {
            assert!(!response["description"].as_str().unwrap_or_default().is_empty(), "{at} {status}");
            assert!(response["headers"]["X-Request-Id"].is_object(), "{at} {status}");
            let error = status.starts_with('4') || status.starts_with('5');
            assert_eq!(response["headers"]["Wallet-Reason"].is_object(), error, "{at} {status}");
            assert_eq!(
                response["headers"]["Retry-After"].is_object(),
                ["429", "503"].contains(&status.as_str()),
                "{at} {status}"
            );
            let is_stream = path.ends_with("/stream") && status == "200";
            let kind = if is_stream { "text/event-stream" } else { "application/json" };
            assert!(response["content"][kind]["schema"].is_object(), "{at} {status}");
        }
        if method == "post" {
            for status in ["200", "400", "405", "408", "413", "415", "500", "503"] {
                assert!(responses.contains_key(status), "{at} {status}");
            }
            for header in ["Idempotent-Replayed", "Wallet-Current-Balance"] {
                assert!(responses["200"]["headers"][header].is_object(), "{at} {header}");
            }
        }
    }
}

#[test]
fn the_fields_are_exact() {
    let api = description();
    let schema = |name: &str| &api["components"]["schemas"][name];
    for (request, fields, optional) in [
        ("ChargeRequest", &["UserId", "EventId", "Amount"][..], &["RoundId"][..]),
        ("WinRequest", &["UserId", "WinningEventId", "Amount"], &["RoundId"]),
        ("PlayRequest", &["UserId", "EventId", "Amount", "WinningEventId", "WinningAmount"], &["RoundId"]),
        ("TransactionRequest", &["UserId", "TransactionId", "Amount"], &["Note"]),
        ("RollbackRequest", &["UserId"], &["EventId", "WinningEventId"]),
    ] {
        let properties = schema(request)["properties"].as_object().expect(request);
        let names: BTreeSet<_> = properties.keys().map(String::as_str).collect();
        assert_eq!(names, fields.iter().chain(optional).copied().collect(), "{request}");
        assert_eq!(schema(request)["required"], json!(fields), "{request}");
        assert_eq!(schema(request)["properties"]["UserId"]["$ref"], "#/components/schemas/Id", "{request}");
    }
    assert_eq!(schema("UserRequest")["required"], json!(["UserId"]));
    let either = json!([{ "required": ["EventId"] }, { "required": ["WinningEventId"] }]);
    assert_eq!(schema("RollbackRequest")["oneOf"], either);
    assert_eq!((&schema("Id")["type"], &schema("Id")["maximum"]), (&json!("integer"), &json!(i64::MAX)));
    assert_eq!(schema("ChargeRequest")["properties"]["Amount"]["$ref"], "#/components/schemas/Money");
    assert_eq!(schema("Money")["type"], "number");
    assert_eq!(schema("ChargeRequest")["example"], json!({ "UserId": 123_123, "EventId": 321_123, "Amount": 1.0 }));
    assert_eq!(schema("BalanceAnswer")["required"], json!(["success", "UserId", "AccountBalance"]));
    let entries = ["success", "UserId", "Entries", "NextBefore"];
    assert_eq!(schema("EntriesAnswer")["required"], json!(entries));
}

#[test]
fn every_reason_stands_in_the_table() {
    let api = description();
    let introduction = api["info"]["description"].as_str().expect("an introduction");
    // A stream of events that is not read ends without a word.
    assert!(!introduction.contains(Reason::SlowReader.name()));
    for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::SlowReader) {
        assert!(introduction.contains(&format!("| `{}` | ", reason.name())), "{}", reason.name());
    }
}

#[tokio::test]
async fn the_description_and_its_page_are_served() {
    let app = App::spawn().await;
    let served = app.get("/api/v1/openapi.json").await;
    assert_eq!((served.status, served.header("content-type")), (200, "application/json"));
    assert!(served.text() == wallet::api::rest::openapi("EUR".parse().unwrap()), "{}", served.text());
    let page = app.get("/docs").await;
    assert_eq!((page.status, page.header("location")), (303, "/docs/"));
    let page = app.get("/docs/").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.text().contains("<title>Wallet API</title>"), "{}", page.text());
    assert!(!page.text().contains("//"), "the page loads nothing from elsewhere");
    assert_eq!(app.get("/docs/index.html").await.text(), page.text());
    for file in ["swagger-ui.css", "index.css", "swagger-ui-bundle.js", "initializer.js", "favicon-32x32.png"] {
        assert!(page.text().contains(&format!("\"{file}\"")), "{file}");
        assert_eq!(app.get(&format!("/docs/{file}")).await.status, 200, "{file}");
    }
    let script = app.get("/docs/initializer.js").await;
    assert!(script.text().contains(r#"url: "/api/v1/openapi.json""#), "{}", script.text());
}

#[test]
fn examples_write_money_with_the_decimals_of_the_currency() {
    for (currency, decimals, one) in [("EUR", 2, "1.00"), ("JPY", 0, "1"), ("KWD", 3, "1.000")] {
        let text = wallet::api::rest::openapi(currency.parse().unwrap());
        assert!(text.contains(&format!("\"Amount\": {one}\n")), "{currency}");
        let fields = text.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(": "));
        let is_money = |name: &str| ["\"Amount\"", "\"AccountBalance\"", "\"BalanceAfter\""].contains(&name);
        let amounts: Vec<&str> =
            fields.filter(|(name, value)| is_money(name) && *value != "{").map(|(_, value)| value).collect();
        assert!(amounts.len() > 10, "{amounts:?}");
        for amount in amounts {
            assert_eq!(amount.split_once('.').map_or(0, |(_, fraction)| fraction.len()), decimals, "{amount}");
        }
        let api: Value = serde_json::from_str(&text).unwrap();
        let money = &api["components"]["schemas"]["Money"];
        assert_eq!(money["x-currency"], json!({ "code": currency, "decimals": decimals }));
        assert!(api["info"]["description"].as_str().unwrap().contains(&format!("**{currency}**")), "{currency}");
    }
}

#[test]
fn what_is_never_answered_is_not_described() {
    let api = description();
    for (path, method, operation) in operations(&api) {
        let responses = operation["responses"].as_object().expect("responses");
        let is_open = ["/livez", "/readyz", "/api/v1/healthcheck"].contains(&path);
        for status in ["401", "403", "429"] {
            assert_eq!(responses.contains_key(status), !is_open, "{method} {path} {status}");
        }
        // Only what a frozen wallet refuses.
        let gives = ["charge", "play", "rollback", "withdraw"].map(|call| format!("/api/v1/{call}"));
        let frozen = responses.get("403").is_some_and(|forbidden| forbidden.to_string().contains("\"FROZEN\""));
        assert_eq!(frozen, gives.contains(&path.to_owned()), "{method} {path}");
    }
    assert!(!api["paths"]["/livez"]["get"]["responses"].as_object().unwrap().contains_key("503"));
}

#[test]
fn engines_are_told_what_costs_money_not_to_know() {
    let api = description();
    let introduction = api["info"]["description"].as_str().expect("an introduction");
    for sentence in [
        "Above 2^53 − 1 (9007199254740991) they lose their last digits",
        "who voids a settled round rolls back its win as well as its charge",
        "An engine that gives up a charge without knowing its fate rolls it back: that bars the id",
    ] {
        assert!(introduction.contains(sentence), "{introduction}");
    }
    let id = api["components"]["schemas"]["Id"]["description"].as_str().expect("a description");
    assert!(id.contains("2^53 − 1"), "{id}");
}
