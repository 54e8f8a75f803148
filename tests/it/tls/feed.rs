//! Streams and waits through the proxy, for longer than a proxy's usual patience of a minute.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use wallet::api::grpc::proto::transact_request::Command;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{ChargeRequest, TransactRequest, WatchEntriesRequest};

use super::proxy::Kind;
use super::{Client, Deployment, runtime};

/// How long nothing happens. Proxies often end what was silent for a minute.
const SILENCE: Duration = Duration::from_secs(62);

/// A stream of events, read by `curl`.
struct Events {
    curl: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Events {
    /// Begins with what comes next.
    fn open(client: &Client, version: &str) -> Self {
        let mut curl = client.command();
        curl.args([version, "--no-buffer", "--max-time", "300"]);
        curl.arg(client.url("/api/v1/ledger/entries/stream?after=now")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut curl = curl.spawn().expect("curl starts");
        let lines = BufReader::new(curl.stdout.take().expect("its output"));
        Self { curl, lines }
    }

    /// Reads until a line that begins like this; what follows there.
    fn next(&mut self, field: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).expect("text"), 0, "the stream of events has ended");
            if let Some(value) = line.strip_prefix(field) {
                return value.trim().to_owned();
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

fn charge(event_id: i64) -> TransactRequest {
    let charge = ChargeRequest {
        user_id: Some(123_123),
        event_id: Some(event_id),
        amount_minor: Some(100),
        ..ChargeRequest::default()
    };
    TransactRequest { command: Some(Command::Charge(charge)) }
}

/// Waits for a page of the feed for as long as one may, again and again, until there was silence for long enough.
fn wait_for_nothing(client: &Client) {
    let begun = Instant::now();
    for version in ["--http1.1", "--http2"].into_iter().cycle() {
        let page = client.rest(&[version], "/api/v1/ledger/entries?after=now&wait=30", b"");
        assert_eq!(page.status(), "200", "{version}: {}", page.body);
        let page: Value = serde_json::from_str(&page.body).expect("JSON");
        assert_eq!(page["Entries"].as_array().map(Vec::len), Some(0));
        if begun.elapsed() > SILENCE {
            break;
        }
    }
}

fn what_is_silent_lives(kind: Kind) {
    let Some(deployment) = Deployment::start(kind, "streams that are silent") else { return };
    let client = &deployment.client;
    client.create_user();
    let runtime = runtime();
    let mut grpc = WalletServiceClient::new(deployment.channel(&runtime, "127.0.0.1"));
    let watch = WatchEntriesRequest { after: Some("now".to_owned()), ..WatchEntriesRequest::default() };
    let mut watched = runtime.block_on(grpc.watch_entries(watch)).expect("a stream").into_inner();
    let (commands, requests) = mpsc::channel(1);
    runtime.block_on(commands.send(charge(1))).expect("room for it");
    let answers = runtime.block_on(grpc.transact(ReceiverStream::new(requests))).expect("a stream");
    let mut answers = answers.into_inner();
    let mut answer = || runtime.block_on(answers.message()).expect("the stream lives").expect("an answer");
    assert!(answer().outcome.is_some());
    let mut streams = [Events::open(client, "--http1.1"), Events::open(client, "--http2")];
    for events in &mut streams {
        // At once, and not only when some buffer is full.
        events.next("id: ");
    }

    wait_for_nothing(client);

    runtime.block_on(commands.send(charge(2))).expect("the stream lives");
    assert!(answer().outcome.is_some());
    for events in &mut streams {
        let entry: Value = serde_json::from_str(&events.next("data: ")).expect("JSON");
        assert_eq!((&entry["Kind"], &entry["EventId"]), (&"charge".into(), &2.into()));
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&2) {
        let response = runtime.block_on(watched.message()).expect("the stream lives").expect("a response");
        seen.extend(response.entry.map(|entry| entry.event_id));
    }
    assert_eq!(seen, [1, 2]);
}

#[test]
fn streams_and_waits_are_not_cut_off_by_any_proxy() {
    // At the same time, as all they do is wait.
    thread::scope(|scope| {
        for kind in Kind::ALL {
            scope.spawn(move || what_is_silent_lives(kind));
        }
    });
}
