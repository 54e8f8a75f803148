//! Readers of the feed: beside callers that charge, and alone, as fast as they can.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Streaming;
use tonic::transport::Endpoint;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{WatchEntriesRequest, WatchEntriesResponse};

use super::grpc;
use super::sample::{Recorder, Sample, Window};
use super::wallets::COUNT;

/// The window of a client that does not read: so small that it is full at once.
const STUCK_WINDOW_BYTES: u32 = 1_024;

/// Watchers that read until they are dropped.
pub struct Watchers {
    _reading: JoinSet<()>,
    _stuck: Option<Streaming<WatchEntriesResponse>>,
}

/// Starts watchers: one that follows everything, and if there are to be more, so many that follow one user each, and
/// one that reads nothing.
pub async fn watch(addr: SocketAddr, users: usize) -> Watchers {
    let mut reading = JoinSet::new();
    reading.spawn(follow(open(addr, "now", None).await, true));
    let step = COUNT / i64::try_from(users.max(1)).expect("not that many");
    for user in (0..COUNT).step_by(usize::try_from(step).expect("not that many")).take(users) {
        reading.spawn(follow(open(addr, "now", Some(user)).await, false));
    }
    let stuck = if users > 0 { Some(stuck(addr).await) } else { None };
    Watchers { _reading: reading, _stuck: stuck }
}

async fn open(addr: SocketAddr, after: &str, user_id: Option<i64>) -> Streaming<WatchEntriesResponse> {
    let request = WatchEntriesRequest { after: Some(after.to_owned()), user_id, kinds: Vec::new() };
    let mut client = WalletServiceClient::new(grpc::connect(addr).await);
    client.watch_entries(request).await.expect("it may watch").into_inner()
}

/// A watcher whose client does not read what it gets, from the beginning of the ledger on.
async fn stuck(addr: SocketAddr) -> Streaming<WatchEntriesResponse> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("a URL");
    let channel = endpoint.initial_stream_window_size(STUCK_WINDOW_BYTES).connect().await.expect("it accepts");
    let request = WatchEntriesRequest { after: None, user_id: None, kinds: Vec::new() };
    WalletServiceClient::new(channel).watch_entries(request).await.expect("it may watch").into_inner()
}

/// Reads what comes, and checks that nothing comes twice and, of `all` entries, that none is missing.
async fn follow(mut entries: Streaming<WatchEntriesResponse>, all: bool) {
    let mut last = None;
    while let Ok(Some(response)) = entries.message().await {
        let Some(id) = response.entry.map(|entry| entry.entry_id) else { continue };
        assert!(last.is_none_or(|last| if all { id == last + 1 } else { id > last }), "{id} after {last:?}");
        last = Some(id);
    }
}

/// Reads the whole ledger by gRPC, again and again, and counts entries.
pub async fn read_grpc(addr: SocketAddr, window: Window) -> Sample {
    let mut recorder = Recorder::default();
    while Instant::now() < window.ends {
        let mut entries = open(addr, "", None).await;
        let mut next = 1;
        let mut now = Instant::now();
        while let Ok(Some(WatchEntriesResponse { entry: Some(entry), .. })) = entries.message().await {
            assert_eq!(entry.entry_id, next, "every entry comes once, in order");
            next += 1;
            if next % 64 == 0 {
                now = Instant::now();
                if now >= window.ends {
                    break;
                }
            }
            recorder.record(window, now, now);
        }
    }
    Sample::new(window, vec![recorder])
}

/// Reads the whole ledger as Server-Sent Events, and counts events.
pub async fn read_events(addr: SocketAddr, window: Window) -> Sample {
    let mut recorder = Recorder::default();
    let mut socket = TcpStream::connect(addr).await.expect("it accepts");
    let request = "GET /api/v1/ledger/entries/stream HTTP/1.1\r\nhost: a\r\n\r\n";
    socket.write_all(request.as_bytes()).await.expect("it is sent");
    let mut buffer = vec![0; 256 * 1024];
    let mut before = 0;
    while Instant::now() < window.ends {
        let length = socket.read(&mut buffer).await.expect("events");
        assert_ne!(length, 0, "the ledger is longer than that");
        let now = Instant::now();
        for byte in &buffer[..length] {
            // An empty line ends an event.
            if (before, *byte) == (b'\n', b'\n') {
                recorder.record(window, now, now);
            }
            before = *byte;
        }
    }
    Sample::new(window, vec![recorder])
}
