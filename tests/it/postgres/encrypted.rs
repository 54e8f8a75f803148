//! Connections to PostgreSQL over TLS, with the parameters in the URL that PostgreSQL's own programs know.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::CertificateParams;
use tempfile::tempdir;

use crate::support::authority::Authority;
use crate::support::client::Protocol;
use crate::support::command::PlainCommand;
use crate::support::postgres::{Database, Installation, Server};
use crate::support::process::{Process, run, wallet};

fn localhost(params: &mut CertificateParams) {
    let names = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.subject_alt_names = names.subject_alt_names;
}

/// A server that shows a certificate of `authority` for `localhost`, and answers the user `wallet` over TLS alone.
fn start(test: &str, authority: &Authority) -> Option<(Server, Database)> {
    let (installation, server) = (Installation::find(test)?, Server::start_own(test, &[])?);
    let database = server.database(test);
    let write = |name: &str, text: &str, mode: u32| {
        let path = server.data().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        installation.own(&path);
    };
    let (cert, key) = authority.issue("db", localhost).pem();
    write("server.crt", &cert, 0o644);
    write("server.key", &key, 0o600);
    let rules = "hostssl all wallet 127.0.0.1/32 trust\nhost all postgres 127.0.0.1/32 trust\n";
    write("pg_hba.conf", rules, 0o600);
    database.execute("create role wallet login");
    database.execute(&format!("alter database \"{}\" owner to wallet", database.name()));
    database.execute("alter system set ssl = on");
    database.execute("select pg_reload_conf()");
    while database.value::<String>("show ssl") != "on" {}
    Some((server, database))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_speaks_tls_to_its_server_and_checks_whose_it_is() {
    let authority = Authority::new("the database's");
    let Some((_server, database)) = start("TLS to PostgreSQL", &authority) else { return };
    let dir = tempdir().unwrap();
    let write = |name: &str, authority: &Authority| {
        let path = dir.path().join(name);
        fs::write(&path, authority.pem()).unwrap();
        path
    };
    let (ours, others) = (write("ours.crt", &authority), write("others.crt", &Authority::new("another")));
    let url = |host: &str, parameters: &str| {
        let port = database.addr().port();
        format!("postgres://wallet@{host}:{port}/{}?{parameters}", database.name())
    };
    let verified =
        |host: &str, mode: &str, ca: &Path| url(host, &format!("sslmode={mode}&sslrootcert={}", ca.display()));

    let process = Process::serve(wallet(), &verified("localhost", "verify-full", &ours), &[]);
    let client = process.client().await;
    client.send(Protocol::Rest, PlainCommand::open(7, 100)).await;
    client.send(Protocol::Grpc, PlainCommand::charge(7, 1, 1)).await;
    let over_tls = "select count(*) filter (where not ssl) = 0 and count(*) > 1 from pg_stat_ssl
         join pg_stat_activity using (pid) where usename = 'wallet'";
    assert!(database.value::<bool>(over_tls), "each of its connections is over TLS");
    process.terminate();

    let refused = |url: &str, why: &str| {
        let (out, stderr, code) = run(&["verify", "--database-url", url]);
        assert_eq!((out.as_str(), code), ("", Some(1)), "{url}: {stderr}");
        assert!(stderr.contains(why), "{url}: {stderr}");
    };
    refused(&verified("localhost", "verify-full", &others), "UnknownIssuer");
    refused(&verified("127.0.0.1", "verify-full", &ours), "certificate not valid for name");
    refused(&url("localhost", "sslmode=disable"), "no pg_hba.conf entry");
    for mode in ["prefer", "require"] {
        let (_, stderr, code) = run(&["verify", "--database-url", &url("localhost", &format!("sslmode={mode}"))]);
        assert_eq!(code, Some(0), "{mode}: {stderr}");
    }
}
