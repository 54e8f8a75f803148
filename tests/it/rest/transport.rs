//! Connections, headers and bodies, whatever they carry.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wallet::engine::SystemClock;

use super::{CHARGE, app, assert_ok, balance, exchange, post_head};
use crate::support::app::App;
use crate::support::faulty::Faulty;

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
async fn a_request_has_exactly_one_host() {
    let app = app().await;
    let get = "GET /api/v1/healthcheck HTTP/1.1\r\n";
    for (hosts, message) in [
        ("", "Host is missing from the request"),
        ("host: a\r\nhost: a\r\n", "Host is given more than once"),
        ("host: a\r\nHost: b\r\n", "Host is given more than once"),
        ("host: a b\r\n", "Host is not valid"),
        ("host: user@a\r\n", "Host is not valid"),
    ] {
        let charge = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{CHARGE}", CHARGE.len());
        let post = "POST /api/v1/charge HTTP/1.1\r\n";
        for request in [format!("{get}{hosts}\r\n"), format!("{post}{hosts}{charge}")] {
            let answer = exchange(app.http, &request).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            assert!(answer.ends_with(&format!(r#"{{"success":false,"error":"{message}"}}"#)), "{answer}");
            let head = answer.to_ascii_lowercase();
            for header in ["wallet-reason: invalid_request", "connection: close", "x-request-id: "] {
                assert!(head.contains(header), "{header} in {answer}");
            }
        }
    }
    assert_eq!(balance(&app).await, "10.00");
    for request in [
        "GET /api/v1/healthcheck HTTP/1.0\r\n\r\n",
        "GET /api/v1/healthcheck HTTP/1.0\r\nhost: a\r\n\r\n",
        "GET /api/v1/healthcheck HTTP/1.1\r\nhost: [::1]:5000\r\nconnection: close\r\n\r\n",
        "GET /api/v1/healthcheck HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n",
        "GET http://a:1/api/v1/healthcheck HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n",
    ] {
        let answer = exchange(app.http, request).await;
        assert!(answer.lines().next().unwrap().ends_with(" 200 OK"), "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_request_may_have_a_hundred_headers() {
    let app = App::spawn().await;
    let request = |count: usize| {
        let headers = "x: y\r\n".repeat(count - 2);
        format!("GET /api/v1/healthcheck HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n")
    };
    assert!(exchange(app.http, &request(100)).await.starts_with("HTTP/1.1 200 "));
    assert!(exchange(app.http, &request(101)).await.starts_with("HTTP/1.1 431 "));
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
    let faulty = Faulty::spawn(|_| (), SystemClock).await;
    let answer = exchange(faulty.http, &post_head(CHARGE.len(), &CHARGE[..9])).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.ends_with(r#"{"success":false,"error":"Request took too long to arrive"}"#), "{answer}");
}
