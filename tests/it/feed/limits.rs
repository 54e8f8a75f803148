//! Readers that are too many, or too slow.

use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpSocket;
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_types::StatusExt as _;
use wallet::api::feed::FeedOptions;
use wallet::config::Settings;
use wallet::ledger::Command;
use wallet::store::Location;

use super::{WalletClient, app_with, charge, from, next, next_id, watch};
use crate::grpc::assert_status;
use crate::support::app::App;
use crate::support::events::Events;
use crate::support::store::{self, at, close, open, open_sqlite, transact};

const SLOW: Duration = Duration::from_millis(300);
/// More than a connection, the system and a client hold for a reader.
const ENTRIES: i64 = 40_000;

/// A service with many entries, and the folder of its database.
async fn long_ledger() -> (App, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.db");
    let mut store = open_sqlite(&path).await;
    let charges: Vec<Command> = (1..ENTRIES).map(|event| store::charge(1, event, 0)).collect();
    transact(&mut store, &[open(1, 1_000)], at(1)).unwrap();
    for batch in charges.chunks(1_000) {
        transact(&mut store, batch, at(2)).unwrap();
    }
    close(store).await;
    let change = |settings: &mut Settings| {
        settings.database.url = Location::Sqlite(path);
        settings.feed = FeedOptions { sign_of_life_interval: SLOW / 3, slow_reader_timeout: SLOW };
    };
    (app_with(0, change).await, dir)
}

#[tokio::test]
async fn one_reader_too_many_is_refused_until_another_leaves() {
    let app = app_with(1, |settings| settings.watchers_max = 2).await;
    let first = watch(&app, from("")).await.unwrap();
    let second = Events::open(app.http, "/api/v1/ledger/entries/stream", &[]).await.unwrap();
    assert_eq!(second.status, 200);
    let status = watch(&app, from("")).await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, "BUSY", &[]);
    assert!(status.get_details_retry_info().is_some());
    drop(first);
    while watch(&app, from("")).await.is_err() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_told_where_to_go_on() {
    let (app, _dir) = long_ledger().await;
    // A window that holds a part of it.
    let endpoint = Endpoint::from_shared(format!("http://{}", app.grpc)).unwrap().initial_stream_window_size(65_535);
    let mut client = WalletClient::new(endpoint.connect().await.unwrap());
    let mut entries = client.watch_entries(from("")).await.unwrap().into_inner();
    let (first, mut cursor) = next_id(&mut entries).await;
    assert_eq!(first, 1);
    // As a client that is busy with something else.
    tokio::time::sleep(5 * SLOW).await;
    let status = loop {
        assert_ne!(cursor, format!("v1.{ENTRIES}"), "it is cut off before the end");
        match entries.message().await {
            Ok(response) => cursor = response.expect("no end without a reason").cursor,
            Err(status) => break status,
        }
    };
    assert_status(&status, Code::ResourceExhausted, "SLOW_READER", &[("cursor", &cursor)]);
    assert!(status.get_details_retry_info().is_some());
    let mut again = watch(&app, from(&cursor)).await.unwrap();
    let last: i64 = cursor.trim_start_matches("v1.").parse().unwrap();
    for entry_id in last + 1..=ENTRIES {
        assert_eq!(next_id(&mut again).await.0, entry_id);
    }
    // One that waits is not slow.
    let quiet = async { while next(&mut again).await.0.is_none() {} };
    assert!(tokio::time::timeout(5 * SLOW, quiet).await.is_err());
    charge(&app, 1, ENTRIES).await;
    while next(&mut again).await.1 != format!("v1.{}", ENTRIES + 1) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_events_is_cut_off() {
    let (app, _dir) = long_ledger().await;
    // A client whose system takes little.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let socket = socket.connect(app.http).await.unwrap();
    let mut events = Events::open_on(socket, "/api/v1/ledger/entries/stream", &[]).await.unwrap();
    let mut last = events.next().await.unwrap().id;
    tokio::time::sleep(5 * SLOW).await;
    let mut count = 1;
    while let Some(event) = events.next().await {
        (last, count) = (event.id, count + 1);
        assert!(count < ENTRIES, "it is cut off before the end");
    }
    let again = [("last-event-id", last.as_str())];
    let mut again = Events::open(app.http, "/api/v1/ledger/entries/stream", &again).await.unwrap();
    assert_eq!(again.next().await.unwrap().id, format!("v1.{}", count + 1));
}
