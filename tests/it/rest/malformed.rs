//! Requests that are not well formed, or only look so.

use super::{CHARGE, USER, app, assert_error, balance, exchange};
use crate::support::app::App;

#[tokio::test]
async fn every_spelling_of_an_amount_is_the_same_amount() {
    let app = app().await;
    app.post("/api/v1/charge", CHARGE).await;
    for amount in ["1", "1.0", "1.00", "10e-1", "1e0", "0.1E+1", "1.00000000000000000000000000000000000000"] {
        let body = format!(r#"{{"UserId":123123,"EventId":321123,"Amount":{amount}}}"#);
        let reply = app.post("/api/v1/charge", &body).await;
        assert_eq!((reply.status, reply.header("idempotent-replayed")), (200, "true"), "{amount}");
    }
    for (amount, message) in [
        ("1.005", "Amount has more than 2 decimals"),
        ("1e-99999999", "Amount has more than 2 decimals"),
        ("1e400", "Amount is out of range"),
        ("-1e400", "Amount is out of range"),
        ("92233720368547758.08", "Amount is out of range"),
        (r#""1.00""#, "Amount must be a number"),
        ("null", "Amount must be a number"),
        ("true", "Amount must be a number"),
        ("[1]", "Amount must be a number"),
        ("NaN", "Request body is not valid JSON"),
        ("01", "Request body is not valid JSON"),
    ] {
        let body = format!(r#"{{"UserId":123123,"EventId":5,"Amount":{amount}}}"#);
        assert_error(&app.post("/api/v1/charge", &body).await, 400, "INVALID_REQUEST", message);
    }
    let zero = app.post("/api/v1/charge", r#"{"UserId":123123,"EventId":6,"Amount":-0.0}"#).await;
    assert_eq!(zero.status, 200);
    assert_eq!(balance(&app).await, "9.00");
}

#[tokio::test]
async fn every_spelling_of_an_id_is_the_same_id() {
    let app = app().await;
    for user in ["123123", "123123.0", "1.23123e5", "1231230E-1"] {
        let body = format!(r#"{{"UserId":{user},"EventId":9223372036854775807,"Amount":1}}"#);
        assert_eq!(app.post("/api/v1/charge", &body).await.status, 200, "{user}");
    }
    assert_eq!(balance(&app).await, "9.00");
    let range = "must be a whole number from 0 to 9223372036854775807";
    for id in ["-1", "9223372036854775808", "1.5", r#""1""#, "null", "true", "{}", "1e400"] {
        let body = format!(r#"{{"UserId":{id},"EventId":1,"Amount":1}}"#);
        let reply = app.post("/api/v1/charge", &body).await;
        assert_error(&reply, 400, "INVALID_REQUEST", &format!("UserId {range}"));
        let body = format!(r#"{{"UserId":1,"EventId":{id},"Amount":1}}"#);
        let reply = app.post("/api/v1/charge", &body).await;
        assert_error(&reply, 400, "INVALID_REQUEST", &format!("EventId {range}"));
    }
}

#[tokio::test]
async fn a_number_in_a_path_or_a_query_has_one_spelling() {
    let app = app().await;
    let range = "must be a whole number from 0 to 9223372036854775807";
    for id in ["123123.0", "1.23123e5", "0123123", "+123123", "%2B123123", "-1", "%201", "x", "%ff", "1%2F2", "%00"] {
        for path in [format!("/api/v1/users/{id}"), format!("/api/v1/users/{id}/entries")] {
            assert_error(&app.get(&path).await, 400, "INVALID_REQUEST", &format!("UserId {range}"));
        }
    }
    for before in ["1e1", "2.0", "02", "%2B2", "+2", "-0", ""] {
        let reply = app.get(&format!("/api/v1/users/123123/entries?before={before}")).await;
        assert_error(&reply, 400, "INVALID_REQUEST", &format!("before {range}"));
    }
    for limit in ["1e1", "1.0", "01", "%2B1", "0", "1001", "100000", "99999999999999999999999"] {
        let reply = app.get(&format!("/api/v1/users/123123/entries?limit={limit}")).await;
        assert_error(&reply, 400, "INVALID_REQUEST", "limit must be a whole number from 1 to 1000");
    }
    // A digit that is percent-encoded is the same digit (RFC 3986, section 2.3).
    let encoded = app.get("/api/v1/users/%3123123?").await;
    assert_eq!((encoded.status, encoded.json()["UserId"].as_i64()), (200, Some(USER)));
    assert_eq!(app.get("/api/v1/users/123123/entries?limit=%31000&before=%32").await.status, 200);
}

#[tokio::test]
async fn a_field_that_differs_in_case_is_refused_and_moves_nothing() {
    let app = app().await;
    for (path, body, message) in [
        ("users", r#"{"UserId":31,"accountBalance":10.00}"#, "accountBalance must be spelled AccountBalance"),
        ("users", r#"{"UserId":31,"account\u0042alance":10.00}"#, "accountBalance must be spelled AccountBalance"),
        (
            "users",
            r#"{"UserId":31,"AccountBalance":1,"ACCOUNTBALANCE":10.00}"#,
            "ACCOUNTBALANCE must be spelled AccountBalance",
        ),
        (
            "users",
            r#"{"accountBalance":1,"UserId":31,"AccountBalance":1}"#,
            "accountBalance must be spelled AccountBalance",
        ),
        ("charge", r#"{"UserID":123123,"EventId":1,"Amount":1}"#, "UserID must be spelled UserId"),
        ("charge", r#"{"UserId":123123,"EventId":1,"Amount":1,"roundid":7}"#, "roundid must be spelled RoundId"),
        ("win", r#"{"UserId":123123,"WinningEventID":1,"Amount":1}"#, "WinningEventID must be spelled WinningEventId"),
        (
            "rollback",
            r#"{"UserId":123123,"EventId":1,"winningEventId":1}"#,
            "winningEventId must be spelled WinningEventId",
        ),
        ("deposit", r#"{"UserId":123123,"transactionId":1,"Amount":1}"#, "transactionId must be spelled TransactionId"),
        ("withdraw", r#"{"UserId":123123,"TransactionId":1,"amount":null}"#, "amount must be spelled Amount"),
    ] {
        assert_error(&app.post(&format!("/api/v1/{path}"), body).await, 400, "INVALID_REQUEST", message);
    }
    assert_error(&app.get("/api/v1/users/31").await, 404, "UNKNOWN_USER", "Unknown user");
    let entries = app.get("/api/v1/users/123123/entries").await.json();
    assert_eq!(entries["Entries"].as_array().unwrap().len(), 1, "nothing moved");
    // What only resembles a field, is a field of another call, or stands deeper, is ignored.
    for more in [r#""Account_Balance":1"#, r#""accountbalance":1"#, r#""More":{"amount":1,"UserId":[]}"#, r#""":1"#] {
        let body = format!("{{{more},{}", &CHARGE[1..]);
        assert_eq!(app.post("/api/v1/charge", &body).await.status, 200, "{more}");
    }
}

#[tokio::test]
async fn a_query_parameter_that_is_not_known_is_refused_and_moves_nothing() {
    let app = app().await;
    for (path, name) in [
        ("/api/v1/healthcheck?x=1", "x"),
        ("/api/v1/openapi.json?x", "x"),
        ("/api/v1/ledger/checkpoint?at=2026-01-02T03:04:05Z", "at"),
        ("/api/v1/users/123123?limit=1", "limit"),
        ("/api/v1/users/123123/entries?limit=1&offset=5", "offset"),
        ("/api/v1/users/123123/entries?limi%74=1&a%20b=5", "a b"),
    ] {
        let message = format!("`{name}` is not a query parameter of this call");
        assert_error(&app.get(path).await, 400, "INVALID_REQUEST", &message);
    }
    for path in ["charge", "win", "rollback", "deposit", "withdraw", "users"] {
        let reply = app.post(&format!("/api/v1/{path}?UserId=123123"), CHARGE).await;
        assert_error(&reply, 400, "INVALID_REQUEST", "`UserId` is not a query parameter of this call");
    }
    for (query, message) in [
        ("entries?Limit=1", "Limit must be spelled limit"),
        ("entries?limit=1&limit=1", "limit is given more than once"),
        ("entries?before=2&limit=1&bef%6Fre=2", "before is given more than once"),
    ] {
        let reply = app.get(&format!("/api/v1/users/123123/{query}")).await;
        assert_error(&reply, 400, "INVALID_REQUEST", message);
    }
    let at = app.get("/api/v1/users/123123?at=2026-01-02T03:04:05Z&at=2026-01-02T03:04:05Z").await;
    assert_error(&at, 400, "INVALID_REQUEST", "at is given more than once");
    assert_eq!(balance(&app).await, "10.00");
    assert_eq!(app.post("/api/v1/charge?", CHARGE).await.status, 200, "an empty query has no parameters");
}

#[tokio::test]
async fn a_malformed_body_is_refused_with_a_message_that_names_what_is_wrong() {
    let app = app().await;
    let missing = |name: &str| format!("{name} is missing from the request");
    for (path, body, message) in [
        ("charge", "{}", missing("UserId")),
        ("charge", r#"{"UserId":1,"Amount":"x"}"#, missing("EventId")),
        ("charge", r#"{"UserId":1,"EventId":1,"Sum":1}"#, missing("Amount")),
        ("win", r#"{"UserId":1,"EventId":1,"Amount":-1}"#, missing("WinningEventId")),
        (
            "win",
            r#"{"UserId":1,"WinningEventId":1,"Amount":-1,"RoundId":"x"}"#,
            "RoundId must be a whole number from 0 to 9223372036854775807".to_owned(),
        ),
        ("deposit", r#"{"UserId":1,"EventId":1,"Amount":1}"#, missing("TransactionId")),
        ("rollback", r#"{"UserId":1}"#, missing("EventId or WinningEventId")),
        (
            "rollback",
            r#"{"UserId":1,"EventId":1,"WinningEventId":1}"#,
            "EventId and WinningEventId cannot be rolled back in one request".to_owned(),
        ),
        ("users", r#"{"AccountBalance":1}"#, missing("UserId")),
        ("users", r#"{"UserId":1,"AccountBalance":null}"#, "AccountBalance must be a number".to_owned()),
        ("charge", r#"{"UserId":1,"UserId":1}"#, "UserId is given more than once".to_owned()),
        ("charge", "[123123,321123,1.00]", "Request body must be a JSON object".to_owned()),
        ("charge", "null", "Request body must be a JSON object".to_owned()),
        ("charge", "", "Request body is not valid JSON".to_owned()),
        ("charge", "{", "Request body is not valid JSON".to_owned()),
        ("charge", "{}{}", "Request body is not valid JSON".to_owned()),
        ("charge", &"[".repeat(60_000), "Request body is not valid JSON".to_owned()),
    ] {
        assert_error(&app.post(&format!("/api/v1/{path}"), body).await, 400, "INVALID_REQUEST", &message);
    }
    let deep = format!(r#"{{"More":{}{},{}"#, "[".repeat(30_000), "]".repeat(30_000), &CHARGE[1..]);
    assert_eq!(app.post("/api/v1/charge", &deep).await.status, 200, "unknown fields are ignored");
}

#[tokio::test]
async fn the_frameworks_own_errors_have_the_documented_shape() {
    let app = App::spawn().await;
    for path in ["/", "/api", "/api/v1/charge/", "/api/v1/users/1/x", "/docs/none", "/api/v1/nope?at=1"] {
        assert_error(&app.get(path).await, 404, "NOT_FOUND", "No such path");
    }
    let not_allowed = "Method is not allowed for this path";
    for (method, path, allow) in [
        ("GET", "/api/v1/charge", "POST"),
        ("DELETE", "/api/v1/users/1", "GET,HEAD"),
        ("OPTIONS", "/api/v1/healthcheck", "GET,HEAD"),
    ] {
        let reply = app.request(method, path, &[], "").await;
        assert_error(&reply, 405, "METHOD_NOT_ALLOWED", not_allowed);
        assert_eq!(reply.header("allow"), allow);
    }
    let unsupported = "Content-Type must be application/json";
    for headers in
        [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/x-www-form-urlencoded")]]
    {
        let reply = app.request("POST", "/api/v1/charge", headers, CHARGE).await;
        assert_error(&reply, 415, "UNSUPPORTED_MEDIA_TYPE", unsupported);
    }
    for media_type in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.game+json"] {
        let reply = app.request("POST", "/api/v1/charge", &[("content-type", media_type)], CHARGE).await;
        assert_error(&reply, 400, "UNKNOWN_USER", "Unknown user");
    }
    let large = app.post("/api/v1/charge", &" ".repeat(64 * 1024 + 1)).await;
    assert_error(&large, 413, "PAYLOAD_TOO_LARGE", "Request body is too large");
    let padded = CHARGE.to_owned() + &" ".repeat(64 * 1024 - CHARGE.len());
    let just = app.post("/api/v1/charge", &padded).await;
    assert_error(&just, 400, "UNKNOWN_USER", "Unknown user");
    let head = app.request("HEAD", "/api/v1/healthcheck", &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_body_that_is_encoded_is_not_supported() {
    let app = app().await;
    let json = ("content-type", "application/json");
    for codings in
        [&["gzip"][..], &["GZIP"], &["identity, gzip"], &["identity", "gzip"], &["br", "identity"], &["identity;q=1"]]
    {
        let headers: Vec<_> = codings.iter().map(|coding| ("content-encoding", *coding)).chain([json]).collect();
        let reply = app.request("POST", "/api/v1/charge", &headers, CHARGE).await;
        assert_error(&reply, 415, "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding is not supported");
        assert_eq!(reply.header("accept-encoding"), "identity", "{codings:?}");
    }
    assert_eq!(balance(&app).await, "10.00");
    for codings in [&["identity"][..], &["Identity"], &["identity, IDENTITY"], &["identity", "identity"], &[""]] {
        let headers: Vec<_> = codings.iter().map(|coding| ("content-encoding", *coding)).chain([json]).collect();
        assert_eq!(app.request("POST", "/api/v1/charge", &headers, CHARGE).await.status, 200, "{codings:?}");
    }
    // A 415 for the media type must not have the header (RFC 9110, section 12.5.3).
    let text = app.request("POST", "/api/v1/charge", &[("content-type", "text/plain")], CHARGE).await;
    assert_eq!((text.status, text.header("accept-encoding")), (415, ""));
}

#[tokio::test]
async fn no_answer_is_stored_by_a_cache() {
    let app = app().await;
    let get =
        ["healthcheck", "users/123123", "users/5", "users/x", "ledger/checkpoint", "openapi.json", "nope", "charge"];
    for path in get {
        for method in ["GET", "HEAD"] {
            let reply = app.request(method, &format!("/api/v1/{path}"), &[], "").await;
            assert_eq!(reply.header("cache-control"), "no-store", "{method} {path}: {}", reply.status);
        }
    }
    for (body, status) in [(CHARGE, 200), (CHARGE, 200), ("{}", 400), (&"x".repeat(70_000), 413)] {
        let reply = app.post("/api/v1/charge", body).await;
        assert_eq!((reply.status, reply.header("cache-control")), (status, "no-store"));
    }
    let slow = App::spawn_with(|settings| settings.command_timeout_ms = 0).await;
    let late = slow.post("/api/v1/charge", CHARGE).await;
    assert_eq!((late.status, late.header("cache-control")), (503, "no-store"));
}

#[tokio::test]
async fn what_is_no_http_is_refused_in_the_documented_shape() {
    let app = App::spawn().await;
    let get = "GET /api/v1/healthcheck HTTP/1.1\r\nhost: a\r\n";
    for (bytes, status) in [
        ("hello\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400),
        (format!("{get}no colon\r\n\r\n"), 400),
        (format!("{get}a b: c\r\n\r\n"), 400),
        (format!("{get}content-length: x\r\n\r\n"), 400),
        (format!("{get}content-length: 1\r\ncontent-length: 2\r\n\r\n"), 400),
        (format!("{get}{}\r\n", "x: y\r\n".repeat(200)), 431),
        (format!("{get}x: {}\r\n\r\n", "y".repeat(20_000)), 431),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(70_000)), 431),
        // After a request that is answered, in one go.
        (format!("{get}\r\nhello\r\n\r\n"), 400),
    ] {
        let answer = exchange(app.http, &bytes).await;
        let shown = &bytes[..bytes.len().min(80)];
        let own = &answer[answer.rfind("HTTP/1.1 ").expect("an answer")..];
        assert!(own.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer:?}");
        let (head, body) = own.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, r#"{"success":false,"error":"Request is not valid"}"#, "{shown}");
        for header in
            ["wallet-reason: INVALID_REQUEST", "connection: close", "content-type: application/json", "date: "]
        {
            assert!(head.contains(header), "{header} in {head}");
        }
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    }
}
