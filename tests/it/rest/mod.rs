//! The REST API from outside: every documented answer to the byte, every refusal, every way to be malformed.

mod batch;
mod browsers;
mod commands;
mod entries;
mod events;
mod floats;
mod freezing;
mod health;
mod ledger;
mod malformed;
mod notes;
mod plays;
mod transport;
mod users;

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::App;
use crate::support::http::HttpReply;

pub const USER: i64 = 123_123;
pub const CHARGE: &str = r#"{"UserId":123123,"EventId":321123,"Amount":1.00}"#;
pub const WIN: &str = r#"{"UserId":123123,"WinningEventId":312123321,"Amount":10.00}"#;

/// A service with the documented user, who has 10.00.
pub async fn app() -> App {
    let app = App::spawn().await;
    app.create_user(USER, "10.00").await;
    app
}

/// Asserts an error: its status, its reason, and its whole body.
#[track_caller]
pub fn assert_error(reply: &HttpReply, status: u16, reason: &str, message: &str) {
    let body = json!({ "success": false, "error": message });
    assert_eq!((reply.status, reply.header("wallet-reason"), reply.json()), (status, reason, body));
    assert_eq!(reply.header("content-type"), "application/json");
    assert!(reply.text().starts_with(r#"{"success":false,"error":""#), "{}", reply.text());
    assert_eq!(reply.header("retry-after"), if status == 503 { "1" } else { "" });
    assert!(!reply.header("x-request-id").is_empty());
}

#[track_caller]
pub fn assert_ok(reply: &HttpReply, body: &str) {
    assert_eq!((reply.status, reply.text()), (200, body));
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("wallet-reason"), "");
}

pub async fn balance(app: &App) -> String {
    let reply = app.get("/api/v1/users/123123").await;
    let (_, balance) = reply.text().split_once(r#""AccountBalance":"#).expect("a wallet");
    balance.split(',').next().expect("a balance").to_owned()
}

/// A charge's head that promises `length` bytes, and what is sent of them.
pub fn post_head(length: usize, body: &str) -> String {
    let head = "POST /api/v1/charge HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {length}\r\n\r\n{body}")
}

/// What a service answers to these bytes before it hangs up.
pub async fn exchange(addr: SocketAddr, bytes: &str) -> String {
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
