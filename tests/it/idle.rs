//! Connections that are idle: kept for as long as a setting says, and closed in order.

use std::time::{Duration, Instant};

use futures::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use wallet::api::grpc::proto::GetCheckpointRequest;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::server::Timeouts;

use crate::support::app::App;

const IDLE: Duration = Duration::from_millis(1_200);

/// A head may take much less than a connection may be idle.
fn timeouts() -> Timeouts {
    Timeouts { head_timeout: IDLE / 4, idle_timeout: IDLE, write_timeout: IDLE / 4, ..Timeouts::default() }
}

async fn app() -> App {
    App::spawn_with_timeouts(|_| (), timeouts()).await
}

/// Sends a request in two pieces with a pause, and reads the head of its answer.
async fn ask(stream: &mut TcpStream, pause: Duration) -> Option<String> {
    stream.write_all(b"GET /api/v1/healthcheck HTTP/1.1\r\n").await.ok()?;
    tokio::time::sleep(pause).await;
    stream.write_all(b"host: a\r\n\r\n").await.ok()?;
    let mut answer = vec![0; 1_024];
    let length = stream.read(&mut answer).await.ok()?;
    answer.truncate(length);
    String::from_utf8(answer).ok().filter(|answer| !answer.is_empty())
}

#[tokio::test]
async fn a_rest_connection_may_be_idle_longer_than_a_head_may_take() {
    let app = app().await;
    let mut stream = TcpStream::connect(app.http).await.unwrap();
    tokio::time::sleep(IDLE / 2).await;
    for _ in 0..3 {
        let answer = ask(&mut stream, IDLE / 16).await.expect("it is kept");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        tokio::time::sleep(IDLE / 2).await;
    }
    let idle_since = Instant::now();
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0, "it is closed in order");
    assert!(idle_since.elapsed() > IDLE / 4, "{:?}", idle_since.elapsed());
}

#[tokio::test]
async fn a_head_that_does_not_come_whole_is_given_up_whenever_it_begins() {
    let app = app().await;
    let mut stream = TcpStream::connect(app.http).await.unwrap();
    assert!(ask(&mut stream, Duration::ZERO).await.is_some());
    let begun = Instant::now();
    assert_eq!(ask(&mut stream, 3 * IDLE / 4).await, None);
    assert!(begun.elapsed() < 5 * IDLE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_grpc_connection_without_calls_is_closed_in_order() {
    let app = app().await;
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(app.grpc).await.unwrap());
    let builder = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
    let (_sender, connection) = builder.handshake::<_, tonic::body::Body>(io).await.unwrap();
    let begun = Instant::now();
    connection.await.expect("GOAWAY, and no error");
    assert!(begun.elapsed() > IDLE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_with_a_silent_stream_is_not_idle() {
    let app = app().await;
    let channel = app.channel().await;
    let mut client = WalletServiceClient::new(channel.clone());
    let mut silent = client.transact(stream::pending()).await.unwrap().into_inner();
    let mut watched = HealthClient::new(app.channel().await).watch(HealthCheckRequest::default()).await.unwrap();
    assert!(watched.get_mut().message().await.unwrap().is_some());
    let waited = 3 * IDLE;
    assert!(tokio::time::timeout(waited, silent.message()).await.is_err(), "the stream stays open");
    assert!(tokio::time::timeout(Duration::ZERO, watched.get_mut().message()).await.is_err(), "so does the other");
    client.get_checkpoint(GetCheckpointRequest {}).await.expect("so does the connection");
}
