//! Certificates of clients: verified if there is one.

use std::net::SocketAddr;

use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt as _;
use wallet::server::Timeouts;

use super::Secure;
use super::dial::{Dialer, HEALTHCHECK, HTTP1, HTTP2};
use crate::support::authority::Authority;

/// Why a client's certificate is refused: in TLS 1.3 it is told only after its own part of the handshake is done.
async fn refusal(dialer: &Dialer, addr: SocketAddr, protocols: &[&str]) -> String {
    let refused = match dialer.handshake(addr, protocols).await {
        Ok(mut stream) => stream.read(&mut [0]).await.map(drop),
        Err(error) => Err(error),
    };
    refused.expect_err("it is refused").to_string()
}

#[tokio::test]
async fn a_client_certificate_may_be_left_out_but_not_be_wrong() {
    let clients = Authority::new("the clients' CA");
    let secure = Secure::spawn_with(Some(&clients), 100, Timeouts::default()).await;
    let expired = clients.issue_expired("an engine of before");
    let stranger = Authority::new("somebody else's CA").issue("an engine", |_| ());
    // What is there for servers alone.
    let server = clients.issue("a server", |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let engine = clients.issue("an engine", |_| ());
    for version in [&TLS12, &TLS13] {
        for protocols in [HTTP1, HTTP2] {
            for issued in [None, Some(&engine)] {
                let dialer = Dialer::new(&secure.authority, issued, &[version]);
                assert_eq!(dialer.get(secure.app.http, protocols, HEALTHCHECK).await.unwrap().status, 200);
            }
            for (issued, why) in
                [(&expired, "CertificateExpired"), (&stranger, "UnknownCA"), (&server, "UnsupportedCertificate")]
            {
                let dialer = Dialer::new(&secure.authority, Some(issued), &[version]);
                let refused = refusal(&dialer, secure.app.http, protocols).await;
                assert_eq!(refused, format!("received fatal alert: {why}"));
                assert!(dialer.get(secure.app.http, protocols, HEALTHCHECK).await.is_err(), "nothing is answered");
            }
        }
    }
    // So is a gRPC client's.
    for (issued, is_taken) in [(&engine, true), (&stranger, false)] {
        let dialer = Dialer::with_certificate(&secure.authority, issued);
        let taken = dialer.get(secure.app.grpc, HTTP2, "/wallet.v1.WalletService/GetWallet").await;
        assert_eq!(taken.is_ok(), is_taken, "{taken:?}");
    }
}

#[tokio::test]
async fn without_a_client_ca_no_certificate_is_asked_for() {
    let secure = Secure::spawn().await;
    let stranger = Authority::new("somebody else's CA").issue("an engine", |_| ());
    let dialer = Dialer::with_certificate(&secure.authority, &stranger);
    assert_eq!(dialer.get(secure.app.http, HTTP1, HEALTHCHECK).await.unwrap().status, 200);
}
