//! The OpenAPI description: complete, true to what is served, and readable in a browser without a network.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wallet::api::reason::Reason;

use crate::support::app::App;

fn description() -> Value {
    serde_json::from_str(&wallet::api::rest::openapi()).expect("the description is JSON")
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
        ("post", "/api/v1/rollback"),
        ("post", "/api/v1/deposit"),
        ("post", "/api/v1/withdraw"),
        ("post", "/api/v1/users"),
        ("get", "/api/v1/users/{UserId}"),
        ("get", "/api/v1/users/{UserId}/entries"),
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
            assert_eq!(response["headers"]["Retry-After"].is_object(), status == "503", "{at} {status}");
            assert!(response["content"]["application/json"]["schema"].is_object(), "{at} {status}");
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
        ("TransactionRequest", &["UserId", "TransactionId", "Amount"], &[]),
        ("RollbackRequest", &["UserId"], &["EventId", "WinningEventId"]),
    ] {
        let properties = schema(request)["properties"].as_object().expect(request);
        let names: BTreeSet<_> = properties.keys().map(String::as_str).collect();
        assert_eq!(names, fields.iter().chain(optional).copied().collect(), "{request}");
        assert_eq!(schema(request)["required"], json!(fields), "{request}");
        assert_eq!(schema(request)["properties"]["UserId"]["$ref"], "#/components/schemas/Id", "{request}");
    }
    assert_eq!(schema("UserRequest")["required"], json!(["UserId"]));
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
    for reason in Reason::ALL {
        assert!(introduction.contains(&format!("| `{}` | ", reason.name())), "{}", reason.name());
    }
}

#[tokio::test]
async fn the_description_and_its_page_are_served() {
    let app = App::spawn().await;
    let served = app.get("/api/v1/openapi.json").await;
    assert_eq!((served.status, served.header("content-type")), (200, "application/json"));
    assert_eq!(served.json(), description());
    let page = app.get("/docs").await;
    assert_eq!((page.status, page.header("location")), (303, "/docs/"));
    let page = app.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("swagger-ui"));
    assert!(!page.text().contains("https://"), "the page loads nothing from elsewhere");
    let start = app.get("/docs/swagger-initializer.js").await;
    assert!(start.text().contains("/api/v1/openapi.json"));
}
