//! The program's own commands, which ask a service with TLS.

use std::fs;
use std::path::Path;

use crate::support::authority::{Authority, Issued};
use crate::support::process::{Process, database_url, run, wallet};

fn start(dir: &Path, issued: &Issued) -> Process {
    let (cert, key) = issued.write(dir, "server");
    let mut program = wallet();
    program.env("WALLET_TLS_CERT", cert).env("WALLET_TLS_KEY", key);
    Process::start_with(program, &dir.join("wallet.db"), &[])
}

#[test]
fn the_health_check_knows_the_service_of_its_database_by_its_certificate() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("the service's CA"));
    let url = database_url(&dir.path().join("wallet.db"));
    // Nobody else would trust it: it has ended, and is not of 127.0.0.1.
    let process = start(
        dir.path(),
        &authority.issue("expired", |params| {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }),
    );
    let check = || run(&["healthcheck", "--database-url", &url]);
    let (stdout, stderr, code) = check();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("up and running"), "{stdout}");

    // A broken file does not matter, as it is not in force; a new certificate is known at once.
    let key = dir.path().join("server.key");
    fs::write(&key, "").unwrap();
    process.wait_for_log("holds no private key", 1);
    assert_eq!(check().2, Some(0));
    authority.issue_server().write(dir.path(), "server");
    process.wait_for_log("the TLS files were read again", 1);
    // The file of the addresses is written after the log's line.
    assert!((0..50).any(|_| check().2 == Some(0)), "{}", check().1);
}

#[test]
fn the_health_check_of_an_address_needs_a_ca() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("the service's CA"));
    let process = start(dir.path(), &authority.issue_server());
    let at = |name: &str, pem: &str| {
        let path = dir.path().join(name);
        fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ca = at("ca.crt", &authority.pem());
    let stranger = at("stranger.crt", &Authority::new("somebody else's CA").pem());
    let empty = at("empty.crt", "");
    let addr = format!("localhost:{}", process.http.port());
    for (flags, code, said) in [
        (&["--tls-ca", &ca][..], 0, ""),
        (&["--tls-ca", &stranger], 1, "UnknownIssuer"),
        (&["--tls-ca", &empty], 1, "empty.crt holds no certificate"),
        (&[], 1, "Connection must use TLS"),
    ] {
        let (_, stderr, exit) = run(&[&["healthcheck", "--http-addr", &addr], flags].concat());
        assert_eq!(exit, Some(code), "{flags:?}: {stderr}");
        assert!(stderr.contains(said) && stderr.lines().count() <= 1, "{flags:?}: {stderr}");
    }
}
