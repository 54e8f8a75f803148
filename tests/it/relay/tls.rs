//! A relay of a service that speaks TLS itself.

use std::fs;
use std::path::Path;

use super::process::{Relay, refused, relay};
use super::receiver::{Answer, Receiver};
use super::{cursor_file, has_taken};
use crate::support::app::App;
use crate::support::authority::{Authority, settings};

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().expect("text").to_owned()
}

#[tokio::test]
async fn entries_come_over_tls_with_a_private_ca_and_a_client_certificate() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("a private CA"));
    let tls = settings(dir.path(), &authority.issue_server(), Some(&authority));
    let issued = authority.issue("a relay", |_| ());
    issued.write(dir.path(), "relay");
    fs::write(dir.path().join("ca.crt"), authority.pem()).unwrap();
    let app = App::spawn_with(|settings| settings.tls = tls).await;
    let dialer = crate::own_tls::Dialer::with_certificate(&authority, &issued);
    let mut client = dialer.connect(app.http, crate::own_tls::HTTP1).await.unwrap();
    let created = client.request("POST", "/api/v1/users", r#"{"UserId":1,"AccountBalance":10.00}"#).await.unwrap();
    assert_eq!(created.status, 201, "{}", created.text());

    let receiver = Receiver::start(|_| Answer::Taken).await;
    let (_cursor_dir, file) = cursor_file();
    let mut command = relay(&format!("https://localhost:{}", app.grpc.port()), &receiver.url, &file);
    command.args(["--tls-ca", &path(dir.path(), "ca.crt"), "--tls-client-cert", &path(dir.path(), "relay.crt")]);
    command.env("WALLET_TLS_CLIENT_KEY", path(dir.path(), "relay.key"));
    let mut relay = Relay::start(command);
    let posts = relay.until(receiver.wait(|posts| has_taken(posts, 1))).await;
    assert_eq!(posts[0].entry_ids(), [1]);
}

#[test]
fn files_that_cannot_be_used_are_named_in_one_line() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("a private CA"));
    authority.issue("a relay", |_| ()).write(dir.path(), "relay");
    let [crt, key, missing] = ["relay.crt", "relay.key", "missing"].map(|name| path(dir.path(), name));
    let (https, http) = ("https://localhost:1", "http://localhost:1");
    for (server, flags, code, said) in [
        (https, &["--tls-client-cert", &crt][..], 64, "--tls-client-key <FILE>"),
        (https, &["--tls-client-key", &key], 64, "--tls-client-cert <FILE>"),
        (http, &["--tls-ca", &crt], 64, "begin it with https"),
        (https, &["--tls-ca", &missing], 1, "missing; make it readable"),
        (https, &["--tls-ca", &key], 1, "relay.key holds no certificate"),
        (https, &["--tls-client-cert", &crt, "--tls-client-key", &crt], 1, "relay.crt holds no private key"),
    ] {
        let (_cursor_dir, file) = cursor_file();
        let mut command = relay(server, "https://example.com/wallet", &file);
        command.args(flags);
        let (stderr, exit) = refused(command);
        assert_eq!(exit, Some(code), "{flags:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(said), "{said}: {stderr}");
        assert!(!file.exists(), "nothing was made");
    }
}
