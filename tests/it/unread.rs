//! Callers who never read: they lose their call or their connection in time, and keep nobody out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tonic::body::Body;
use wallet::api::grpc::proto::transact_request::Command;
use wallet::api::grpc::proto::{ChargeRequest, GetCheckpointRequest, GetWalletRequest, TransactRequest};
use wallet::server::Timeouts;

use crate::support::app::App;
use crate::support::seed::rounds;

const WRITE: Duration = Duration::from_millis(400);
/// By when a caller must have been dropped. The timeouts are shorter; the rest is for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

async fn app(connections_max: u32) -> App {
    let timeouts = Timeouts { write_timeout: WRITE, ..Timeouts::default() };
    let app = App::spawn_with_timeouts(|settings| settings.connections_max = connections_max, timeouts).await;
    app.create_user(1, "1000.00").await;
    app
}

/// A client that answers pings, with a window of so many bytes for each answer, and one for all of them.
async fn client(
    addr: SocketAddr,
    window: u32,
    connection_window: u32,
) -> (SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window).initial_connection_window_size(connection_window);
    let (sender, connection) = builder.handshake(io).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn framed(message: &impl Message) -> Bytes {
    let bytes = message.encode_to_vec();
    Bytes::from([&[0][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), &bytes].concat())
}

/// Sends a call; its answer, whose body nobody reads.
async fn call(client: &mut SendRequest<Body>, method: &str, messages: Vec<Bytes>, ends: bool) -> Incoming {
    client.ready().await.unwrap();
    let rest = stream::pending().take(usize::from(!ends));
    let messages = stream::iter(messages).chain(rest).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    let request = axum::http::Request::post(format!("http://wallet/wallet.v1.WalletService/{method}"))
        .header("content-type", "application/grpc")
        .body(Body::new(StreamBody::new(messages)))
        .unwrap();
    client.send_request(request).await.unwrap().into_body()
}

fn charges(count: i64) -> Vec<Bytes> {
    let charge = |event| {
        let (user_id, event_id, amount_minor) = (Some(1), Some(event), Some(1));
        let command = Command::Charge(ChargeRequest { user_id, event_id, amount_minor, round_id: None });
        framed(&TransactRequest { command: Some(command) })
    };
    (0..count).map(charge).collect()
}

fn wallet() -> Vec<Bytes> {
    vec![framed(&GetWalletRequest { user_id: Some(1), at: None })]
}

/// Waits until the service has reset calls of which nothing was read.
async fn reset() {
    // Nothing is read before: this would open the window.
    tokio::time::sleep(4 * WRITE).await;
}

/// Whether a call has ended with an error.
async fn is_reset(mut answer: Incoming) -> bool {
    let rest = async {
        while let Some(frame) = answer.frame().await {
            if frame.is_err() {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(LIMIT, rest).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_client_never_opens_its_window_is_reset_and_the_connection_goes_on() {
    let app = app(100).await;
    let (mut client, connection) = client(app.grpc, 0, 1 << 20).await;
    let mut answers = Vec::new();
    for _ in 0..rounds(10, 200) {
        answers.push(call(&mut client, "GetWallet", wallet(), true).await);
    }
    answers.push(call(&mut client, "Transact", charges(10), false).await);
    let count = answers.len();
    reset().await;
    for answer in answers {
        assert!(is_reset(answer).await);
    }
    drop(call(&mut client, "GetWallet", wallet(), true).await);
    assert!(!connection.is_finished());
    println!("{count} calls that were not read, each reset; the connection went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_answers_are_not_read_is_reset() {
    let app = app(100).await;
    // Of a window for each call, and of one for all: one of them is full.
    for (window, connection_window) in [(1_000, 1 << 20), (1 << 20, 65_535)] {
        let (mut client, connection) = client(app.grpc, window, connection_window).await;
        let answer = call(&mut client, "Transact", charges(10_000), false).await;
        reset().await;
        assert!(is_reset(answer).await);
        assert!(!connection.is_finished());
        let mut checkpoint = call(&mut client, "GetCheckpoint", vec![framed(&GetCheckpointRequest {})], true).await;
        assert!(checkpoint.frame().await.unwrap().unwrap().is_data(), "the connection goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_with_an_answer_that_is_read_in_part_is_closed_in_time() {
    let app = app(100).await;
    let (mut client, connection) = client(app.grpc, 1, 1 << 20).await;
    let begun = Instant::now();
    // One byte of it may be sent: it is the library's from then on.
    let _unread = call(&mut client, "GetWallet", wallet(), true).await;
    let closed = tokio::time::timeout(LIMIT, connection).await.expect("it is closed");
    println!("closed after {:?}: {closed:?}", begun.elapsed());
    assert!(begun.elapsed() >= 2 * WRITE, "{:?}", begun.elapsed());
}

/// A client whose system takes little, which asks for more than that and reads nothing.
async fn unreading(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    // As much as the service reads.
    let _ = tokio::time::timeout(WRITE / 4, stream.write_all(bytes)).await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_nothing_do_not_keep_others_out() {
    let clients = rounds(30, 200);
    let app = app(u32::try_from(clients).unwrap()).await;
    let requests = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20);
    let begun = Instant::now();
    let hold = (0..clients).map(|_| unreading(app.http, &requests));
    let held = futures::future::join_all(hold).await;
    let mut honest = TcpStream::connect(app.http).await.unwrap();
    honest.write_all(b"GET /api/v1/healthcheck HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(LIMIT, honest.read_exact(&mut answer)).await.expect("it is let in").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    println!("{} clients that read nothing; another was served after {:?}", held.len(), begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_that_reads_nothing_from_its_socket_is_dropped() {
    let app = app(100).await;
    let mut first = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // Pings: each is answered, and no window holds the answers back.
    first.extend(b"\0\0\x08\x06\0\0\0\0\0pingping".repeat(10_000));
    let mut stream = unreading(app.grpc, &first).await;
    let ping = b"\0\0\x08\x06\0\0\0\0\0pingping".repeat(100);
    let begun = Instant::now();
    while stream.write_all(&ping).await.is_ok() {
        assert!(begun.elapsed() < LIMIT, "it is not dropped");
    }
    println!("dropped after {:?}", begun.elapsed());
}
