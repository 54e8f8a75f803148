//! What both APIs speak.

use std::io::ErrorKind;

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{ChargeRequest, TransactRequest, WatchEntriesRequest, transact_request};

use super::Secure;
use super::dial::{Dialer, HEALTHCHECK, HTTP1, HTTP2};
use crate::support::authority::Authority;
use crate::support::http::HttpClient;

#[tokio::test]
async fn rest_is_served_over_both_versions_of_http() {
    let secure = Secure::spawn().await;
    let mut first = secure.dialer().connect(secure.app.http, HTTP1).await.unwrap();
    let created = first.request("POST", "/api/v1/users", r#"{"UserId":1,"AccountBalance":10.00}"#).await.unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let charge = r#"{"UserId":1,"EventId":7,"Amount":1.00}"#;
    for (protocols, replayed) in [(HTTP1, ""), (HTTP2, "true"), (&["h2", "http/1.1"], "true"), (&[], "true")] {
        let mut connection = secure.dialer().connect(secure.app.http, protocols).await.unwrap();
        let charged = connection.request("POST", "/api/v1/charge", charge).await.unwrap();
        assert_eq!((charged.status, charged.header("idempotent-replayed")), (200, replayed), "{protocols:?}");
        assert_eq!(charged.text(), r#"{"success":true,"UserId":1,"AccountBalance":9.00}"#);
        // Refusals, the framework's own included, are the same in both.
        let unknown = connection.request("GET", "/nowhere", "").await.unwrap();
        assert_eq!((unknown.status, unknown.header("wallet-reason")), (404, "NOT_FOUND"));
        let large = format!(r#"{{"UserId":"{}"}}"#, "1".repeat(65 * 1024));
        let large = connection.request("POST", "/api/v1/charge", &large).await.unwrap();
        assert_eq!(large.status, 413, "{}", large.text());
    }
}

#[tokio::test]
async fn grpc_is_served_with_streams_and_health() {
    let secure = Secure::spawn().await;
    let mut rest = secure.dialer().connect(secure.app.http, HTTP2).await.unwrap();
    rest.request("POST", "/api/v1/users", r#"{"UserId":1,"AccountBalance":10.00}"#).await.unwrap();
    let channel = secure.dialer().channel(secure.app.grpc).await;
    let mut client = WalletServiceClient::new(channel.clone());
    let charge =
        |event| ChargeRequest { user_id: Some(1), event_id: Some(event), amount_minor: Some(1), round_id: None };
    assert_eq!(client.charge(charge(1)).await.unwrap().into_inner().balance_minor, 999);
    let command = |event| TransactRequest { command: Some(transact_request::Command::Charge(charge(event))) };
    let commands: Vec<_> = (2..502).map(command).collect();
    let mut answers = client.transact(tokio_stream::iter(commands)).await.unwrap().into_inner();
    let mut count = 0;
    while answers.message().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 500);
    let mut watched = client.watch_entries(WatchEntriesRequest::default()).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().entry.unwrap().entry_id, 1);
    let health = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status, 1);
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken_with_the_protocols_of_each_api() {
    let secure = Secure::spawn().await;
    let (http, grpc) = (secure.app.http, secure.app.grpc);
    for version in [&TLS12, &TLS13] {
        let dialer = Dialer::new(&secure.authority, None, &[version]);
        for (addr, offered, chosen) in [
            (http, &["h2", "http/1.1"][..], Some("h2")),
            (http, &["http/1.1", "h2"], Some("h2")),
            (http, &["http/1.1"], Some("http/1.1")),
            (http, &[], None),
            (grpc, &["http/1.1", "h2"], Some("h2")),
            (grpc, &[], None),
        ] {
            let stream = dialer.handshake(addr, offered).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.alpn_protocol(), chosen.map(str::as_bytes), "{offered:?}");
            assert_eq!(session.protocol_version(), Some(version.version));
        }
        for (addr, offered) in [(http, &["http/1.0"]), (grpc, &["http/1.1"])] {
            let refused = dialer.handshake(addr, offered).await.expect_err("no protocol in common");
            assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
        }
    }
    let stranger = Dialer::trusting(&Authority::new("somebody else's CA"));
    let refused = stranger.handshake(http, HTTP1).await.expect_err("an unknown CA");
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
}

#[tokio::test]
async fn without_tls_nothing_is_served() {
    let secure = Secure::spawn().await;
    let plain = HttpClient::new(secure.app.http);
    for (method, path) in [("GET", HEALTHCHECK), ("GET", "/nowhere"), ("POST", "/api/v1/users")] {
        let refused = plain.request(method, path, &[], "{}").await;
        assert_eq!((refused.status, refused.header("wallet-reason")), (400, "INVALID_REQUEST"), "{method} {path}");
        assert_eq!(refused.text(), r#"{"success":false,"error":"Connection must use TLS"}"#);
        assert_eq!(refused.header("connection"), "close");
        assert!(!refused.header("x-request-id").is_empty());
    }
    for (addr, sent) in [
        (secure.app.http, &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]),
        (secure.app.http, b"\x80\x2e\x01\x03\x01nonsense\r\n\r\n"),
        (secure.app.grpc, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (secure.app.grpc, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer).await {
            // What it had not read yet makes the system reset the connection.
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert!(addr == secure.app.http || answer.is_empty(), "{answer}");
    }
}
