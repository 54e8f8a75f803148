//! The REST door from outside: every documented answer to the byte, every refusal, every way to be malformed.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wallet::api::rest::{RestOptions, router};
use wallet::config::Settings;
use wallet::engine::{Engine, SystemClock};
use wallet::store::sqlite;

use crate::app::{App, Reply};

const USER: i64 = 123_123;
const CHARGE: &str = r#"{"UserId":123123,"EventId":321123,"Amount":1.00}"#;
const WIN: &str = r#"{"UserId":123123,"WinningEventId":312123321,"Amount":10.00}"#;

/// A service with the documented user, who has 10.00.
async fn app() -> App {
    let app = App::spawn().await;
    app.create_user(USER, "10.00").await;
    app
}

/// Asserts an error: its status, its reason, and its whole body.
#[track_caller]
fn assert_error(reply: &Reply, status: u16, reason: &str, message: &str) {
    let body = json!({ "success": false, "error": message });
    assert_eq!((reply.status, reply.header("wallet-reason"), reply.json()), (status, reason, body));
    assert_eq!(reply.header("content-type"), "application/json");
    assert!(reply.text().starts_with(r#"{"success":false,"error":""#), "{}", reply.text());
    assert_eq!(reply.header("retry-after"), if status == 503 { "1" } else { "" });
    assert!(!reply.header("x-request-id").is_empty());
}

#[track_caller]
fn assert_ok(reply: &Reply, body: &str) {
    assert_eq!((reply.status, reply.text()), (200, body));
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("wallet-reason"), "");
}

async fn balance(app: &App) -> String {
    let reply = app.get("/api/v1/users/123123").await;
    let (_, balance) = reply.text().split_once(r#""AccountBalance":"#).expect("a wallet");
    balance.trim_end_matches('}').to_owned()
}

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
    let conflict = "Request has a conflict with existing data.";
    let other = app.post("/api/v1/charge", r#"{"UserId":123123,"EventId":321123,"Amount":2}"#).await;
    assert_error(&other, 409, "EVENT_CONFLICT", conflict);
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
async fn a_user_is_created_once() {
    let app = App::spawn().await;
    let body = r#"{"UserId":7,"AccountBalance":10}"#;
    let first = app.post("/api/v1/users", body).await;
    let wallet_id = first.json()["WalletId"].as_str().expect("a wallet id").to_owned();
    assert_eq!(uuid::Uuid::parse_str(&wallet_id).unwrap().get_version_num(), 7);
    let expected = format!(r#"{{"success":true,"UserId":7,"WalletId":"{wallet_id}","AccountBalance":10.00}}"#);
    assert_eq!((first.status, first.text()), (201, expected.as_str()));

    app.post("/api/v1/charge", r#"{"UserId":7,"EventId":1,"Amount":2.50}"#).await;
    let again = app.post("/api/v1/users", body).await;
    assert_ok(&again, &expected);
    assert_eq!((again.header("idempotent-replayed"), again.header("wallet-current-balance")), ("true", "7.50"));
    let other = app.post("/api/v1/users", r#"{"UserId":7}"#).await;
    assert_error(&other, 409, "EVENT_CONFLICT", "Request has a conflict with existing data.");
    let negative = app.post("/api/v1/users", r#"{"UserId":8,"AccountBalance":-0.01}"#).await;
    assert_error(&negative, 400, "NEGATIVE_AMOUNT", "Opening balance is negative");
    let unknown = app.get("/api/v1/users/8").await;
    assert_error(&unknown, 404, "UNKNOWN_USER", "Unknown user");
    assert_eq!(app.post("/api/v1/users", r#"{"UserId":0}"#).await.status, 201);
    assert_eq!(app.get("/api/v1/users/7").await.text(), expected.replace("10.00", "7.50"));
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
async fn an_unknown_user_is_400_for_commands_and_404_for_reads() {
    let app = App::spawn().await;
    for path in ["charge", "win", "rollback", "deposit", "withdraw"] {
        let body = r#"{"UserId":1,"EventId":1,"WinningEventId":1,"TransactionId":1,"Amount":1}"#;
        let reply = app.post(&format!("/api/v1/{path}"), body).await;
        assert_error(&reply, 400, "UNKNOWN_USER", "Unknown user");
    }
    for path in ["/api/v1/users/1", "/api/v1/users/1?at=2026-01-02T03:04:05Z", "/api/v1/users/1/entries"] {
        assert_error(&app.get(path).await, 404, "UNKNOWN_USER", "Unknown user");
    }
}

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
    for path in ["/api/v1/users/x", "/api/v1/users/-1", "/api/v1/users/%ff/entries", "/api/v1/users/1%2F2"] {
        assert_error(&app.get(path).await, 400, "INVALID_REQUEST", &format!("UserId {range}"));
    }
}

#[tokio::test]
async fn a_malformed_body_is_refused_in_a_sentence_that_names_what_is_wrong() {
    let app = app().await;
    let missing = |name: &str| format!("{name} is missing from the request");
    for (path, body, message) in [
        ("charge", "{}", missing("UserId")),
        ("charge", r#"{"UserId":1,"Amount":"x"}"#, missing("EventId")),
        ("charge", r#"{"UserId":1,"EventId":1,"amount":1}"#, missing("Amount")),
        ("win", r#"{"UserId":1,"EventId":1,"Amount":-1}"#, missing("WinningEventId")),
        ("deposit", r#"{"UserId":1,"EventId":1,"Amount":1}"#, missing("TransactionId")),
        ("rollback", r#"{"UserId":1}"#, missing("EventId")),
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
    assert_eq!(app.post("/api/v1/charge", &deep).await.status, 200, "what is not asked for is passed over");
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
        r#"{"success":true,"UserId":123123,"Entries":[{"EntryId":5,"Sequence":5,"Kind":"charge","EventId":4,"#,
        r#""Amount":4.00,"BalanceAfter":0.00,"CreatedAt":""#
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
    for all in ["", "?limit=1000", "?limit=1001", "?limit=99999999999999999999999", "?other=1", "?before=99"] {
        let page = app.get(&format!("/api/v1/users/123123/entries{all}")).await.json();
        assert_eq!(ids(&page), [5, 4, 3, 2, 1], "{all}");
    }
    let none = app.get("/api/v1/users/123123/entries?before=0").await;
    assert_ok(&none, r#"{"success":true,"UserId":123123,"Entries":[],"NextBefore":null}"#);
    let limit = "limit must be a whole number from 1 to 1000";
    let before = "before must be a whole number from 0 to 9223372036854775807";
    for (query, message) in [
        ("limit=0", limit),
        ("limit=-1", limit),
        ("limit=x", limit),
        ("limit=", limit),
        ("limit=1.5", limit),
        ("before=-1", before),
        ("before=x", before),
        ("limit=1&limit=2", "limit is given more than once"),
    ] {
        let reply = app.get(&format!("/api/v1/users/123123/entries?{query}")).await;
        assert_error(&reply, 400, "INVALID_REQUEST", message);
    }
}

#[tokio::test]
async fn a_wallet_is_seen_as_it_stood_at_a_moment() {
    let app = app().await;
    app.post("/api/v1/charge", CHARGE).await;
    let entries = app.get("/api/v1/users/123123/entries").await.json();
    let at = |moment: &str| format!("/api/v1/users/123123?at={moment}");
    let time_of = |index: usize| entries["Entries"][index]["CreatedAt"].as_str().unwrap().to_owned();
    let (opened, charged) = (time_of(1), time_of(0));
    assert!(app.get(&at(&charged)).await.text().ends_with(r#""AccountBalance":9.00}"#));
    // The two may share a microsecond's batch on no machine: each waited for its own answer.
    assert!(opened < charged);
    assert!(app.get(&at(&opened)).await.text().ends_with(r#""AccountBalance":10.00}"#));
    let elsewhere = opened.replace('Z', "%2B00:00");
    assert!(app.get(&at(&elsewhere)).await.text().ends_with(r#""AccountBalance":10.00}"#));
    assert!(app.get(&at("9999-01-01T00:00:00Z")).await.text().ends_with(r#""AccountBalance":9.00}"#));
    assert_error(&app.get(&at("1969-12-31T23:59:59Z")).await, 404, "UNKNOWN_USER", "Unknown user");
    for moment in ["", "now", "1767323045", "2026-01-02", "2026-02-30T00:00:00Z"] {
        let message = "at must be a time as RFC 3339 has it, such as 2026-01-02T03:04:05Z";
        assert_error(&app.get(&at(moment)).await, 400, "INVALID_REQUEST", message);
    }
}

#[tokio::test]
async fn a_checkpoint_is_the_head_of_the_chain() {
    let app = App::spawn().await;
    let zeros = "0".repeat(64);
    let empty = app.get("/api/v1/ledger/checkpoint").await;
    assert_ok(&empty, &format!(r#"{{"success":true,"CommitId":0,"EntryId":0,"Hash":"{zeros}"}}"#));
    app.create_user(USER, "10").await;
    let head = app.get("/api/v1/ledger/checkpoint").await.json();
    assert_eq!((&head["CommitId"], &head["EntryId"]), (&json!(1), &json!(1)));
    let hash = head["Hash"].as_str().unwrap();
    assert!(hash.len() == 64 && hash != zeros && hash.bytes().all(|byte| b"0123456789abcdef".contains(&byte)));
}

#[tokio::test]
async fn a_requests_id_is_echoed_or_made() {
    let app = App::spawn().await;
    for path in ["/api/v1/healthcheck", "/nowhere", "/api/v1/charge", "/docs/"] {
        let reply = app.request("GET", path, &[("x-request-id", "game-7/42")], "").await;
        assert_eq!(reply.header("x-request-id"), "game-7/42", "{path}");
        let (one, other) = (app.get(path).await, app.get(path).await);
        assert_eq!(one.header("x-request-id").len(), 36);
        assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    }
    for bad in ["two words", "", &"x".repeat(129)] {
        let reply = app.request("GET", "/api/v1/healthcheck", &[("x-request-id", bad)], "").await;
        assert_eq!(reply.header("x-request-id").len(), 36, "{bad:?}");
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
    assert_error(&app.get("/api/v1/users/1").await, 404, "UNKNOWN_USER", "Unknown user");
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_stop_its_command() {
    let app = app().await;
    let mut stream = TcpStream::connect(app.http).await.unwrap();
    stream.write_all(post_head(CHARGE.len(), CHARGE).as_bytes()).await.unwrap();
    drop(stream);
    // Whether the command was read in time is the network's affair; that it counts once is not.
    assert_ok(&app.post("/api/v1/charge", CHARGE).await, r#"{"success":true,"UserId":123123,"AccountBalance":9.00}"#);
    assert_eq!(balance(&app).await, "9.00");
}

#[tokio::test]
async fn an_answer_is_not_held_back_by_what_comes_after_its_request() {
    let app = app().await;
    for rest in ["\r\n", "POST /api", "GET /api/v1/healthcheck HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(app.http).await.unwrap();
        let request = post_head(CHARGE.len(), CHARGE) + rest;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200", "{rest:?}");
    }
}

#[tokio::test]
async fn a_caller_that_has_said_all_still_gets_its_answer() {
    let app = app().await;
    let mut stream = TcpStream::connect(app.http).await.unwrap();
    stream.write_all(post_head(CHARGE.len(), CHARGE).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_connection_past_the_limit_waits_for_its_turn() {
    let app = App::spawn_with(|settings| settings.connections_max = 1).await;
    let request = b"GET /api/v1/healthcheck HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut first = TcpStream::connect(app.http).await.unwrap();
    first.write_all(request).await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    let mut second = TcpStream::connect(app.http).await.unwrap();
    second.write_all(request).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(200), second.read_exact(&mut answer));
    assert!(waits.await.is_err(), "the second connection waits");
    drop(first);
    second.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn a_body_that_is_encoded_is_not_supported() {
    let app = app().await;
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let reply = app.request("POST", "/api/v1/charge", &headers, CHARGE).await;
    assert_error(&reply, 415, "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding is not supported");
}

#[tokio::test]
async fn what_says_that_it_is_too_large_is_refused_unread() {
    let app = App::spawn().await;
    let answer = exchange(app.http, &post_head(1_000_000_000, "{")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("wallet-reason: payload_too_large"), "{answer}");
}

#[tokio::test]
async fn a_body_without_a_length_is_read_to_its_limit() {
    let app = App::spawn().await;
    let head = "POST /api/v1/charge HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let chunk = format!("11000\r\n{}\r\n", " ".repeat(0x11000));
    let answer = exchange(app.http, &format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::defaults();
    let store = sqlite::open(&dir.path().join("wallet.db"), settings.currency).await.unwrap();
    let (engine, _) = Engine::start(store, settings.currency, SystemClock, settings.engine());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let options = RestOptions { body_timeout: Duration::from_millis(20), ..RestOptions::default() };
    tokio::spawn(axum::serve(listener, router(engine, options)).into_future());
    let answer = exchange(addr, &post_head(CHARGE.len(), &CHARGE[..9])).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.ends_with(r#"{"success":false,"error":"Request took too long to arrive"}"#), "{answer}");
}

/// A charge's head that promises `length` bytes, and what is sent of them.
fn post_head(length: usize, body: &str) -> String {
    let head = "POST /api/v1/charge HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {length}\r\n\r\n{body}")
}

/// What a service answers to these bytes before it hangs up.
async fn exchange(addr: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // A service that closes with bytes unread resets the connection: what came before counts.
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(answer).unwrap()
}
