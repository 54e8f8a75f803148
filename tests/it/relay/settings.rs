//! What a relay is told, and whom it trusts.

use std::fs;

use tonic::Status;
use wallet::api::grpc::proto::EntryKind;

use super::feed::{Feed, Opening};
use super::process::{Relay, refused, relay};
use super::receiver::{Answer, NEXT_SECRET, Receiver, SECRET};
use super::server::Identity;
use super::{cursor_file, has_taken};

const SERVER: &str = "http://localhost:1";
const TO: &str = "https://example.com/wallet";

/// What the relay of the tests says to more flags and variables, of which an empty one is not set.
fn changed(to: &str, flags: &[&str], variables: &[(&str, &str)]) -> (String, Option<i32>) {
    let (_dir, file) = cursor_file();
    let mut command = relay(SERVER, to, &file);
    command.args(flags).envs(variables.iter().copied());
    let refused = refused(command);
    assert!(!file.exists(), "nothing was made");
    refused
}

#[test]
fn settings_that_do_not_go_together_are_one_line_and_code_64() {
    let secret_file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&secret_file, "whsec_hidden").unwrap();
    let secret_file = ["--secret-file", secret_file.path().to_str().unwrap()];
    let no_secret = ("WALLET_RELAY_SECRET", "");
    for ((stderr, code), said) in [
        (changed("http://example.com/wallet", &[], &[]), "--insecure-http"),
        (changed("ftp://example.com", &[], &[]), "needs a URL"),
        (changed("https://user:password@example.com", &[], &[]), "must not stand in the URL"),
        (changed(TO, &[], &[no_secret]), "WALLET_RELAY_SECRET or in --secret-file"),
        (changed(TO, &secret_file, &[no_secret]), "24 to 64 random bytes"),
        (changed(TO, &secret_file, &[]), "not both"),
        (changed(TO, &[], &[("WALLET_RELAY_SECRET", "whsec_hidden")]), "24 to 64 random bytes"),
        (changed(TO, &["--kind", "charge,wins"], &[]), "win_rollback"),
        (changed(TO, &["--user=-1"], &[]), "needs a whole number"),
        (changed(TO, &["--batch-size", "1001"], &[]), "1..=1000"),
        (changed(TO, &[], &[("WALLET_TOKEN", "two\nhidden")]), "WALLET_TOKEN holds no token"),
        (changed(TO, &[], &[("WALLET_RELAY_SECRT", "hidden")]), "did you mean WALLET_RELAY_SECRET?"),
    ] {
        assert_eq!(code, Some(64), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(said), "{said}: {stderr}");
        assert!(!stderr.contains("hidden"), "{stderr}");
    }
}

#[test]
fn the_relays_variables_are_no_harm_to_other_commands() {
    let mut command = crate::support::process::wallet();
    command.arg("openapi").envs([("WALLET_RELAY_SECRET", SECRET), ("WALLET_TOKEN", "x"), ("WALLET_RELAY_TO", TO)]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn the_service_is_asked_for_what_is_wanted_with_the_token() {
    let (feed, receiver) = (Feed::start(1, |_| Opening::Follow).await, Receiver::start(|_| Answer::Taken).await);
    let (_dir, file) = cursor_file();
    let mut command = relay(&feed.url(), &receiver.url, &file);
    command.args(["--user", "123123", "--kind", "win,charge", "--kind", "freeze"]).env("WALLET_TOKEN", "a-token\n");
    let mut relay = Relay::start(command);
    relay.until(receiver.wait(|posts| has_taken(posts, 1))).await;
    let asked = feed.asked(1).await.remove(0);
    assert_eq!(asked.authorization.as_deref(), Some("Bearer a-token"));
    assert_eq!(asked.request.user_id, Some(123_123));
    let kinds = [EntryKind::Win, EntryKind::Charge, EntryKind::Freeze].map(i32::from);
    assert_eq!(asked.request.kinds, kinds);
}

#[tokio::test]
async fn a_secret_that_replaces_another_signs_beside_it_and_none_is_logged() {
    let answer = |post| if post == 0 { Answer::Status(500) } else { Answer::Taken };
    let opening = |opening| if opening == 0 { Opening::Refuse(Status::unavailable("")) } else { Opening::Follow };
    let (feed, receiver) = (Feed::start(1, opening).await, Receiver::start(answer).await);
    let (dir, file) = cursor_file();
    let secret_file = dir.path().join("secrets");
    fs::write(&secret_file, format!("{NEXT_SECRET}\n{SECRET}\n")).unwrap();
    let mut command = relay(&feed.url(), &receiver.url, &file);
    command.env_remove("WALLET_RELAY_SECRET").arg("--secret-file").arg(&secret_file);
    command.args(["--log", "trace"]).env("WALLET_TOKEN", "a-hidden-token");
    let mut relay = Relay::start(command);
    // The receiver still has the old one.
    relay.until(receiver.wait(|posts| has_taken(posts, 1))).await;
    relay.terminate();
    let (log, code) = relay.ended().await;
    assert_eq!(code, Some(0));
    for hidden in [SECRET, NEXT_SECRET, "a-hidden-token"] {
        let hidden = hidden.trim_start_matches("whsec_");
        assert!(log.lines.len() > 3 && log.lines.iter().all(|line| !line.contains(hidden)), "{log:?}");
    }
}

#[tokio::test]
async fn a_receiver_must_show_a_certificate_that_is_trusted() {
    let (trusted, other) = (Identity::new(&[b"http/1.1"]), Identity::new(&[b"http/1.1"]));
    let feed = Feed::start(1, |_| Opening::Follow).await;
    let receiver = Receiver::start_with(Some(&trusted), |_| Answer::Taken).await;
    let (dir, file) = cursor_file();
    let trusting = |identity: &Identity| {
        let certificate = dir.path().join("certificate.pem");
        fs::write(&certificate, &identity.pem).unwrap();
        let mut command = relay(&feed.url(), &receiver.url, &file);
        command.env("SSL_CERT_FILE", certificate).env_remove("SSL_CERT_DIR");
        Relay::start(command)
    };
    let mut refusing = trusting(&other);
    refusing.logged(|log| log.count("receiver", "failing; trying again until it succeeds") == 1).await;
    refusing.logged(|log| log.lines.iter().any(|line| line.contains("invalid peer certificate"))).await;
    refusing.kill();
    assert_eq!(receiver.posts().len(), 0);
    let mut relay = trusting(&trusted);
    relay.until(receiver.wait(|posts| has_taken(posts, 1))).await;
}

#[tokio::test]
async fn a_service_behind_tls_must_show_a_certificate_that_is_trusted() {
    let (trusted, other) = (Identity::new(&[b"h2"]), Identity::new(&[b"h2"]));
    let feed = Feed::start_with(Some(&trusted), 1, |_| Opening::Follow).await;
    let receiver = Receiver::start(|_| Answer::Taken).await;
    let (dir, file) = cursor_file();
    let trusting = |identity: &Identity| {
        let certificate = dir.path().join("certificate.pem");
        fs::write(&certificate, &identity.pem).unwrap();
        let mut command = relay(&format!("https://localhost:{}", feed.addr.port()), &receiver.url, &file);
        command.env("SSL_CERT_FILE", certificate).env_remove("SSL_CERT_DIR");
        Relay::start(command)
    };
    let mut refusing = trusting(&other);
    refusing.logged(|log| log.count("service", "failing; trying again until it succeeds") == 1).await;
    refusing.logged(|log| log.lines.iter().any(|line| line.contains("invalid peer certificate"))).await;
    refusing.kill();
    let mut relay = trusting(&trusted);
    relay.until(receiver.wait(|posts| has_taken(posts, 1))).await;
}
