//! A client of Server-Sent Events.

use std::net::SocketAddr;

use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::select;
use tokio::task::JoinHandle;

/// A stream of events, on a connection of its own. It hangs up when it is dropped.
pub struct Events {
    pub status: u16,
    pub headers: HeaderMap,
    body: Incoming,
    /// What has come of the next event.
    text: String,
    connection: JoinHandle<()>,
}

/// An event, or a sign of life, which has no name and no data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub name: Option<String>,
    pub data: Option<String>,
}

impl Events {
    /// `None` if no answer came.
    pub async fn open(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Option<Self> {
        Self::open_on(TcpStream::connect(addr).await.ok()?, path, headers).await
    }

    /// The same on a connection that is there already.
    pub async fn open_on(socket: TcpStream, path: &str, headers: &[(&str, &str)]) -> Option<Self> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.ok()?;
        let mut connection = tokio::spawn(async { drop(connection.await) });
        let mut request = Request::get(path).header("host", "a");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // hyper leaves a request without an answer for ever if the connection ends just when it is sent
        // (hyperium/hyper#4122).
        let response = select! {
            biased;
            response = sender.send_request(request.body(Empty::<Bytes>::new()).expect("a request")) => response.ok()?,
            _ = &mut connection => return None,
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Some(Self { status, headers, body: response.into_body(), text: String::new(), connection })
    }

    /// The next event or sign of life; `None` at the end of the stream, however it ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (parse(event), rest.to_owned());
                self.text = rest;
                return Some(event);
            }
            let frame = self.body.frame().await?.ok()?;
            let bytes = frame.into_data().unwrap_or_default();
            self.text.push_str(std::str::from_utf8(&bytes).expect("each piece is text"));
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Reads the fields of an event, as the HTML standard has them.
fn parse(text: &str) -> Event {
    let mut event = Event { id: String::new(), name: None, data: None };
    for line in text.lines() {
        let (field, value) = line.split_once(':').expect("a field");
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => (),
            "id" => event.id = value,
            "event" => event.name = Some(value),
            "data" => event.data = Some(value),
            _ => panic!("there is no field {field}: {text}"),
        }
    }
    event
}
