//! TLS in front, as `deploy/` has it: nginx, Envoy and Caddy before the program, each by the same scenarios.

/// Makes a test of each scenario for each proxy.
macro_rules! through_each_proxy {
    ($($scenario:ident)*) => {
        mod nginx {
            $(#[test] fn $scenario() { super::$scenario($crate::tls::proxy::Kind::Nginx); })*
        }
        mod envoy {
            $(#[test] fn $scenario() { super::$scenario($crate::tls::proxy::Kind::Envoy); })*
        }
        mod caddy {
            $(#[test] fn $scenario() { super::$scenario($crate::tls::proxy::Kind::Caddy); })*
        }
    };
}

mod calls;
mod certificates;
mod feed;
mod log;
mod operator;
mod proxy;
mod recorder;
mod refusals;
mod trust;
mod wallets;

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use wallet::api::reason::{Call, Reason};

use crate::support::optional;
use crate::support::process::Process;
use certificates::Authority;
use proxy::{Files, Kind, Proxy};

const TRANSACT: &str = "wallet.v1.WalletService/Transact";
const CHARGE: &str = "wallet.v1.WalletService/Charge";

/// The arguments of a `curl` that posts the JSON that it reads.
const POST: [&str; 4] = ["--header", "Content-Type: application/json", "--data-binary", "@-"];
/// An address that is not the operator's, as the deployed configurations have it; `127.0.0.1` is.
const ENGINES_ADDR: &str = "127.0.0.2";

/// The proxy, the program behind it, and what calls them.
struct Deployment {
    proxy: Proxy,
    wallet: Option<Process>,
    client: Client,
    // Last, so that it outlives those that write to it.
    dir: TempDir,
}

/// Programs that call the proxy over TLS, and trust its authority.
struct Client {
    /// `address:port`.
    addr: String,
    /// The certificate of the authority, as a file.
    trusted: PathBuf,
    curl: PathBuf,
    grpcurl: PathBuf,
    input: PathBuf,
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
    /// Starts all as it is deployed; `None`, after saying so, if a program is missing.
    fn start(kind: Kind, test: &str) -> Option<Self> {
        let authority = Authority::new("servers");
        Self::start_with(kind, test, &Files { server: authority.server(), authority, clients: None })
    }

    /// The same with these certificates.
    fn start_with(kind: Kind, test: &str, files: &Files) -> Option<Self> {
        let test = format!("{test} through TLS");
        let programs = optional::programs(&test, [kind.program(), "curl", "grpcurl"])?;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let wallet = Process::start(&dir.path().join("wallet.db"));
        let [program, curl, grpcurl] = programs;
        let proxy = Proxy::start(kind, &program, dir.path(), files, &[(wallet.http, wallet.grpc)]);
        let client = Client::new(&proxy, &dir, curl, grpcurl);
        Some(Self { proxy, wallet: Some(wallet), client, dir })
    }

    /// A gRPC connection from this address.
    fn channel(&self, runtime: &Runtime, from: &str) -> Channel {
        let trusted = std::fs::read_to_string(&self.client.trusted).expect("a certificate");
        runtime.block_on(channel(self.proxy.addr, &trusted, from))
    }
}

/// A gRPC connection to a proxy, from this address.
async fn channel(proxy: SocketAddr, trusted: &str, from: &str) -> Channel {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted)).domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{proxy}")).expect("an address");
    let endpoint = endpoint.local_address(Some(from.parse().expect("an address")));
    endpoint.tls_config(tls).expect("a certificate").connect().await.expect("the proxy answers")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

impl Client {
    fn new(proxy: &Proxy, dir: &TempDir, curl: PathBuf, grpcurl: PathBuf) -> Self {
        let (trusted, input) = (dir.path().join("authority.crt"), dir.path().join("input"));
        Self { addr: proxy.addr.to_string(), trusted, curl, grpcurl, input }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// Runs a program with what it is to read, and waits for its end.
    fn run(&self, command: &mut Command, input: &[u8]) -> Printed {
        // From a file, so that nobody has to write to it while its output is read.
        std::fs::write(&self.input, input).expect("a file");
        let output = command.stdin(File::open(&self.input).expect("a file")).output().expect("the program starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Printed { out: text(output.stdout), err: text(output.stderr), code: output.status.code() }
    }

    /// A `curl` that has no settings of this user's, and trusts the authority.
    fn command(&self) -> Command {
        let mut curl = Command::new(&self.curl);
        // The first must be first.
        curl.args(["--disable", "--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--cacert"]);
        curl.arg(&self.trusted);
        curl
    }

    fn curl(&self, args: &[&str], input: &[u8]) -> Printed {
        self.run(self.command().arg("--include").args(args), input)
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
        self.rest(&[args, &POST].concat(), path, json)
    }

    /// A POST that is refused while its body is still being sent.
    fn post_unread(&self, args: &[&str], path: &str, json: &[u8]) -> Answer {
        let url = self.url(path);
        let mut printed = self.curl(&[args, &POST, &[&url]].concat(), json);
        // Over HTTP/2 the whole answer is followed by RST_STREAM, which is no reason to discard it (RFC 9113, 8.1).
        // `curl` 7.88 may then discard its body all the same. It tells that, and the head is there.
        let is_discarded = printed.code == Some(18) && printed.out.starts_with("HTTP/2 413 ");
        if is_discarded && printed.out.ends_with("\r\n\r\n") {
            printed.code = Some(0);
            printed.out += &refusal(Reason::PayloadTooLarge.message());
        }
        Answer::of(&printed)
    }

    /// One gRPC call by a client that has no files, or with other arguments anything else that `grpcurl` does.
    fn grpcurl(&self, args: &[&str], symbol: &str, input: &[u8]) -> Printed {
        let mut grpcurl = Command::new(&self.grpcurl);
        grpcurl.args(["-max-time", "30", "-cacert"]).arg(&self.trusted);
        self.run(grpcurl.args(args).arg(&self.addr).arg(symbol), input)
    }

    /// The head of the answer to a gRPC call that sends this message, framed, and its trailers.
    fn grpc_head(&self, args: &[&str], method: &str, message: &[u8]) -> String {
        let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
        let framed = [&[0], length.as_slice(), message].concat();
        let mut call = self.command();
        // What it answers is no text.
        call.args(["--output", "/dev/null", "--dump-header", "-", "--http2", "--data-binary", "@-"]);
        call.args(["--header", "Content-Type: application/grpc", "--header", "TE: trailers"]);
        let printed = self.run(call.args(args).arg(self.url(&format!("/{method}"))), &framed);
        assert_eq!(printed.code, Some(0), "{}", printed.err);
        printed.out
    }

    fn create_user(&self) {
        let created = self.post("/api/v1/users", r#"{"UserId":123123,"AccountBalance":10.00}"#);
        assert_eq!(created.status(), "201", "{}", created.body);
    }

    fn balance(&self) -> String {
        let user = self.rest(&[], "/api/v1/users/123123", b"");
        assert_eq!(user.status(), "200", "{}", user.body);
        let balance = user.body.split(r#""AccountBalance":"#).nth(1).and_then(|rest| rest.split(',').next());
        balance.expect("a balance").to_owned()
    }
}

impl Answer {
    fn of(printed: &Printed) -> Self {
        assert_eq!(printed.code, Some(0), "{}", printed.err);
        // What says only that the body may come is no answer.
        let mut answers = printed.out.as_str();
        while let Some((_, next)) = answers.split_once("\r\n\r\n").filter(|(head, _)| head.contains(" 100 Continue")) {
            answers = next;
        }
        let (head, body) = answers.split_once("\r\n\r\n").expect("a head and a body");
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
        assert_eq!(self.body, refusal(message));
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("wallet-reason"), reason.name().to_ascii_lowercase());
        assert_eq!(self.header("retry-after"), if status == 503 { "1" } else { "" });
        assert!(!self.header("x-request-id").is_empty());
    }
}

/// The body of a refusal.
fn refusal(message: &str) -> String {
    format!(r#"{{"success":false,"error":"{message}"}}"#)
}

/// The documented refusal, as the table of reasons has it.
fn assert_refused(answer: &Answer, reason: Reason) {
    answer.assert_refused(reason.http(Call::Command).as_u16(), reason, reason.message());
}
