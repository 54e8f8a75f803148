//! What the proxy itself answers looks as if the wallet had.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use tonic_types::StatusExt as _;
use wallet::api::grpc::proto::ChargeRequest;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::reason::Reason;

use super::certificates::Authority;
use super::proxy::{Files, Kind, Proxy};
use super::{CHARGE, Client, Deployment, TRANSACT, assert_refused, runtime};
use crate::support::optional;

through_each_proxy! {
    what_the_proxy_refuses_looks_as_if_the_wallet_had
    a_wallet_that_is_down_is_unavailable_through_both_apis
    a_call_that_met_a_broken_connection_is_sent_once_more
}

fn what_the_proxy_refuses_looks_as_if_the_wallet_had(kind: Kind) {
    let Some(deployment) = Deployment::start(kind, "refusals of the proxy") else { return };
    let client = &deployment.client;
    let body = |len: usize| format!("{{{}}}", " ".repeat(len - 2)).into_bytes();
    for version in ["--http1.1", "--http2"] {
        let fits = client.post_with(&[version], "/api/v1/charge", &body(64 * 1024));
        fits.assert_refused(400, Reason::InvalidRequest, "UserId is missing from the request");
        let too_large = client.post_unread(&[version], "/api/v1/charge", &body(64 * 1024 + 1));
        assert_refused(&too_large, Reason::PayloadTooLarge);
        if version == "--http1.1" {
            let chunked = [version, "--header", "Transfer-Encoding: chunked"];
            assert_refused(&client.post_with(&chunked, "/api/v1/charge", &body(70_000)), Reason::PayloadTooLarge);
        }
        let no_such_method = client.rest(&[version, "--request", "TRACE"], "/api/v1/charge", b"");
        assert_refused(&no_such_method, Reason::MethodNotAllowed);
        assert_refused(&client.rest(&[version], "/.refused", b""), Reason::NotFound);
    }
    let too_long = client.rest(&["--http1.1"], &format!("/{}", "x".repeat(20_000)), b"");
    let message = Reason::InvalidRequest.message();
    match kind {
        Kind::Nginx => too_long.assert_refused(414, Reason::InvalidRequest, message),
        Kind::Envoy => too_long.assert_refused(431, Reason::InvalidRequest, message),
        // Its HTTP library answers, before Caddy knows of the request.
        Kind::Caddy => assert_eq!(too_long.status(), "431"),
    }
}

fn a_wallet_that_is_down_is_unavailable_through_both_apis(kind: Kind) {
    let Some(mut deployment) = Deployment::start(kind, "a wallet that is down") else { return };
    deployment.client.create_user();
    deployment.wallet.take().expect("it runs").kill();
    let client = &deployment.client;
    for version in ["--http1.1", "--http2"] {
        assert_refused(&client.rest(&[version], "/api/v1/healthcheck", b""), Reason::Unavailable);
        let charge = br#"{"UserId":123123,"EventId":321123,"Amount":1.00}"#;
        assert_refused(&client.post_with(&[version], "/api/v1/charge", charge), Reason::Unavailable);
    }
    // Reflection would be the first to fail.
    let files = ["-import-path", concat!(env!("CARGO_MANIFEST_DIR"), "/proto"), "-proto", "wallet.proto"];
    let charge = r#"{"user_id":123123,"event_id":321123,"amount_minor":100}"#;
    for (method, command) in [(CHARGE, charge.to_owned()), (TRANSACT, format!(r#"{{"charge":{charge}}}"#))] {
        let refused = client.grpcurl(&[&files[..], &["-d", &command]].concat(), method, b"");
        let parts = [Reason::Unavailable.message(), "Code: Unavailable"];
        assert!(parts.iter().all(|part| refused.err.contains(part)), "{method}: {}", refused.err);
    }
    let runtime = runtime();
    let mut grpc = WalletServiceClient::new(deployment.channel(&runtime, "127.0.0.1"));
    let status = runtime.block_on(grpc.charge(ChargeRequest::default())).expect_err("it is down");
    assert_eq!(status.code(), Reason::Unavailable.grpc());
    let info = status.get_details_error_info().expect("a reason");
    assert_eq!((&*info.reason, &*info.domain), (Reason::Unavailable.name(), "wallet.v1"));
    let retry = status.get_details_retry_info().expect("when to try again");
    assert_eq!(retry.retry_delay, Reason::Unavailable.retry_after());
}

/// Reads one request, with a body whose length it says.
fn read_request(connection: &mut BufReader<TcpStream>) -> Option<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = said.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
    }
    connection.read_exact(&mut vec![0; length]).ok()
}

fn a_call_that_met_a_broken_connection_is_sent_once_more(kind: Kind) {
    let test = "a broken connection to the wallet";
    let Some([program, curl, grpcurl]) = optional::programs(test, [kind.program(), "curl", "grpcurl"]) else { return };
    let backend = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = backend.local_addr().expect("its address");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let authority = Authority::new("servers");
    let files = Files { server: authority.server(), authority, clients: None };
    let proxy = Proxy::start(kind, &program, dir.path(), &files, &[(addr, addr)]);
    let client = Client::new(&proxy, &dir, curl, grpcurl);
    std::thread::spawn(move || {
        let mut count = 0;
        for connection in backend.incoming() {
            let mut connection = BufReader::new(connection.expect("a connection"));
            while read_request(&mut connection).is_some() {
                count += 1;
                if count == 2 {
                    break;
                }
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{count}");
                connection.get_mut().write_all(answer.as_bytes()).expect("it is read");
            }
        }
    });
    let charge = client.url("/api/v1/charge");
    let both = client.curl(&["--http1.1", "--data-binary", "@-", &charge, &charge], b"{}");
    // The second request was the third that came.
    assert_eq!((both.code, both.out.matches("200 OK").count()), (Some(0), 2), "{} {}", both.out, both.err);
    assert!(both.out.contains("\r\n\r\n1HTTP") && both.out.ends_with("\r\n\r\n3"), "{}", both.out);
}
