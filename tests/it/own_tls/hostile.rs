//! Clients that are slow or hostile, over TLS.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use wallet::server::Timeouts;

use super::Secure;
use super::dial::{HEALTHCHECK, HTTP1, HTTP2};

const HEAD: Duration = Duration::from_millis(400);
/// By when a client must have been dropped. The timeouts are shorter; the rest is for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_secs(2);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A service in which nothing but an idle connection may last longer than the limit.
async fn secure(connections_max: u32) -> Secure {
    secure_with(connections_max, Timeouts::default().idle_timeout).await
}

async fn secure_with(connections_max: u32, idle_timeout: Duration) -> Secure {
    let timeouts = Timeouts { head_timeout: HEAD, idle_timeout, write_timeout: HEAD, ..Timeouts::default() };
    assert!(idle_timeout == IDLE || idle_timeout > LIMIT);
    Secure::spawn_with(None, connections_max, timeouts).await
}

/// How long it takes until a connection is closed, in order or not. What comes before that is not looked at.
async fn closed(mut stream: impl AsyncRead + Unpin) -> Duration {
    let begun = Instant::now();
    let rest = async { while stream.read(&mut [0; 4_096]).await.is_ok_and(|length| length > 0) {} };
    tokio::time::timeout(LIMIT, rest).await.expect("it is closed");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_to_its_end_is_given_up() {
    let secure = secure(100).await;
    for addr in [secure.app.http, secure.app.grpc] {
        // Nothing; a first byte; a record that says that it is longer; a record that is no handshake; nonsense in one.
        let beginnings = [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16\x03\x01"];
        for beginning in beginnings {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(beginning).await.unwrap();
            let took = closed(stream).await;
            assert!(took >= HEAD / 2, "{beginning:?}: {took:?}");
        }
        for nonsense in [&b"\x16\x03\x01\x00\x05nonse"[..], b"\x16\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(nonsense).await.unwrap();
            closed(stream).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_do_nothing_keep_honest_clients_out_for_no_longer_than_a_head_may_take() {
    let secure = secure(10).await;
    let mut held = Vec::new();
    for _ in 0..30 {
        held.push(TcpStream::connect(secure.app.http).await.unwrap());
    }
    let begun = Instant::now();
    let honest = secure.dialer();
    let honest = tokio::time::timeout(LIMIT, honest.get(secure.app.http, HTTP1, HEALTHCHECK)).await.expect("in time");
    assert_eq!(honest.unwrap().status, 200);
    assert!(begun.elapsed() >= HEAD, "each takes a place: {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_no_preface_after_its_handshake_is_closed_in_time() {
    let secure = secure(100).await;
    let dialer = secure.dialer();
    for addr in [secure.app.http, secure.app.grpc] {
        closed(dialer.handshake(addr, HTTP2).await.unwrap()).await;
        let mut half = dialer.handshake(addr, HTTP2).await.unwrap();
        half.write_all(&PREFACE[..7]).await.unwrap();
        closed(half).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_calls_is_closed_when_it_has_been_idle() {
    let secure = secure_with(100, IDLE).await;
    let dialer = secure.dialer();
    let took = closed(dialer.handshake(secure.app.http, HTTP1).await.unwrap()).await;
    assert!(took >= IDLE / 2, "{took:?}");
    for addr in [secure.app.http, secure.app.grpc] {
        let mut idle = dialer.handshake(addr, HTTP2).await.unwrap();
        idle.write_all(&[PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat()).await.unwrap();
        let took = closed(idle).await;
        assert!(took >= IDLE / 2, "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preface_may_come_in_pieces() {
    let secure = secure(100).await;
    let mut stream = secure.dialer().handshake(secure.app.grpc, HTTP2).await.unwrap();
    for piece in PREFACE.chunks(7) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
    }
    stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.expect("the service's settings");
    assert_eq!(head[3], 4, "{head:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_whole_is_given_up() {
    let secure = secure(100).await;
    let mut stream = secure.dialer().handshake(secure.app.http, HTTP1).await.unwrap();
    stream.write_all(b"GET /api/v1/healthcheck HTTP/1.1\r\nhost").await.unwrap();
    let took = closed(stream).await;
    assert!(took >= HEAD / 2, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_nothing_do_not_keep_others_out() {
    let secure = secure(4).await;
    let dialer = secure.dialer();
    let requests = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20);
    let mut held = Vec::new();
    for _ in 0..4 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = socket.connect(secure.app.http).await.unwrap();
        let mut stream = dialer.handshake_over(stream, HTTP1).await.unwrap();
        // As much as the service reads.
        let _ = tokio::time::timeout(HEAD / 4, stream.write_all(&requests)).await;
        held.push(stream);
    }
    let begun = Instant::now();
    let honest = tokio::time::timeout(LIMIT, dialer.get(secure.app.http, HTTP1, HEALTHCHECK)).await;
    assert_eq!(honest.expect("it is let in").unwrap().status, 200);
    println!("{} clients that read nothing over TLS; another was served after {:?}", held.len(), begun.elapsed());
}
