//! The log of the proxy, and the ids by which it is joined to the wallet's.

use std::fs;

use serde_json::{Value, json};

use super::{CHARGE, Deployment, Proxy, TRANSACT};

#[test]
fn a_requests_id_is_passed_on_or_made() {
    let Some(Deployment { proxy, wallet }) = Deployment::start("request ids through TLS") else { return };
    // An answer of the wallet's, one of the proxy's, and one of the gRPC API's.
    let grpc = format!("/{CHARGE}");
    for (path, args) in [
        ("/api/v1/healthcheck", &[][..]),
        ("/.refused", &[]),
        (&grpc, &["--request", "POST", "--header", "Content-Type: application/grpc"]),
    ] {
        let given = proxy.rest(&[args, &["--header", "X-Request-Id: round-7"]].concat(), path, b"");
        assert_eq!(given.header("x-request-id"), "round-7", "{path}");
        // The wallet's are UUIDs with hyphens, the proxy's have none.
        let length = if path == "/.refused" { 32 } else { 36 };
        for args in [args.to_vec(), [args, &["--header", "X-Request-Id: two words"]].concat()] {
            let made = proxy.rest(&args, path, b"").header("x-request-id");
            assert!(made.len() == length && made.bytes().all(|byte| b"-0123456789abcdef".contains(&byte)), "{made}");
        }
    }
    let log = wallet.expect("it runs").terminate_and_log();
    let logged = log.lines().filter(|line| line.contains(r#""answered""#)).count();
    assert_eq!(logged, 2, "the wallet logs what callers gave an id, and not all that comes through the proxy: {log}");
}

/// The lines of the proxy's log.
fn logged(proxy: &Proxy) -> Vec<Value> {
    let log = fs::read_to_string(proxy.dir.path().join("access.log")).expect("the proxy logs");
    log.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn the_log_of_the_proxy_has_each_call_with_its_id_and_its_grpc_code() {
    let Some(Deployment { proxy, wallet }) = Deployment::start("the log of the proxy") else { return };
    proxy.create_user();
    let unnamed = proxy.rest(&[], "/api/v1/healthcheck", b"").header("x-request-id");
    // Reflection would be in the log as well.
    let files = ["-import-path", concat!(env!("CARGO_MANIFEST_DIR"), "/proto"), "-proto", "wallet.proto"];
    let call = |id: &str, method: &str, command: &str| {
        let id = format!("x-request-id: {id}");
        proxy.grpcurl(&[&files[..], &["-rpc-header", &id, "-d", command]].concat(), method, b"")
    };
    // Answered by a message, by a head alone, by a stream, and by the proxy.
    let charge = |amount: i64| json!({ "user_id": 123_123, "event_id": amount, "amount_minor": amount }).to_string();
    call("applied", CHARGE, &charge(1));
    call("refused", CHARGE, &charge(5_000));
    call("streamed", TRANSACT, &format!(r#"{{"charge":{}}}"#, charge(2)));
    wallet.expect("it runs").kill();
    call("unanswered", CHARGE, &charge(3));
    let lines = logged(&proxy);
    let code = |id: &str| {
        let line = lines.iter().find(|line| line["request_id"] == id);
        line.unwrap_or_else(|| panic!("{id} in {lines:?}"))["grpc_status"].as_str().expect("a text").to_owned()
    };
    assert_eq!(["applied", "refused", "streamed", "unanswered"].map(code), ["0", "9", "0", "14"]);
    assert_eq!(code(&unnamed), "", "REST has no such code");
}
