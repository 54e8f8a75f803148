//! Where metrics are asked for: an address of its own, which is off by default, and where nothing else answers.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use wallet::server::Timeouts;

use super::{addr, scrape, spawn_with, spawn_with_timeouts};
use crate::access::Tokens;
use crate::support::app::App;
use crate::support::authority::{self, Authority};
use crate::support::http::HttpClient;
use crate::support::process::{Process, database_url, run, wallet};

#[tokio::test]
async fn nothing_but_metrics_is_there_and_metrics_are_nowhere_else() {
    let app = spawn_with(|_| ()).await;
    let client = HttpClient::new(addr(&app));
    for path in ["/", "/metrics/", "/livez", "/api/v1/healthcheck", "/docs"] {
        let reply = client.get(path).await;
        assert_eq!((reply.status, reply.text()), (404, "There is nothing here but /metrics.\n"), "{path}");
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    }
    assert_eq!(client.post("/metrics", "{}").await.status, 405);
    assert_eq!(client.request("HEAD", "/metrics", &[], "").await.status, 200);
    assert_eq!(app.get("/metrics").await.status, 404);
}

#[tokio::test]
async fn metrics_need_neither_a_token_nor_tls() {
    let (tokens, dir) = (Tokens::new(), tempfile::tempdir().unwrap());
    let authority = Authority::new("the service's CA");
    let app = spawn_with(|settings| {
        settings.access.tokens_file = Some(tokens.path());
        settings.tls = authority::settings(dir.path(), &authority.issue_server(), Some(&authority));
    })
    .await;
    assert_eq!(scrape(&app).await.value("wallet_healthy"), 1);
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_request_is_closed_and_others_are_answered() {
    let timeouts = Timeouts { head_timeout: Duration::from_millis(100), ..Timeouts::default() };
    let app = spawn_with_timeouts(|_| (), timeouts).await;
    let mut slow = TcpStream::connect(addr(&app)).unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").unwrap();
    assert_eq!(scrape(&app).await.value("wallet_healthy"), 1);
    // It would wait for ever if it were not closed. It may also be reset.
    let rest = tokio::task::spawn_blocking(move || {
        let mut rest = Vec::new();
        let _ = slow.read_to_end(&mut rest);
        rest
    });
    assert_eq!(rest.await.unwrap(), b"", "nothing is answered");
}

#[tokio::test]
async fn a_connection_that_is_kept_open_does_not_keep_the_service() {
    let app = spawn_with(|_| ()).await;
    let client = HttpClient::new(addr(&app));
    assert_eq!(client.get("/metrics").await.status, 200);
    app.stop().await;
    assert!(client.try_request("GET", "/metrics", &[], "").await.is_none());
}

#[tokio::test]
async fn metrics_are_off_by_default() {
    assert_eq!(App::spawn().await.metrics, None);
    let dir = tempfile::tempdir().unwrap();
    for (value, is_on) in [(None, false), (Some(""), false), (Some("127.0.0.1:0"), true)] {
        let mut program = wallet();
        program.envs(value.map(|value| ("WALLET_METRICS_ADDR", value)));
        let log = Process::start_with(program, &dir.path().join("wallet.db"), &[]).terminate_and_log();
        let serving = log.lines().find(|line| line.contains(r#""message":"serving""#)).unwrap();
        assert_eq!(serving.contains(r#""metrics":"127.0.0.1:"#), is_on, "{serving}");
    }
}

#[test]
fn an_address_that_is_taken_ends_the_start_with_a_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    // The first is that of another program, the second that of another door.
    for (taken, http) in [(Some(taken), "127.0.0.1:0"), (None, addr.as_str())] {
        let dir = tempfile::tempdir().unwrap();
        let url = database_url(&dir.path().join("wallet.db"));
        let args = ["--http-addr", http, "--grpc-addr", "127.0.0.1:0", "--metrics-addr", &addr, "--database-url", &url];
        let (_, stderr, code) = run(&[&["serve", "--log", "off"], &args[..]].concat());
        assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
        let named = format!("error: cannot listen on {addr} for metrics: Address already in use");
        assert!(stderr.starts_with(&named), "{stderr}");
        drop(taken);
    }
}

#[test]
fn what_is_no_address_is_refused() {
    let (_, stderr, code) = run(&["serve", "--metrics-addr", "9090"]);
    assert_eq!((code, stderr.lines().count()), (Some(64), 1), "{stderr}");
    assert!(stderr.contains("--metrics-addr") && stderr.contains("needs a host and a port"), "{stderr}");
}
