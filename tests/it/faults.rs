//! A panic, a commit that hangs, a clock that jumps, a lock that another process holds: the service serves on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use wallet::api::grpc::proto::ChargeRequest;
use wallet::api::reason::Reason;
use wallet::engine::{Clock, SystemClock};
use wallet::ledger::{Changes, Timestamp};

use crate::support::app::App;
use crate::support::client::{Client, Protocol, Reply, channel};
use crate::support::command::PlainCommand;
use crate::support::faulty::{Faulty, PANICS};

const USER: i64 = 1;

/// A client of a service with a wallet of ten euros.
async fn client(faulty: &Faulty) -> Client {
    let client = faulty.client().await;
    client.create_wallet(USER, 1_000).await;
    client
}

async fn charge(client: &Client, protocol: Protocol, event: i64) -> Reply {
    client.send(protocol, PlainCommand::charge(USER, event, 1)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_handler_is_an_internal_error_and_no_more() {
    let faulty = Faulty::spawn(|_| (), SystemClock).await;
    let client = client(&faulty).await;
    for event in 0..10 {
        for protocol in [Protocol::Rest, Protocol::Grpc] {
            assert_eq!(client.wallet(protocol, PANICS).await.reason(), Some(Reason::Internal), "{protocol:?}");
        }
        assert_eq!(charge(&client, Protocol::Rest, event).await, Reply::done(999 - event));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_over_a_command_fails_that_command_alone_and_is_counted() {
    const BAD: i64 = 13;
    let panics = |changes: &Changes| {
        assert!(changes.entries.iter().all(|entry| entry.event_id.get() != BAD), "a bug, planted by a test");
    };
    let faulty = Faulty::spawn(panics, SystemClock).await;
    let client = client(&faulty).await;
    let mut callers = JoinSet::new();
    for event in 0..40 {
        let client = client.clone();
        callers.spawn(async move {
            let by_rest = charge(&client, Protocol::Rest, event).await;
            let by_grpc = charge(&client, Protocol::Grpc, event).await;
            if event == BAD {
                assert_eq!([by_rest.reason(), by_grpc.reason()], [Some(Reason::Internal); 2]);
            } else {
                assert!(matches!(by_rest, Reply::Done { replayed: false, .. }), "{by_rest:?}");
                assert_eq!(by_grpc, Reply::replayed(by_rest.balance()), "both APIs lead to one ledger");
            }
        });
    }
    callers.join_all().await;
    let panics = faulty.health.panics();
    assert!(panics >= 2, "{panics}");
    assert_eq!(client.http.get("/api/v1/healthcheck").await.status, 200, "it can commit");
    println!("{panics} panics of the worker, the 39 other commands are done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_stands_still_turns_health_until_it_is_done() {
    const STUCK: i64 = 13;
    let (release, released) = mpsc::channel::<()>();
    let hangs = move |changes: &Changes| {
        if changes.entries.iter().any(|entry| entry.event_id.get() == STUCK) {
            let _ = released.recv_timeout(Duration::from_secs(30));
        }
    };
    let faulty = Faulty::spawn(hangs, SystemClock).await;
    let client = client(&faulty).await;
    let request = HealthCheckRequest { service: "wallet.v1.WalletService".to_owned() };
    let mut watched = HealthClient::new(channel(faulty.grpc).await).watch(request).await.unwrap().into_inner();
    let mut next = async || watched.message().await.unwrap().map(|answer| answer.status());
    assert_eq!(next().await, Some(ServingStatus::Serving));

    let stuck = tokio::spawn({
        let client = client.clone();
        async move { charge(&client, Protocol::Rest, STUCK).await }
    });
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(client.http.get("/api/v1/healthcheck").await.status, 503);
    assert_eq!(client.balance(USER).await, 1_000, "reads go on");
    release.send(()).unwrap();
    assert_eq!(stuck.await.unwrap(), Reply::done(999), "the stuck commit is done");
    assert_eq!(next().await, Some(ServingStatus::Serving));
    assert_eq!(client.http.get("/api/v1/healthcheck").await.status, 200);
}

async fn healthcheck_becomes(app: &App, status: u16) {
    let begun = Instant::now();
    while app.get("/api/v1/healthcheck").await.status != status {
        assert!(begun.elapsed() < Duration::from_secs(20), "health does not become {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_too_long_turns_health_although_no_command_waits_that_long() {
    let app = App::spawn_with(|settings| settings.lock_timeout_ms = 1_000).await;
    let client = app.client().await;
    client.create_wallet(USER, 1_000).await;
    let lock = app.hold_write_lock();
    let mut grpc = client.grpc.clone();
    let mut impatient = async |event| {
        let request =
            ChargeRequest { user_id: Some(USER), event_id: Some(event), amount_minor: Some(1), round_id: None };
        let mut request = tonic::Request::new(request);
        request.set_timeout(Duration::from_millis(300));
        let code = grpc.charge(request).await.unwrap_err().code();
        // The client also counts, and may be the first to give up.
        assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code}");
    };
    for event in 0..2 {
        impatient(event).await;
    }
    healthcheck_becomes(&app, 503).await;
    drop(lock);
    healthcheck_becomes(&app, 200).await;
    assert_eq!(client.balance(USER).await, 1_000, "nothing was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_too_long_turns_health_although_no_command_comes() {
    let app = App::spawn_with(|settings| settings.lock_timeout_ms = 500).await;
    let lock = app.hold_write_lock();
    healthcheck_becomes(&app, 503).await;
    drop(lock);
    healthcheck_becomes(&app, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_which_the_head_is_corrupt_turns_health_until_it_is_mended() {
    let app = App::spawn().await;
    let client = app.client().await;
    client.create_wallet(USER, 1_000).await;
    assert_eq!(client.send(Protocol::Rest, PlainCommand::charge(USER, 1, 1)).await, Reply::done(999));
    let other = rusqlite::Connection::open(app.ledger().file()).unwrap();
    other.execute_batch("drop trigger ledger_commit_is_never_updated").unwrap();
    let update =
        |set: &str| other.execute_batch(&format!("update ledger_commit set {set} where commit_id = 2")).unwrap();
    // A form that is not known, and a head that is behind the entries.
    for (event, corrupt, mended) in [(2, "form = 99", "form = 1"), (3, "last_entry_id = 1", "last_entry_id = 2")] {
        update(corrupt);
        let reply = client.send(Protocol::Rest, PlainCommand::charge(USER, event, 1)).await;
        assert_eq!(reply.reason(), Some(Reason::Internal), "{corrupt}");
        healthcheck_becomes(&app, 503).await;
        update(mended);
        healthcheck_becomes(&app, 200).await;
    }
    assert_eq!(client.send(Protocol::Rest, PlainCommand::charge(USER, 2, 1)).await, Reply::done(998));
}

/// A clock that a test has jump from time to time, in seconds.
struct Jumping {
    times: Mutex<Vec<i64>>,
    last: AtomicI64,
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        let next = self.times.lock().unwrap().pop();
        let now = next.unwrap_or_else(|| self.last.load(Ordering::Relaxed));
        self.last.store(now, Ordering::Relaxed);
        Timestamp::from_microseconds(now * 1_000_000)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_clock_jumps_back_an_hour_times_do_not() {
    // Read from the last to the first: ten seconds forth, an hour back, and forth again past where it was.
    let mut times = vec![20_000, 10_010, 6_402, 6_401, 6_400, 10_000, 9_999];
    times.resize(times.len() + 1, 9_998);
    let clock = Jumping { times: Mutex::new(times), last: AtomicI64::new(0) };
    let faulty = Faulty::spawn(|_| (), clock).await;
    let client = client(&faulty).await;
    for event in 0..7 {
        assert_eq!(charge(&client, Protocol::Rest, event).await, Reply::done(999 - event));
    }
    let entries = client.http.get(&format!("/api/v1/users/{USER}/entries")).await.json();
    let listed: Vec<(i64, String)> = entries["Entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["Sequence"].as_i64().unwrap(), entry["CreatedAt"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(listed.len(), 8);
    assert!(listed.is_sorted_by(|newer, older| newer.0 == older.0 + 1 && newer.1 >= older.1), "{listed:?}");
    assert!(listed[0].1 > listed[7].1, "{listed:?}");
    assert_eq!(faulty.health.clock_steps(), 3, "an hour back, an hour forth, and ten thousand seconds forth");
}

/// A charge by REST and one by gRPC at the same time.
async fn both(client: &Client, event: i64) -> [Reply; 2] {
    tokio::join!(charge(client, Protocol::Rest, event), charge(client, Protocol::Grpc, event + 1)).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_another_process_is_waited_for_but_not_for_ever() {
    let app = App::spawn_with(|settings| settings.lock_timeout_ms = 1_500).await;
    let client = app.client().await;
    client.create_wallet(USER, 1_000).await;
    for round in 0..3 {
        let lock = app.hold_write_lock();
        let release = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            drop(lock);
        };
        let (replies, ()) = tokio::join!(both(&client, 100 + 2 * round), release);
        for reply in replies {
            assert!(matches!(reply, Reply::Done { replayed: false, .. }), "a short lock is not noticed: {reply:?}");
        }
        assert_eq!(app.get("/api/v1/healthcheck").await.status, 200);
    }
    let lock = app.hold_write_lock();
    assert_eq!(both(&client, 200).await, [Reply::Unavailable, Reply::Unavailable]);
    assert_eq!(client.wallet(Protocol::Rest, USER).await, Reply::done(994), "reads go on");
    drop(lock);
    for reply in both(&client, 200).await {
        assert!(matches!(reply, Reply::Done { .. }), "work resumes: {reply:?}");
    }
    assert_eq!(client.wallet(Protocol::Rest, USER).await, Reply::done(992), "each charge is taken once");
}
