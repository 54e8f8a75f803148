//! Hostile clients, slow and flooding: they are dropped on time, and honest callers are served throughout.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tonic::Code;
use wallet::engine::SystemClock;
use wallet::server::Timeouts;

use crate::support::app::App;
use crate::support::client::{Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::faulty::Faulty;
use crate::support::ledger::TestLedger;
use crate::support::process::Process;
use crate::support::seed::rounds;

/// By when a hostile client must have been dropped. The time-outs are shorter; the rest is for a busy machine.
const LIMIT: Duration = Duration::from_secs(15);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An HTTP/2 frame, by its type, flags, stream and payload (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// A client's first bytes.
fn greeting() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

fn after_greeting(frames: &[u8]) -> Vec<u8> {
    [&greeting(), frames].concat()
}

/// The header block of a call: POST, http, its path (HPACK, RFC 7541: indexed fields, and literals without Huffman).
fn call_headers() -> Vec<u8> {
    let literal = |name: &[u8], text: &str| [name, &[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // The names are numbers of the static table: :path is 4, :authority 1, content-type 31.
    [
        &[0x83, 0x86][..],
        &literal(&[4], "/wallet.v1.WalletService/Charge"),
        &literal(&[1], "x"),
        &literal(&[0x0f, 31 - 15], "application/grpc"),
    ]
    .concat()
}

/// Plays a hostile client until the service hangs up; how long that took, if it did.
fn until_dropped(Hostile { addr, first, more, pause, .. }: &Hostile) -> Option<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(addr).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(1))).ok()?;
    stream.set_write_timeout(Some(LIMIT)).ok()?;
    let mut gone = stream.write_all(first).is_err();
    let mut buffer = vec![0; 64 * 1024];
    while !gone {
        if begun.elapsed() > LIMIT {
            return None;
        }
        gone = !more.is_empty() && stream.write_all(more).is_err();
        std::thread::sleep(*pause);
        gone |= match stream.read(&mut buffer) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
        };
    }
    Some(begun.elapsed())
}

/// A call that is opened and has no message yet.
fn opened(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &call_headers())
}

/// What cancels a call, as its client's deadline does.
fn cancelled(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

fn opened_and_cancelled(stream: u32) -> Vec<u8> {
    [opened(stream), cancelled(stream)].concat()
}

/// A message of a charge of 1.00, which may be the call's last frame.
fn charge(stream: u32, event: u8, flags: u8) -> Vec<u8> {
    frame(DATA, flags, stream, &[0, 0, 0, 0, 6, 0x08, 1, 0x10, event, 0x18, 100])
}

const END_STREAM: u8 = 1;

/// Reads until an answer to this call begins; false if the service hangs up before.
fn is_answered(socket: &mut TcpStream, stream: u32) -> bool {
    let mut head = [0; 9];
    while socket.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        if socket.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).is_err() {
            return false;
        }
        if head[3] == HEADERS && head[5..] == stream.to_be_bytes() {
            return true;
        }
    }
    false
}

fn connect(addr: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.write_all(&greeting()).unwrap();
    socket
}

/// One way to be hostile.
struct Hostile {
    /// What such a client does.
    name: &'static str,
    addr: SocketAddr,
    /// What it sends first.
    first: Vec<u8>,
    /// What it sends again and again after that.
    more: Vec<u8>,
    /// How long it waits in between.
    pause: Duration,
}

const PAUSE: Duration = Duration::from_millis(50);

impl Hostile {
    fn new(name: &'static str, addr: SocketAddr, first: impl Into<Vec<u8>>) -> Self {
        Self { name, addr, first: first.into(), more: Vec::new(), pause: PAUSE }
    }

    fn more(self, more: impl Into<Vec<u8>>) -> Self {
        Self { more: more.into(), ..self }
    }

    fn without_pause(self) -> Self {
        Self { pause: Duration::ZERO, ..self }
    }
}

/// What the slow ones do: a time-out ends each of them.
fn slow(rest: SocketAddr, grpc: SocketAddr) -> Vec<Hostile> {
    let open_call = opened(1);
    vec![
        Hostile::new("sends nothing to REST", rest, ""),
        Hostile::new("sends nothing to gRPC", grpc, ""),
        Hostile::new("sends headers slowly", rest, "GET / HTTP/1.1\r\nx: ").more("y"),
        Hostile::new("sends half a request line", rest, "GET /api"),
        Hostile::new("is idle after a request", rest, "GET /api/v1/healthcheck HTTP/1.1\r\nhost: x\r\n\r\n"),
        Hostile::new("sends half a preface", grpc, &PREFACE[..11]),
        Hostile::new("sends a preface and no more", grpc, PREFACE),
        Hostile::new("sends half a frame", grpc, after_greeting(&frame(HEADERS, 0, 1, &[0; 100])[..30])),
        Hostile::new("answers no ping", grpc, greeting()),
        Hostile::new("opens a call and is gone", grpc, after_greeting(&open_call)),
        Hostile::new("speaks HTTP/1.1 to gRPC", grpc, "GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
        Hostile::new("speaks HTTP/2 to REST", rest, greeting()),
    ]
}

/// What the flooding ones do. No time-out is short enough to drop them: only the limits of the protocol do.
fn flooding(rest: SocketAddr, grpc: SocketAddr) -> Vec<Hostile> {
    let resets: Vec<u8> = (0..50_000).flat_map(|number| opened_and_cancelled(2 * number + 1)).collect();
    let unended = after_greeting(&frame(HEADERS, 0, 1, &call_headers()));
    let continuation = frame(CONTINUATION, 0, 1, &[0x40; 8_192]);
    let empty = frame(CONTINUATION, 0, 1, &[]).repeat(500);
    let large_header = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "y".repeat(1024 * 1024));
    let many_headers = ["GET / HTTP/1.1\r\n", &"x: y\r\n".repeat(1_000), "\r\n"].concat();
    let large_body = "POST /api/v1/charge HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
        content-length: 1099511627776\r\n\r\n{";
    vec![
        Hostile::new("resets every call at once", grpc, after_greeting(&resets)).without_pause(),
        Hostile::new("never ends its headers", grpc, unended.clone()).more(continuation).without_pause(),
        Hostile::new("sends empty continuations", grpc, unended).more(empty).without_pause(),
        Hostile::new("sends a frame larger than allowed", grpc, after_greeting(&frame(DATA, 0, 1, &[0; 100_000])))
            .without_pause(),
        Hostile::new("sends a header of a megabyte", rest, large_header),
        Hostile::new("sends a thousand headers", rest, many_headers),
        Hostile::new("promises a body of a terabyte", rest, large_body),
    ]
}

/// Charges by REST and wins by gRPC until `stop` is set; how many calls were served, and how long the slowest took.
async fn honest(app: Arc<App>, stop: Arc<AtomicBool>) -> (i64, Duration) {
    let client = app.client().await;
    let (mut number, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let charged = client.send(Protocol::Rest, PlainCommand::charge(1, number, 1)).await;
        assert_eq!(charged, Reply::done(999));
        let won = client.send(Protocol::Grpc, PlainCommand::win(1, number, 1)).await;
        assert_eq!(won, Reply::done(1_000));
        slowest = slowest.max(begun.elapsed());
        number += 1;
    }
    (2 * number, slowest)
}

/// Starts three of each kind of hostile client, and an honest one.
async fn withstand(timeouts: Timeouts, kinds: fn(SocketAddr, SocketAddr) -> Vec<Hostile>) {
    let app = Arc::new(App::spawn_with_timeouts(|_| (), timeouts).await);
    app.create_user(1, "10.00").await;
    let stop = Arc::new(AtomicBool::new(false));
    let honest = tokio::spawn(honest(Arc::clone(&app), Arc::clone(&stop)));
    let mut hostile = Vec::new();
    for kind in kinds(app.http, app.grpc).into_iter().map(Arc::new) {
        for _ in 0..3 {
            let (name, kind) = (kind.name, Arc::clone(&kind));
            hostile.push((name, tokio::task::spawn_blocking(move || until_dropped(&kind))));
        }
    }
    let (clients, mut slowest) = (hostile.len(), Duration::ZERO);
    for (name, client) in hostile {
        let dropped = client.await.unwrap();
        assert!(dropped.is_some(), "a client that {name} is not dropped");
        slowest = slowest.max(dropped.unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    let (served, slowest_call) = honest.await.unwrap();
    println!(
        "{clients} hostile clients, the last dropped after {slowest:?}; {served} honest calls, \
         {slowest_call:?} at the most"
    );
    assert!(served > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_dropped_and_honest_ones_served() {
    let timeouts = Timeouts {
        head_timeout: Duration::from_millis(500),
        idle_timeout: Duration::from_millis(800),
        keep_alive_interval: Duration::from_millis(300),
        keep_alive_timeout: Duration::from_millis(300),
        ..Timeouts::default()
    };
    withstand(timeouts, slow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flooding_clients_are_dropped_and_honest_ones_served() {
    withstand(Timeouts::default(), flooding).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_the_hostile_clients_is_answered() {
    let app = App::spawn().await;
    tokio::task::block_in_place(|| {
        let mut socket = connect(app.grpc);
        socket.write_all(&[opened(1), charge(1, 1, END_STREAM)].concat()).unwrap();
        assert!(is_answered(&mut socket, 1));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_cancelled_calls_costs_nobody_their_connection() {
    let app = App::spawn().await;
    let bursts = rounds(2, 20);
    tokio::task::block_in_place(|| {
        let mut socket = connect(app.grpc);
        let mut stream = 1;
        for burst in 0..bursts {
            // All that may be open but one, which stays.
            let calls: Vec<u32> = (0..1_023).map(|number| stream + 2 * number).collect();
            stream += 2 * 1_023;
            let opened: Vec<u8> = calls.iter().copied().flat_map(opened).collect();
            let cancelled: Vec<u8> = calls.iter().copied().flat_map(cancelled).collect();
            socket.write_all(&[opened, cancelled].concat()).unwrap();
            let call = [self::opened(stream), charge(stream, 1, END_STREAM)].concat();
            socket.write_all(&call).unwrap();
            assert!(is_answered(&mut socket, stream), "burst {burst}");
            stream += 2;
            if burst > 0 {
                std::thread::sleep(Duration::from_millis(1_100));
            }
        }
    });
    println!("{bursts} bursts of 1023 cancelled calls on one connection, and each call after them answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_cancelled_calls_a_second_cost_their_client_its_connection() {
    let app = App::spawn().await;
    let begun = Instant::now();
    let cancelled = tokio::task::block_in_place(|| {
        let mut socket = connect(app.grpc);
        // Never so many at once that the HTTP library takes offence: four thousand a second.
        let mut stream = 1;
        let mut gone = false;
        while !gone {
            assert!(begun.elapsed() < LIMIT, "it is not dropped");
            let calls = (0..200).flat_map(|number| opened_and_cancelled(stream + 2 * number));
            gone = socket.write_all(&calls.collect::<Vec<u8>>()).is_err();
            stream += 400;
            std::thread::sleep(Duration::from_millis(50));
        }
        stream / 2
    });
    println!("dropped after {cancelled} cancelled calls and {:?}", begun.elapsed());
    assert!(cancelled >= 2_048, "a burst passes");
    assert_eq!(app.get("/api/v1/healthcheck").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cancelled_before_all_was_sent_is_not_done() {
    let app = App::spawn().await;
    app.create_user(1, "10.00").await;
    tokio::task::block_in_place(|| {
        let mut socket = connect(app.grpc);
        // Its message is whole, but another might have followed.
        socket.write_all(&[opened(1), charge(1, 1, 0), cancelled(1)].concat()).unwrap();
        socket.write_all(&[opened(3), charge(3, 2, END_STREAM)].concat()).unwrap();
        assert!(is_answered(&mut socket, 3));
    });
    let entries = app.get("/api/v1/users/1/entries").await;
    let entries = entries.json()["Entries"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 2, "the opening balance, and the second charge: {entries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_to_reflection_and_health_are_refused_unread() {
    let ledger = TestLedger::create();
    let process = Process::start(&ledger);
    let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<tonic::body::Body>();
    let before = process.memory_mib();
    let count = rounds(64, 1_000);
    let paths = ["grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "grpc.health.v1.Health/Watch"];
    let mut refused = 0;
    for number in 0..count {
        // A quarter of a message of 4 MiB, and that is all that ever comes.
        let quarter = [&[0, 0, 64, 0, 0][..], &vec![10; 1 << 20]].concat();
        let frames = futures::stream::iter([Ok::<_, tonic::Status>(Frame::data(Bytes::from(quarter)))]);
        let body = tonic::body::Body::new(StreamBody::new(frames.chain(futures::stream::pending())));
        let path = paths[usize::try_from(number).unwrap() % 2];
        let request = axum::http::Request::post(format!("http://{}/{path}", process.grpc))
            .header("content-type", "application/grpc")
            .body(body)
            .unwrap();
        let response = http.request(request).await.unwrap();
        let head = tonic::Status::from_header_map(response.headers());
        let trailers = response.into_body().collect().await.ok().and_then(|body| body.trailers().cloned());
        let status = head.or_else(|| tonic::Status::from_header_map(&trailers?)).expect("a status");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        refused += 1;
    }
    let after = process.memory_mib();
    println!("{refused} quarters of a message of 4 MiB refused; memory {before} to {after} MiB");
    assert!(after < before + 32, "{before} to {after} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_message_does_not_arrive_is_given_up() {
    let faulty = Faulty::spawn(|_| (), SystemClock).await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<tonic::body::Body>();
    // Five bytes say how long the message is, and that is all that ever comes.
    let head = Ok::<_, tonic::Status>(Frame::data(Bytes::from_static(&[0, 0, 0, 0, 9, 8])));
    let body = StreamBody::new(futures::stream::iter([head]).chain(futures::stream::pending()));
    let request = axum::http::Request::post(format!("http://{}/wallet.v1.WalletService/Charge", faulty.grpc))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(body))
        .unwrap();
    let response = client.request(request).await.unwrap();
    let status = tonic::Status::from_header_map(response.headers()).expect("a status");
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "Request took too long to arrive"));
    assert_eq!(faulty.client().await.http.get("/api/v1/healthcheck").await.status, 200);
    drop(response.into_body().collect().await);
}
