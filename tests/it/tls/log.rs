//! The log of the proxy, and the ids by which it is joined to the wallet's.

use serde_json::{Value, json};

use super::proxy::Kind;
use super::{CHARGE, Deployment, ENGINES_ADDR, TRANSACT};

through_each_proxy! {
    a_requests_id_is_passed_on_or_made
    the_log_of_the_proxy_has_each_call_with_its_id_and_its_grpc_code
}

fn a_requests_id_is_passed_on_or_made(kind: Kind) {
    let Some(deployment) = Deployment::start(kind, "request ids") else { return };
    let client = &deployment.client;
    // An answer of the wallet's, one of the proxy's, and one of the gRPC API's.
    let grpc = format!("/{CHARGE}");
    for (path, args) in [
        ("/api/v1/healthcheck", &[][..]),
        ("/docs/", &["--interface", ENGINES_ADDR]),
        (&grpc, &["--request", "POST", "--header", "Content-Type: application/grpc"]),
    ] {
        let given = client.rest(&[args, &["--header", "X-Request-Id: round-7"]].concat(), path, b"");
        assert_eq!(given.header("x-request-id"), "round-7", "{path}");
        let too_long = format!("X-Request-Id: {}", "x".repeat(129));
        for header in ["X-Request-Id: two words", "X-Request-Id:", &too_long] {
            let made = client.rest(&[args, &["--header", header]].concat(), path, b"").header("x-request-id");
            // A UUID. nginx makes some without hyphens.
            let is_made =
                [32, 36].contains(&made.len()) && made.bytes().all(|byte| b"-0123456789abcdef".contains(&byte));
            assert!(is_made, "{path} {header}: {made}");
        }
    }
    let log = deployment.wallet.expect("it runs").terminate_and_log();
    let logged = log.lines().filter(|line| line.contains(r#""answered""#)).count();
    assert_eq!(logged, 2, "the wallet logs what callers gave an id, and not all that comes through the proxy: {log}");
}

/// A field of a line, wherever this proxy's log has it.
fn field(kind: Kind, line: &Value, name: &str) -> String {
    let names: &[&str] = match (kind, name) {
        (Kind::Caddy, "request_id") => &["request_id", "refused_request_id"],
        (Kind::Caddy, "grpc_status") => &["grpc_status", "grpc_status_trailer", "refused_grpc_status"],
        _ => &[name],
    };
    let texts = names.iter().map(|name| match &line[*name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    });
    texts.collect()
}

fn the_log_of_the_proxy_has_each_call_with_its_id_and_its_grpc_code(kind: Kind) {
    let Some(mut deployment) = Deployment::start(kind, "the log of the proxy") else { return };
    let client = &deployment.client;
    client.create_user();
    let secret = ["--header", "Authorization: Bearer wallet-secret"];
    let unnamed = client.rest(&secret, "/api/v1/healthcheck", b"").header("x-request-id");
    let forbidden = ["--interface", ENGINES_ADDR, "--header", "X-Request-Id: forbidden"];
    client.post_with(&[&forbidden[..], &secret].concat(), "/api/v1/deposit", br#"{"Note":"wallet-secret"}"#);
    // Reflection would be in the log as well.
    let files = ["-import-path", concat!(env!("CARGO_MANIFEST_DIR"), "/proto"), "-proto", "wallet.proto"];
    let call = |id: &str, method: &str, command: &str| {
        let id = format!("x-request-id: {id}");
        client.grpcurl(&[&files[..], &["-rpc-header", &id, "-d", command]].concat(), method, b"")
    };
    // Answered by a message, by a head alone, by a stream, and by the proxy.
    let charge = |amount: i64| json!({ "user_id": 123_123, "event_id": amount, "amount_minor": amount }).to_string();
    call("applied", CHARGE, &charge(1));
    call("refused", CHARGE, &charge(5_000));
    call("streamed", TRANSACT, &format!(r#"{{"charge":{}}}"#, charge(2)));
    deployment.wallet.take().expect("it runs").kill();
    call("unanswered", CHARGE, &charge(3));

    let log = deployment.proxy.stop();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let code = |id: &str| {
        let line = lines.iter().find(|line| field(kind, line, "request_id") == id);
        field(kind, line.unwrap_or_else(|| panic!("{id} in {log}")), "grpc_status")
    };
    assert_eq!(["applied", "refused", "streamed", "unanswered"].map(code), ["0", "9", "0", "14"]);
    assert_eq!([code(&unnamed), code("forbidden")], ["", ""], "REST has no such code");
    assert!(log.contains("/api/v1/deposit") && log.contains(ENGINES_ADDR), "{log}");
    assert!(!log.contains("wallet-secret"), "{log}");
}
