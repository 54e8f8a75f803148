//! Who trusts whom: versions of TLS, the server's certificate and those of clients.

use std::path::Path;
use std::process::Command;

use wallet::api::reason::Reason;

use super::certificates::{Authority, Identity};
use super::proxy::{Files, Kind};
use super::{CHARGE, Deployment};
use crate::support::optional;

through_each_proxy! {
    only_tls_1_2_and_later_is_spoken
    clients_refuse_a_server_that_they_do_not_trust
    a_renewed_certificate_is_taken_without_a_restart
    only_clients_with_a_certificate_of_the_authority_are_taken
}

/// What `curl` exits with when the server's certificate is not valid.
const CURL_NOT_TRUSTED: Option<i32> = Some(60);

fn only_tls_1_2_and_later_is_spoken(kind: Kind) {
    let Some([openssl]) = optional::programs("the versions of TLS", ["openssl"]) else { return };
    let Some(deployment) = Deployment::start(kind, "the versions of TLS") else { return };
    let client = &deployment.client;
    let plain = format!("http://{}/api/v1/healthcheck", client.addr);
    let refused = client.curl(&[&plain], b"");
    match kind {
        Kind::Nginx => {
            let refused = super::Answer::of(&refused);
            refused.assert_refused(400, Reason::InvalidRequest, "Connection must use TLS");
        }
        // Hangs up.
        Kind::Envoy => assert_ne!(refused.code, Some(0), "{}", refused.out),
        // Its HTTP library answers.
        Kind::Caddy => assert!(refused.out.starts_with("HTTP/1.0 400 "), "{}", refused.out),
    }
    // How a gRPC client without TLS begins.
    let unanswered = client.curl(&["--http2-prior-knowledge", &plain], b"");
    assert_ne!(unanswered.code, Some(0), "{}", unanswered.out);

    for version in ["1.2", "1.3"] {
        let tls = format!("--tlsv{version}");
        let answer = client.rest(&[&tls, "--tls-max", version], "/api/v1/healthcheck", b"");
        assert_eq!(answer.status(), "200", "TLS {version}");
    }
    // At the lowest level of security, so that it is the proxy that refuses and not this client.
    for flag in ["-tls1", "-tls1_1"] {
        let mut command = Command::new(&openssl);
        command.args(["s_client", "-connect", &client.addr, flag, "-cipher", "DEFAULT@SECLEVEL=0"]);
        let printed = client.run(&mut command, b"");
        assert!(printed.err.contains("alert protocol version"), "{flag}: {}", printed.err);
    }
    // Without forward secrecy, or without authenticated encryption.
    for cipher in ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"] {
        let mut command = Command::new(&openssl);
        command.args(["s_client", "-connect", &client.addr, "-tls1_2", "-cipher", cipher]);
        let printed = client.run(&mut command, b"");
        assert!(printed.err.contains("alert handshake failure"), "{cipher}: {}", printed.err);
    }
}

fn clients_refuse_a_server_that_they_do_not_trust(kind: Kind) {
    let authority = Authority::new("servers");
    let files = Files { server: authority.expired_server(), authority, clients: None };
    let Some(expired) = Deployment::start_with(kind, "an expired certificate", &files) else { return };
    let refused = expired.client.curl(&[&expired.client.url("/api/v1/healthcheck")], b"");
    assert_eq!(refused.code, CURL_NOT_TRUSTED, "{}", refused.err);
    assert!(refused.err.contains("expired"), "{}", refused.err);
    let refused = expired.client.grpcurl(&["-connect-timeout", "5"], "list", b"");
    assert!(refused.code != Some(0) && refused.err.contains("expired"), "{} {}", refused.out, refused.err);
    drop(expired);

    let server = Authority::new("strangers").server();
    let files = Files { server, authority: Authority::new("servers"), clients: None };
    let Some(stranger) = Deployment::start_with(kind, "a stranger's certificate", &files) else { return };
    let refused = stranger.client.curl(&[&stranger.client.url("/api/v1/healthcheck")], b"");
    assert_eq!(refused.code, CURL_NOT_TRUSTED, "{}", refused.err);
    let refused = stranger.client.grpcurl(&["-connect-timeout", "5"], "list", b"");
    assert!(refused.code != Some(0) && refused.err.contains("unknown authority"), "{}", refused.err);
}

fn a_renewed_certificate_is_taken_without_a_restart(kind: Kind) {
    let authority = Authority::new("servers");
    let renewed = authority.server();
    let files = Files { server: authority.expired_server(), authority, clients: None };
    let Some(deployment) = Deployment::start_with(kind, "a renewed certificate", &files) else { return };
    let call = || deployment.client.curl(&[&deployment.client.url("/api/v1/healthcheck")], b"");
    assert_eq!(call().code, CURL_NOT_TRUSTED);
    deployment.proxy.renew(&renewed);
    let mut called = call();
    // So many at the most, that a proxy that never takes it fails the test.
    for _ in 0..2_000 {
        if called.code == Some(0) {
            break;
        }
        assert_eq!(called.code, CURL_NOT_TRUSTED, "{}", called.err);
        called = call();
    }
    assert_eq!(called.code, Some(0), "{}", called.err);
}

/// Writes a client's certificate and key; their paths.
fn write(dir: &Path, name: &str, identity: &Identity) -> [String; 2] {
    let paths = ["crt", "key"].map(|extension| dir.join(format!("{name}.{extension}")).display().to_string());
    std::fs::write(&paths[0], &identity.certificate).expect("a file");
    std::fs::write(&paths[1], &identity.key).expect("a file");
    paths
}

fn only_clients_with_a_certificate_of_the_authority_are_taken(kind: Kind) {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let identities = [
        ("engine", clients.client()),
        ("expired", clients.expired_client()),
        // A client of the authority that signs servers.
        ("stranger", authority.client()),
    ];
    let files = Files { server: authority.server(), authority, clients: Some(clients) };
    let Some(deployment) = Deployment::start_with(kind, "client certificates", &files) else { return };
    let client = &deployment.client;
    let healthcheck = client.url("/api/v1/healthcheck");
    let refused = |args: &[&str]| {
        for version in ["--http1.1", "--http2"] {
            let printed = client.curl(&[&[version, healthcheck.as_str()], args].concat(), b"");
            if kind == Kind::Nginx {
                // It answers after the handshake.
                let answer = super::Answer::of(&printed);
                answer.assert_refused(401, Reason::Unauthenticated, Reason::Unauthenticated.message());
            } else {
                assert_ne!(printed.code, Some(0), "{args:?}: {}", printed.out);
                assert_eq!(printed.out, "", "{args:?}");
            }
        }
    };
    refused(&[]);
    for (name, identity) in &identities {
        let [certificate, key] = write(deployment.dir.path(), name, identity);
        if *name != "engine" {
            refused(&["--cert", &certificate, "--key", &key]);
            continue;
        }
        let answer = client.rest(&["--cert", &certificate, "--key", &key], "/api/v1/healthcheck", b"");
        assert_eq!(answer.status(), "200", "{}", answer.body);
        let listed = client.grpcurl(&["-cert", &certificate, "-key", &key], "list", b"");
        assert!(listed.out.contains("wallet.v1.WalletService"), "{} {}", listed.out, listed.err);
    }
    let called = client.grpcurl(&["-connect-timeout", "5", "-d", "{}"], CHARGE, b"");
    assert_ne!(called.code, Some(0), "{}", called.out);
}
