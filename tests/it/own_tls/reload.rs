//! Certificates that are replaced while they are in use.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time::sleep;
use wallet::config::TlsArgs;
use wallet::server::Timeouts;

use super::Secure;
use super::dial::{Dialer, HEALTHCHECK, HTTP1, HTTP2};
use crate::support::authority::{self, Authority, Issued};
use crate::support::process::{Process, wallet};

/// Between two looks: each is a connection, of which a machine has a limited number.
const PAUSE: Duration = Duration::from_millis(20);

const RELOADED: &str = "the TLS files were read again";
const BROKEN: &str = "the TLS files cannot be used: those that were read before stay in force";

/// The certificate that a new connection is shown.
async fn shown(dialer: &Dialer, addr: std::net::SocketAddr) -> rustls::pki_types::CertificateDer<'static> {
    let stream = dialer.handshake(addr, HTTP2).await.expect("every handshake succeeds");
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
}

/// Waits until new connections of both APIs are shown this certificate.
async fn until_shown(secure: &Secure, issued: &Issued) {
    for addr in [secure.app.http, secure.app.grpc] {
        while shown(&secure.dialer(), addr).await != issued.der() {
            sleep(PAUSE).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_under_load_and_no_call_fails() {
    let secure = Arc::new(Secure::spawn().await);
    let mut first = secure.dialer().connect(secure.app.http, HTTP2).await.unwrap();
    let created = first.request("POST", "/api/v1/users", r#"{"UserId":1,"AccountBalance":100000.00}"#).await.unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let (is_over, calls, connections) = (AtomicBool::new(false), AtomicI64::new(0), AtomicI64::new(0));
    let charge = |event| format!(r#"{{"UserId":1,"EventId":{event},"Amount":0.01}}"#);
    // Each keeps one connection from beginning to end, and makes another for every tenth call.
    let caller = |protocols: &'static [&'static str]| {
        let (secure, is_over, calls, connections) = (&secure, &is_over, &calls, &connections);
        async move {
            let mut kept = secure.dialer().connect(secure.app.http, protocols).await.unwrap();
            while !is_over.load(Ordering::Relaxed) {
                let event = calls.fetch_add(1, Ordering::Relaxed);
                let mut fresh = None;
                if event % 10 == 0 {
                    connections.fetch_add(1, Ordering::Relaxed);
                    fresh = Some(secure.dialer().connect(secure.app.http, protocols).await.unwrap());
                }
                let connection = fresh.as_mut().unwrap_or(&mut kept);
                let charged = connection.request("POST", "/api/v1/charge", &charge(event)).await.expect("an answer");
                assert_eq!(charged.status, 200, "{}", charged.text());
            }
            assert_eq!(kept.request("GET", HEALTHCHECK, "").await.expect("it was never closed").status, 200);
        }
    };
    let replace = async {
        for _ in 0..3 {
            let next = secure.authority.issue_server();
            next.write(secure.dir.path(), "server");
            until_shown(&secure, &next).await;
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let callers = join_all([HTTP1, HTTP1, HTTP2, HTTP2].map(caller));
    tokio::join!(callers, replace);
    let (calls, connections) = (calls.into_inner(), connections.into_inner());
    println!("3 certificates replaced under {calls} calls and {connections} new connections: none failed");
    let user = first.request("GET", "/api/v1/users/1", "").await.expect("the first connection is still open");
    let left = 10_000_000 - calls;
    let balance = format!(r#""AccountBalance":{}.{:02},"#, left / 100, left % 100);
    assert!(user.text().contains(&balance), "{balance}: {}", user.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_ca_holds_for_new_connections() {
    let (before, after) = (Authority::new("the clients' CA"), Authority::new("its successor"));
    let secure = Secure::spawn_with(Some(&before), 100, Timeouts::default()).await;
    let engine = Dialer::with_certificate(&secure.authority, &before.issue("an engine", |_| ()));
    let renewed = Dialer::with_certificate(&secure.authority, &after.issue("an engine", |_| ()));
    let mut kept = engine.connect(secure.app.http, HTTP1).await.unwrap();
    assert_eq!(kept.request("GET", HEALTHCHECK, "").await.unwrap().status, 200);
    assert!(renewed.get(secure.app.http, HTTP1, HEALTHCHECK).await.is_err());
    fs::write(secure.dir.path().join("clients.crt"), after.pem()).unwrap();
    while renewed.get(secure.app.http, HTTP1, HEALTHCHECK).await.is_err() {
        sleep(PAUSE).await;
    }
    // A session of before is not resumed either: the same configuration of a client would do so.
    assert!(engine.get(secure.app.http, HTTP1, HEALTHCHECK).await.is_err());
    assert_eq!(kept.request("GET", HEALTHCHECK, "").await.unwrap().status, 200, "what is open stays so");
}

/// The program with TLS, and its files.
struct Program {
    process: Process,
    authority: Authority,
    dir: TempDir,
}

impl Program {
    fn start() -> Self {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("the service's CA"));
        let TlsArgs { cert, key, .. } = authority::settings(dir.path(), &authority.issue_server(), None);
        let paths = [cert.unwrap(), key.unwrap()].map(|path| path.to_str().unwrap().to_owned());
        let flags = ["--tls-cert", &paths[0], "--tls-key", &paths[1]];
        let process = Process::start_with(wallet(), &dir.path().join("wallet.db"), &flags);
        Self { process, authority, dir }
    }

    /// The certificate that new connections are shown.
    async fn shown(&self) -> rustls::pki_types::CertificateDer<'static> {
        shown(&Dialer::trusting(&self.authority), self.process.http).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_are_read_again_at_sighup_and_a_broken_one_leaves_the_old_in_force() {
    let program = Program::start();
    let (process, path) = (&program.process, program.dir.path());
    let wait = |text, count| block_in_place(|| process.wait_for_log(text, count));
    let first = program.shown().await;
    process.signal("HUP");
    wait(RELOADED, 1);
    assert_eq!(program.shown().await, first);

    // The key of another certificate; no key; no file. Each is logged once, without being asked for.
    program.authority.issue_server().write(path, "other");
    fs::copy(path.join("other.key"), path.join("server.key")).unwrap();
    wait("is not that of the first certificate in", 1);
    assert_eq!(program.shown().await, first);
    fs::write(path.join("server.key"), "").unwrap();
    wait("holds no private key in PEM", 1);
    assert_eq!(program.shown().await, first);
    fs::remove_file(path.join("server.key")).unwrap();
    wait("or name another file: No such file", 1);
    assert_eq!(program.shown().await, first);
    process.signal("HUP");
    wait(BROKEN, 4);

    // The second half of the other pair.
    fs::copy(path.join("other.crt"), path.join("server.crt")).unwrap();
    fs::copy(path.join("other.key"), path.join("server.key")).unwrap();
    wait(RELOADED, 2);
    assert_ne!(program.shown().await, first);
    let secret = fs::read_to_string(path.join("other.key")).unwrap();
    let log = program.process.terminate_and_log();
    assert!(!secret.lines().any(|line| line.len() > 30 && log.contains(line)), "{log}");
}

#[test]
fn without_anything_to_read_again_sighup_ends_the_service() {
    use std::os::unix::process::ExitStatusExt as _;
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(&dir.path().join("wallet.db"));
    process.signal("HUP");
    assert_eq!(process.wait().signal(), Some(1));
}

#[test]
fn a_certificate_that_ends_soon_or_has_ended_is_warned_of() {
    let program = Program::start();
    let path = program.dir.path();
    let soon = program.authority.issue_ending_in(13);
    soon.write(path, "server");
    program.process.wait_for_log("the TLS certificate ends soon: replace the file", 1);
    program.authority.issue_expired("wallet").write(path, "server");
    program.process.wait_for_log("the TLS certificate has ended: clients refuse it; replace the file", 1);
    program.authority.issue_ending_in(16).write(path, "server");
    program.process.wait_for_log(RELOADED, 3);
    let log = program.process.terminate_and_log();
    assert_eq!(log.matches("ends soon").count(), 1, "{log}");
}
