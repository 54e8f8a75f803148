//! How the service starts, or does not, with the files that it is given.

use std::fs;
use std::path::Path;

use crate::support::authority::Authority;
use crate::support::process::{Process, database_url, run, wallet};

/// What the service says to these files, and its exit code. It makes no database.
fn refused(dir: &Path, flags: &[&str]) -> (String, Option<i32>) {
    let database = dir.join("wallet.db");
    let url = database_url(&database);
    let (_, stderr, code) = run(&[&["serve", "--log", "off", "--database-url", &url], flags].concat());
    assert_eq!(stderr.lines().count(), 1, "{flags:?}: {stderr}");
    assert!(!database.exists(), "nothing was made");
    (stderr, code)
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (flags, named) in [
        (&["--tls-cert", "a"][..], "--tls-key <FILE>"),
        (&["--tls-key", "a"], "--tls-cert <FILE>"),
        (&["--tls-client-ca", "a"], "--tls-cert <FILE>"),
        (&["--tls-client-ca", "a", "--tls-cert", "b"], "--tls-key <FILE>"),
    ] {
        let (stderr, code) = refused(dir.path(), flags);
        assert_eq!(code, Some(64), "{stderr}");
        assert!(stderr.contains(named), "{flags:?}: {stderr}");
    }
    let output = wallet().env("WALLET_TLS_CERT", "a").current_dir(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", String::from_utf8_lossy(&output.stderr));
    let output = wallet().env("WALLET_TLS_CERT", "").arg("openapi").output().unwrap();
    assert!(output.status.success(), "empty is not set");
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("the service's CA"));
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    authority.issue_server().write(dir.path(), "good");
    authority.issue_server().write(dir.path(), "other");
    fs::write(at("empty"), "").unwrap();
    fs::write(at("ended"), Authority::ended("a CA of long ago").pem()).unwrap();
    fs::write(at("nonsense"), "nonsense").unwrap();
    fs::write(at("cut"), &fs::read_to_string(at("good.crt")).unwrap()[..200]).unwrap();
    let der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(at("malformed"), der).unwrap();
    for (cert, key, client_ca, named) in [
        ("missing", "good.key", None, "missing; make it readable"),
        ("good.crt", "missing", None, "missing; make it readable"),
        ("good.crt", "good.key", Some("missing"), "missing; make it readable"),
        ("empty", "good.key", None, "empty holds no certificate in PEM"),
        ("nonsense", "good.key", None, "nonsense holds no certificate in PEM"),
        ("good.key", "good.key", None, "good.key holds no certificate in PEM"),
        ("cut", "good.key", None, "cut is not valid PEM"),
        ("malformed", "good.key", None, "malformed is malformed"),
        ("good.crt", "good.crt", None, "good.crt holds no private key in PEM"),
        ("good.crt", "other.key", None, "name the two that belong together"),
        ("good.crt", "good.key", Some("empty"), "empty holds no certificate in PEM"),
        ("good.crt", "good.key", Some("malformed"), "malformed is malformed"),
        ("good.crt", "good.key", Some("good.crt"), "good.crt is not one of an authority"),
        ("good.crt", "good.key", Some("ended"), "a CA in"),
    ] {
        let (cert, key) = (at(cert), at(key));
        let client_ca = client_ca.map(at);
        let mut flags = vec!["--tls-cert", &cert, "--tls-key", &key];
        flags.extend(client_ca.iter().flat_map(|path| ["--tls-client-ca", path]));
        let (stderr, code) = refused(dir.path(), &flags);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(named), "{named}: {stderr}");
    }
}

#[test]
fn an_expired_certificate_is_no_reason_not_to_start() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("the service's CA"));
    let (cert, key) = authority.issue_expired("wallet").write(dir.path(), "server");
    let mut program = wallet();
    program.env("WALLET_TLS_CERT", cert).env("WALLET_TLS_KEY", key);
    let process = Process::start_with(program, &dir.path().join("wallet.db"), &[]);
    let log = process.terminate_and_log();
    assert!(log.contains("the TLS certificate has ended") && log.contains(r#""tls":true"#), "{log}");
}
