//! What programs of others see: `curl`, `grpcurl` and `openssl`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tokio::task::block_in_place;

use super::Secure;
use crate::support::optional;

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A service, and the file with its CA.
async fn secure() -> (Secure, PathBuf) {
    let secure = Secure::spawn().await;
    let ca = secure.dir.path().join("ca.crt");
    fs::write(&ca, secure.authority.pem()).unwrap();
    (secure, ca)
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_speaks_both_versions_of_http() {
    let Some([curl]) = optional::programs("curl over TLS", ["curl"]) else { return };
    let (secure, ca) = secure().await;
    let url = format!("https://localhost:{}/api/v1/healthcheck", secure.app.http.port());
    for (flag, version) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
        let mut command = Command::new(&curl);
        command.args(["--disable", "--silent", "--show-error", "--include", "--noproxy", "*", flag, "--cacert"]);
        let output = block_in_place(|| run(command.arg(&ca).arg(&url)));
        let answer = text(&output.stdout);
        assert!(answer.starts_with(version) && answer.contains("up and running"), "{answer} {}", text(&output.stderr));
    }
    let untrusted = block_in_place(|| run(Command::new(&curl).args(["--disable", "--noproxy", "*", &url])));
    assert_eq!(untrusted.status.code(), Some(60), "{}", text(&untrusted.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_lists_and_calls() {
    let Some([grpcurl]) = optional::programs("grpcurl over TLS", ["grpcurl"]) else { return };
    let (secure, ca) = secure().await;
    let addr = format!("localhost:{}", secure.app.grpc.port());
    for (call, said) in [("list", "wallet.v1.WalletService"), ("grpc.health.v1.Health/Check", "SERVING")] {
        let mut command = Command::new(&grpcurl);
        let output = block_in_place(|| run(command.arg("-cacert").arg(&ca).args([&addr, call])));
        assert!(text(&output.stdout).contains(said), "{} {}", text(&output.stdout), text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_before_tls_1_2_is_spoken() {
    let Some([openssl]) = optional::programs("old versions of TLS", ["openssl"]) else { return };
    let (secure, _) = secure().await;
    for addr in [secure.app.http, secure.app.grpc] {
        // At the lowest level of security, so that it is the service that refuses and not this client.
        for (flag, is_spoken) in [("-tls1", false), ("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
            let mut client = Command::new(&openssl);
            client.args(["s_client", "-connect", &addr.to_string(), flag, "-cipher", "DEFAULT@SECLEVEL=0"]);
            let output = block_in_place(|| run(&mut client));
            assert_eq!(text(&output.stdout).contains("BEGIN CERTIFICATE"), is_spoken, "{flag}");
            let stderr = text(&output.stderr);
            assert_eq!(stderr.contains("alert handshake failure"), !is_spoken, "{flag}: {stderr}");
        }
    }
}
