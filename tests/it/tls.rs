//! TLS in front, as `deploy/nginx/` has it: nginx before the program, called by `curl` and `grpcurl`.

mod log;

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use prost::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use wallet::api::grpc::proto::ChargeRequest;
use wallet::api::reason::{Call, Reason};

use crate::support::optional;
use crate::support::process::Process;

const TRANSACT: &str = "wallet.v1.WalletService/Transact";
const CHARGE: &str = "wallet.v1.WalletService/Charge";

/// The proxy, and the program behind it.
struct Deployment {
    proxy: Proxy,
    wallet: Option<Process>,
}

/// A running nginx, stopped when dropped.
struct Proxy {
    addr: SocketAddr,
    nginx: Child,
    dir: TempDir,
    curl: PathBuf,
    grpcurl: PathBuf,
    openssl: PathBuf,
}

/// What a program printed on both its outputs, and its exit code.
struct Printed {
    out: String,
    err: String,
    code: Option<i32>,
}

/// A REST answer: its status line and headers in lower case, and its body.
struct Answer {
    head: String,
    body: String,
}

impl Deployment {
    /// Starts both; `None`, after saying so, if a program is missing.
    fn start(test: &str) -> Option<Self> {
        let [nginx, curl, grpcurl, openssl] = optional::programs(test, ["nginx", "curl", "grpcurl", "openssl"])?;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let wallet = Process::start(&dir.path().join("wallet.db"));
        make_certificate(&openssl, dir.path());

        // nginx is handed a socket that listens already, as in its own live upgrade: no port can be lost to another
        // program, and whoever connects before it is up waits for it.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let config = dir.path().join("nginx.conf");
        fs::write(&config, adapted(addr, &wallet, dir.path())).expect("a file");
        let nginx = Command::new(nginx)
            .arg("-c")
            .arg(config)
            .args(["-g", "daemon off;"])
            .env("NGINX", "0;")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("error.log")).expect("a file"))
            .spawn()
            .expect("nginx starts");
        let proxy = Proxy { addr, nginx, dir, curl, grpcurl, openssl };
        Some(Self { proxy, wallet: Some(wallet) })
    }
}

/// The deployed configuration with the addresses and folders of a test.
fn adapted(addr: SocketAddr, wallet: &Process, dir: &Path) -> String {
    let mut config = include_str!("../../deploy/nginx/nginx.conf").to_owned();
    for (deployed, here) in [
        ("listen 443 ", format!("listen {addr} ")),
        ("server wallet:5000 ", format!("server {} ", wallet.http)),
        ("server wallet:50051 ", format!("server {} ", wallet.grpc)),
        (" /tmp/", format!(" {}/", dir.display())),
        (" /dev/stdout ", format!(" {}/access.log ", dir.display())),
    ] {
        assert!(config.contains(deployed), "the configuration has no `{deployed}`");
        config = config.replace(deployed, &here);
    }
    config
}

fn make_certificate(openssl: &Path, dir: &Path) {
    fs::create_dir(dir.join("tls")).expect("a folder");
    let made = Command::new(openssl)
        .current_dir(dir.join("tls"))
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .output()
        .expect("openssl starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

impl Proxy {
    fn certificate(&self) -> PathBuf {
        self.dir.path().join("tls/server.crt")
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// Runs a program with what it is to read, and waits for its end.
    fn run(&self, command: &mut Command, input: &[u8]) -> Printed {
        // From a file, so that nobody has to write to it while its output is read.
        let path = self.dir.path().join("input");
        fs::write(&path, input).expect("a file");
        let output = command.stdin(File::open(path).expect("a file")).output().expect("the program starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Printed { out: text(output.stdout), err: text(output.stderr), code: output.status.code() }
    }

    fn curl(&self, args: &[&str], input: &[u8]) -> Printed {
        let mut curl = Command::new(&self.curl);
        // The first must be first: no settings of this user's.
        curl.args(["--disable", "--silent", "--show-error", "--include", "--max-time", "30", "--noproxy", "*"]);
        self.run(curl.arg("--cacert").arg(self.certificate()).args(args), input)
    }

    /// One REST call, which must be answered.
    fn rest(&self, args: &[&str], path: &str, input: &[u8]) -> Answer {
        let url = self.url(path);
        let args: Vec<&str> = args.iter().copied().chain([url.as_str()]).collect();
        Answer::of(&self.curl(&args, input))
    }

    fn post(&self, path: &str, json: &str) -> Answer {
        self.post_with(&[], path, json.as_bytes())
    }

    fn post_with(&self, args: &[&str], path: &str, json: &[u8]) -> Answer {
        let post = ["--header", "Content-Type: application/json", "--data-binary", "@-"];
        self.rest(&[args, &post].concat(), path, json)
    }

    /// One gRPC call by a client that has no files, or with other arguments anything else that `grpcurl` does.
    fn grpcurl(&self, args: &[&str], symbol: &str, input: &[u8]) -> Printed {
        let mut grpcurl = Command::new(&self.grpcurl);
        grpcurl.args(["-max-time", "30", "-cacert"]).arg(self.certificate());
        self.run(grpcurl.args(args).arg(self.addr.to_string()).arg(symbol), input)
    }

    fn create_user(&self) {
        let created = self.post("/api/v1/users", r#"{"UserId":123123,"AccountBalance":10.00}"#);
        assert_eq!(created.status(), "201", "{}", created.body);
    }

    fn balance(&self) -> String {
        let user = self.rest(&[], "/api/v1/users/123123", b"");
        assert_eq!(user.status(), "200", "{}", user.body);
        user.body
            .split(r#""AccountBalance":"#)
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .expect("a balance")
            .to_owned()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // In order: killed, it would leave its workers behind.
        let _ = Command::new("kill").arg(self.nginx.id().to_string()).status();
        let _ = self.nginx.wait();
        if std::thread::panicking() {
            let mut log = String::new();
            let _ = File::open(self.dir.path().join("error.log")).and_then(|mut file| file.read_to_string(&mut log));
            eprintln!("nginx: {log}");
        }
    }
}

impl Answer {
    fn of(printed: &Printed) -> Self {
        assert_eq!(printed.code, Some(0), "{}", printed.err);
        let (head, body) = printed.out.split_once("\r\n\r\n").expect("a head and a body");
        Self { head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn version(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    fn status(&self) -> &str {
        self.head.split_whitespace().nth(1).unwrap_or_default()
    }

    /// A header's values, one after the other; empty if it is absent.
    fn header(&self, name: &str) -> String {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| *field == name).map(|(_, value)| value).collect()
    }

    /// Asserts that this is how the wallet itself would have refused.
    fn assert_refused(&self, status: u16, reason: Reason, message: &str) {
        assert_eq!(self.status(), status.to_string(), "{}\n{}", self.head, self.body);
        assert_eq!(self.body, format!(r#"{{"success":false,"error":"{message}"}}"#));
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("wallet-reason"), reason.name().to_ascii_lowercase());
        assert_eq!(self.header("retry-after"), if status == 503 { "1" } else { "" });
        assert!(!self.header("x-request-id").is_empty());
    }
}

/// The documented refusal, as the table of reasons has it.
fn assert_refused(answer: &Answer, reason: Reason) {
    answer.assert_refused(reason.http(Call::Command).as_u16(), reason, reason.message());
}

#[test]
fn rest_is_served_over_both_versions_of_http() {
    let Some(Deployment { proxy, wallet: _wallet }) = Deployment::start("REST through TLS") else { return };
    let healthy = r#"{"success":true,"message":"System is up and running"}"#;
    for (flag, version) in [("--http1.1", "http/1.1"), ("--http2", "http/2")] {
        let answer = proxy.rest(&[flag], "/api/v1/healthcheck", b"");
        assert_eq!((answer.version(), answer.status(), &*answer.body), (version, "200", healthy));
        assert_eq!(answer.header("server"), "nginx", "without its version");
    }
    proxy.create_user();
    let charge = br#"{"UserId": 123123, "EventId": 321123, "Amount": 1.00}"#;
    for (flag, replayed) in [("--http1.1", ""), ("--http2", "true")] {
        let answer = proxy.post_with(&[flag], "/api/v1/charge", charge);
        assert_eq!(answer.body, r#"{"success":true,"UserId":123123,"AccountBalance":9.00}"#);
        assert_eq!(answer.header("idempotent-replayed"), replayed);
    }
    // The wallet's own refusals pass as they are.
    let too_high = proxy.post("/api/v1/charge", r#"{"UserId":123123,"EventId":1,"Amount":9.01}"#);
    assert_refused(&too_high, Reason::BalanceTooLow);
    let page = proxy.rest(&[], "/docs/", b"");
    assert!(page.status() == "200" && page.header("content-type").starts_with("text/html"), "{}", page.head);
}

#[test]
fn grpc_is_served_with_reflection_and_streams() {
    let Some(Deployment { proxy, wallet: _wallet }) = Deployment::start("gRPC through TLS") else { return };
    let listed = proxy.grpcurl(&[], "list", b"");
    assert!(listed.out.lines().any(|line| line == "wallet.v1.WalletService"), "{} {}", listed.out, listed.err);
    let health = proxy.grpcurl(&[], "grpc.health.v1.Health/Check", b"");
    assert!(health.out.contains("SERVING"), "{} {}", health.out, health.err);

    proxy.create_user();
    let charge = r#"{"user_id":123123,"event_id":321123,"amount_minor":100}"#;
    let charged = proxy.grpcurl(&["-d", charge], CHARGE, b"");
    assert!(charged.out.contains(r#""balanceMinor": "900""#), "{} {}", charged.out, charged.err);

    // More than a REST body may be. The first 900 take what there is; after that, each answer is a refusal.
    let charge = |number: i64| {
        json!({ "charge": { "user_id": 123_123, "event_id": i64::MAX - number, "amount_minor": 1 } }).to_string()
    };
    let commands: Vec<String> = (0..3_000).map(charge).collect();
    let streamed = proxy.grpcurl(&["-d", "@"], TRANSACT, commands.join("\n").as_bytes());
    assert_eq!(streamed.code, Some(0), "{}", streamed.err);
    let answers = serde_json::Deserializer::from_str(&streamed.out).into_iter();
    let answers: Vec<Value> = answers.collect::<Result<_, _>>().expect("JSON");
    assert_eq!(answers.len(), commands.len());
    assert_eq!(answers[449]["applied"]["balanceMinor"], "450");
    assert!(answers[900..].iter().all(|answer| answer["refused"]["reason"] == Reason::BalanceTooLow.name()));
    assert_eq!(proxy.balance(), "0.00");
}

#[test]
fn a_calls_deadline_reaches_the_wallet() {
    let Some(Deployment { proxy, wallet: _wallet }) = Deployment::start("deadlines through TLS") else { return };
    proxy.create_user();
    let message = ChargeRequest { user_id: Some(123_123), event_id: Some(1), amount_minor: Some(100), round_id: None }
        .encode_to_vec();
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    let framed = [&[0], length.as_slice(), &message].concat();
    // `curl`, as `grpcurl` would itself give up at a deadline that is over.
    let call = |timeout: &str| {
        let timeout = format!("grpc-timeout: {timeout}");
        let headers = ["--header", "Content-Type: application/grpc", "--header", "TE: trailers", "--header", &timeout];
        let url = proxy.url(&format!("/{CHARGE}"));
        // What it answers is no text.
        let mut call = Command::new(&proxy.curl);
        call.args(["--disable", "--silent", "--output", "/dev/null", "--dump-header", "-", "--noproxy", "*"]);
        call.args(["--http2", "--data-binary", "@-", "--cacert"]).arg(proxy.certificate()).args(headers).arg(url);
        proxy.run(&mut call, &framed).out
    };
    let late = call("1n");
    assert!(late.contains("grpc-status: 4"), "{late}");
    assert_eq!(proxy.balance(), "10.00");
    let in_time = call("30S");
    assert!(in_time.contains("grpc-status: 0"), "{in_time}");
    assert_eq!(proxy.balance(), "9.00");
}

#[test]
fn only_tls_1_2_and_later_is_spoken() {
    let Some(Deployment { proxy, wallet: _wallet }) = Deployment::start("the versions of TLS") else { return };
    let plain = format!("http://{}/api/v1/healthcheck", proxy.addr);
    let refused = Answer::of(&proxy.curl(&[&plain], b""));
    refused.assert_refused(400, Reason::InvalidRequest, "Connection must use TLS");
    // How a gRPC client without TLS begins.
    let unanswered = proxy.curl(&["--http2-prior-knowledge", &plain], b"");
    assert_ne!(unanswered.code, Some(0), "{}", unanswered.out);

    for version in ["1.2", "1.3"] {
        let tls = format!("--tlsv{version}");
        let answer = proxy.rest(&[&tls, "--tls-max", version], "/api/v1/healthcheck", b"");
        assert_eq!(answer.status(), "200", "TLS {version}");
    }
    // At the lowest level of security, so that it is the proxy that refuses and not this client.
    for flag in ["-tls1", "-tls1_1"] {
        let mut client = Command::new(&proxy.openssl);
        client.args(["s_client", "-connect", &proxy.addr.to_string(), flag, "-cipher", "DEFAULT@SECLEVEL=0"]);
        let printed = proxy.run(&mut client, b"");
        assert!(printed.err.contains("alert protocol version"), "{flag}: {}", printed.err);
    }
}

#[test]
fn what_the_proxy_refuses_looks_as_if_the_wallet_had() {
    let Some(Deployment { proxy, wallet: _wallet }) = Deployment::start("refusals of the proxy") else { return };
    let body = |len: usize| format!("{{{}}}", " ".repeat(len - 2)).into_bytes();
    for version in ["--http1.1", "--http2"] {
        let fits = proxy.post_with(&[version], "/api/v1/charge", &body(64 * 1024));
        fits.assert_refused(400, Reason::InvalidRequest, "UserId is missing from the request");
        let too_large = proxy.post_with(&[version], "/api/v1/charge", &body(64 * 1024 + 1));
        assert_refused(&too_large, Reason::PayloadTooLarge);
        let no_such_method = proxy.rest(&[version, "--request", "TRACE"], "/api/v1/charge", b"");
        assert_refused(&no_such_method, Reason::MethodNotAllowed);
        assert_refused(&proxy.rest(&[version], "/.refused", b""), Reason::NotFound);
    }
    let too_long = format!("/{}", "x".repeat(5_000));
    let too_long = proxy.rest(&["--http1.1"], &too_long, b"");
    too_long.assert_refused(414, Reason::InvalidRequest, Reason::InvalidRequest.message());
}

#[test]
fn a_wallet_that_is_down_is_unavailable_through_both_apis() {
    let Some(Deployment { proxy, wallet }) = Deployment::start("a wallet that is down") else { return };
    proxy.create_user();
    wallet.expect("it runs").kill();
    for version in ["--http1.1", "--http2"] {
        assert_refused(&proxy.rest(&[version], "/api/v1/healthcheck", b""), Reason::Unavailable);
        let charge = br#"{"UserId":123123,"EventId":321123,"Amount":1.00}"#;
        assert_refused(&proxy.post_with(&[version], "/api/v1/charge", charge), Reason::Unavailable);
    }
    // Reflection would be the first to fail.
    let files = ["-import-path", concat!(env!("CARGO_MANIFEST_DIR"), "/proto"), "-proto", "wallet.proto"];
    let charge = r#"{"user_id":123123,"event_id":321123,"amount_minor":100}"#;
    for (method, command) in [(CHARGE, charge.to_owned()), (TRANSACT, format!(r#"{{"charge":{charge}}}"#))] {
        let refused = proxy.grpcurl(&[&files[..], &["-d", &command]].concat(), method, b"");
        let parts = [Reason::Unavailable.message(), "Code: Unavailable"];
        assert!(parts.iter().all(|part| refused.err.contains(part)), "{method}: {}", refused.err);
    }
}
