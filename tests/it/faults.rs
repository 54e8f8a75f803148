//! A panic, a disk that hangs, a clock that jumps, a lock in other hands: the service goes on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{ChargeRequest, CreateWalletRequest, GetWalletRequest};
use wallet::engine::{Clock, SystemClock};
use wallet::ledger::{Command, Timestamp};

use crate::support::app::{App, HttpReply, Rest};
use crate::support::faulty::{Faulty, PANICS};

const USER: i64 = 1;

async fn channel(addr: std::net::SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap()
}

/// Clients of both doors, and a wallet with ten euros.
async fn doors(faulty: &Faulty) -> (Rest, WalletServiceClient<Channel>) {
    let mut grpc = WalletServiceClient::new(channel(faulty.grpc).await);
    grpc.create_wallet(CreateWalletRequest { user_id: USER, opening_balance_minor: 1_000 }).await.unwrap();
    (Rest::at(faulty.http), grpc)
}

async fn charge(rest: &Rest, event: i64) -> HttpReply {
    rest.post("/api/v1/charge", &format!(r#"{{"UserId":{USER},"EventId":{event},"Amount":0.01}}"#)).await
}

fn by_grpc(event_id: i64) -> ChargeRequest {
    ChargeRequest { user_id: USER, event_id, amount_minor: 1 }
}

fn assert_internal(reply: &HttpReply, status: &Status) {
    assert_eq!((reply.status, reply.header("wallet-reason")), (500, "INTERNAL"), "{}", reply.text());
    assert!(reply.text().starts_with(r#"{"success":false,"error":"#), "{}", reply.text());
    assert_eq!((status.code(), status.get_details_error_info().unwrap().reason.as_str()), (Code::Internal, "INTERNAL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_handler_is_an_internal_error_and_no_more() {
    let faulty = Faulty::spawn(|_| (), SystemClock).await;
    let (rest, mut grpc) = doors(&faulty).await;
    for event in 0..10 {
        let reply = rest.get(&format!("/api/v1/users/{PANICS}")).await;
        let status = grpc.get_wallet(GetWalletRequest { user_id: PANICS, at: None }).await.unwrap_err();
        assert_internal(&reply, &status);
        assert_eq!(charge(&rest, event).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_over_a_command_fails_that_command_alone_and_is_counted() {
    const BAD: i64 = 13;
    let panics = |batch: &[Command]| {
        assert!(batch.iter().all(|command| command.event_id.get() != BAD), "a bug, planted by a test");
    };
    let faulty = Faulty::spawn(panics, SystemClock).await;
    let (rest, grpc) = doors(&faulty).await;
    let mut callers = JoinSet::new();
    for event in 0..40 {
        let (rest, mut grpc) = (rest.clone(), grpc.clone());
        callers.spawn(async move {
            let (reply, status) = (charge(&rest, event).await, grpc.charge(by_grpc(event)).await);
            if event == BAD {
                assert_internal(&reply, &status.unwrap_err());
            } else {
                assert_eq!(reply.status, 200, "{}", reply.text());
                assert!(status.unwrap().into_inner().replayed, "both doors lead to one ledger");
            }
        });
    }
    callers.join_all().await;
    let panics = faulty.health.panics();
    assert!(panics >= 2, "{panics}");
    assert_eq!(rest.get("/api/v1/healthcheck").await.status, 200, "it can commit");
    println!("{panics} panics of the worker, 39 commands beside them done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_stands_still_turns_health_until_it_is_done() {
    const STUCK: i64 = 13;
    let (release, released) = mpsc::channel::<()>();
    let hangs = move |batch: &[Command]| {
        if batch.iter().any(|command| command.event_id.get() == STUCK) {
            let _ = released.recv_timeout(Duration::from_secs(30));
        }
    };
    let faulty = Faulty::spawn(hangs, SystemClock).await;
    let (rest, mut grpc) = doors(&faulty).await;
    let request = HealthCheckRequest { service: "wallet.v1.WalletService".to_owned() };
    let mut watched = HealthClient::new(channel(faulty.grpc).await).watch(request).await.unwrap().into_inner();
    let mut next = async || watched.message().await.unwrap().map(|told| told.status());
    assert_eq!(next().await, Some(ServingStatus::Serving));

    let stuck = tokio::spawn({
        let rest = rest.clone();
        async move { charge(&rest, STUCK).await }
    });
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(rest.get("/api/v1/healthcheck").await.status, 503);
    let wallet = grpc.get_wallet(GetWalletRequest { user_id: USER, at: None }).await.unwrap();
    assert_eq!(wallet.into_inner().balance_minor, 1_000, "reads go on");
    release.send(()).unwrap();
    assert_eq!(stuck.await.unwrap().status, 200, "what stood still is done");
    assert_eq!(next().await, Some(ServingStatus::Serving));
    assert_eq!(rest.get("/api/v1/healthcheck").await.status, 200);
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
    let (rest, _) = doors(&faulty).await;
    for event in 0..7 {
        assert_eq!(charge(&rest, event).await.status, 200);
    }
    let entries = rest.get(&format!("/api/v1/users/{USER}/entries")).await.json();
    let told: Vec<(i64, String)> = entries["Entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["Sequence"].as_i64().unwrap(), entry["CreatedAt"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(told.len(), 8);
    assert!(told.is_sorted_by(|newer, older| newer.0 == older.0 + 1 && newer.1 >= older.1), "{told:?}");
    assert!(told[0].1 > told[7].1, "{told:?}");
}

/// A charge by REST and one by gRPC at the same time.
async fn both(app: &App, grpc: &mut WalletServiceClient<Channel>, event: i64) -> (HttpReply, Result<i64, Status>) {
    let body = format!(r#"{{"UserId":{USER},"EventId":{event},"Amount":0.01}}"#);
    let (reply, status) = tokio::join!(app.post("/api/v1/charge", &body), grpc.charge(by_grpc(event + 1)));
    (reply, status.map(|response| response.into_inner().balance_minor))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_in_other_hands_is_waited_for_but_not_for_ever() {
    let app = App::spawn_with(|settings| settings.lock_timeout_ms = 1_500).await;
    app.create_user(USER, "10.00").await;
    let mut grpc = WalletServiceClient::new(app.channel().await);
    for round in 0..3 {
        let lock = app.hold_write_lock();
        let release = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            drop(lock);
        };
        let ((reply, status), ()) = tokio::join!(both(&app, &mut grpc, 100 + 2 * round), release);
        assert_eq!(reply.status, 200, "nobody notices: {}", reply.text());
        status.expect("nobody notices");
        assert_eq!(app.get("/api/v1/healthcheck").await.status, 200);
    }
    let lock = app.hold_write_lock();
    let (reply, status) = both(&app, &mut grpc, 200).await;
    let status = status.unwrap_err();
    assert_eq!((reply.status, reply.header("wallet-reason")), (503, "UNAVAILABLE"), "{}", reply.text());
    assert!(!reply.header("retry-after").is_empty());
    assert_eq!(
        (status.code(), status.get_details_error_info().unwrap().reason.as_str()),
        (Code::Unavailable, "UNAVAILABLE")
    );
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(app.get(&format!("/api/v1/users/{USER}")).await.status, 200, "reads go on");
    drop(lock);
    let (reply, status) = both(&app, &mut grpc, 200).await;
    assert_eq!((reply.status, status.is_ok()), (200, true), "work resumes");
    let wallet = app.get(&format!("/api/v1/users/{USER}")).await;
    assert!(wallet.text().contains(r#""AccountBalance":9.92"#), "each once: {}", wallet.text());
}
