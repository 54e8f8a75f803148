//! What reaches the wallet: a server in its place tells which headers came.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;

use super::certificates::Authority;
use super::proxy::{Files, Kind, Proxy};
use super::{CHARGE, Client, ENGINES_ADDR};
use crate::support::optional;

through_each_proxy! {
    the_callers_address_is_the_connections_and_not_what_it_says
    no_header_makes_the_proxy_give_up_early
    an_address_cannot_be_hidden_as_a_header_of_the_connection
}

/// What it tells, each in a header with `seen-` before its name.
const TOLD: [&str; 6] =
    ["x-forwarded-for", "x-request-id", "authorization", "grpc-timeout", "traceparent", "x-forwarded-proto"];

/// Answers each request, on either API's protocol, with what it saw.
async fn tell(request: Request) -> HeaderMap {
    let (request, body) = request.into_parts();
    // An answer to what has not come whole may end the call before its client has sent all.
    body.collect().await.expect("a body");
    let mut answer = HeaderMap::new();
    for name in TOLD {
        let values = request.headers.get_all(name).iter().map(|value| value.to_str().expect("text"));
        let values = values.collect::<Vec<_>>().join(" and ");
        let told = format!("seen-{name}").parse::<axum::http::HeaderName>().expect("a name");
        answer.insert(told, HeaderValue::from_str(&values).expect("text"));
    }
    answer.insert("grpc-status", HeaderValue::from_static("0"));
    answer.insert("content-type", HeaderValue::from_static("application/grpc"));
    answer
}

/// Serves until the test binary ends.
fn recorder() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("its address");
    listener.set_nonblocking(true).expect("a socket");
    std::thread::spawn(move || {
        super::runtime().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            axum::serve(listener, Router::new().fallback(tell)).await.expect("it serves");
        });
    });
    addr
}

/// The heads of the answers to one call of each API that sends these headers from an engine's address.
fn heads(kind: Kind, test: &str, headers: &[&str]) -> Option<[String; 3]> {
    let [program, curl, grpcurl] = optional::programs(test, [kind.program(), "curl", "grpcurl"])?;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let authority = Authority::new("servers");
    let files = Files { server: authority.server(), authority, clients: None };
    let addr = recorder();
    let proxy = Proxy::start(kind, &program, dir.path(), &files, &[(addr, addr)]);
    let client = Client::new(&proxy, &dir, curl, grpcurl);
    let headers: Vec<&str> = headers.iter().flat_map(|header| ["--header", header]).collect();
    let headers = [&["--interface", ENGINES_ADDR], &headers[..]].concat();
    let rest = |version| client.post_with(&[&[version], &headers[..]].concat(), "/api/v1/charge", b"{}").head;
    Some([rest("--http1.1"), rest("--http2"), client.grpc_head(&headers, CHARGE, b"").to_ascii_lowercase()])
}

fn the_callers_address_is_the_connections_and_not_what_it_says(kind: Kind) {
    let sent = [
        "X-Forwarded-For: 10.1.1.1",
        "X-Forwarded-For: 127.0.0.1, 10.2.2.2",
        "X-Forwarded-Proto: http",
        "X-Real-IP: 10.3.3.3",
        "X-Envoy-External-Address: 10.4.4.4",
        "X-Request-Id: round-7",
        "Authorization: Bearer secret",
        "Grpc-Timeout: 30S",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ];
    let Some(heads) = heads(kind, "the caller's address through TLS", &sent) else { return };
    for head in heads {
        let has = |line: &str| assert!(head.lines().any(|told| told == line), "{line}: {head}");
        has(&format!("seen-x-forwarded-for: {ENGINES_ADDR}"));
        has("seen-x-forwarded-proto: https");
        has("seen-x-request-id: round-7");
        has("seen-authorization: bearer secret");
        has("seen-grpc-timeout: 30s");
        has("seen-traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    }
}

fn no_header_makes_the_proxy_give_up_early(kind: Kind) {
    let sent = [
        "X-Envoy-Upstream-Rq-Timeout-Ms: 0",
        "X-Envoy-Max-Retries: 9",
        "X-Accel-Redirect: /.refused",
        "X-Request-Id: two words",
    ];
    let Some(heads) = heads(kind, "headers for the proxy through TLS", &sent) else { return };
    for (head, version) in heads.iter().zip(["http/1.1 200", "http/2 200", "http/2 200"]) {
        assert!(head.starts_with(version), "{head}");
        let has = |line: &str| assert!(head.lines().any(|told| told.trim_end() == line), "{line}: {head}");
        has(&format!("seen-x-forwarded-for: {ENGINES_ADDR}"));
        // Neither is it one that the wallet would log, nor does the proxy make one.
        has("seen-x-request-id:");
    }
}

fn an_address_cannot_be_hidden_as_a_header_of_the_connection(kind: Kind) {
    let sent = ["Connection: close, X-Forwarded-For", "X-Forwarded-For: 10.1.1.1"];
    let Some(heads) = heads(kind, "headers of the connection through TLS", &sent) else { return };
    for head in heads {
        // Envoy refuses it.
        let is_refused = kind == Kind::Envoy && head.starts_with("http/1.1 400");
        let told = format!("seen-x-forwarded-for: {ENGINES_ADDR}");
        assert!(is_refused || head.lines().any(|line| line == told), "{head}");
    }
}
