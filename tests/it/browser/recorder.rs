//! A server between a browser and the service: it hands on what it gets as it is, and remembers it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::{Html, Response};
use axum::routing::{any, get};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A request that reached the service, and how it was answered.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub method: String,
    pub headers: HeaderMap,
    pub status: u16,
    pub answer: HeaderMap,
}

impl Exchange {
    /// A header of the request; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header is text"))
    }

    /// The media type of what was sent, without its parameters.
    pub fn media_type(&self) -> &str {
        self.header("content-type").split(';').next().unwrap_or_default()
    }
}

/// It serves an empty page at `/`; all below `/api/` goes to the service.
pub struct Recorder {
    pub port: u16,
    seen: Arc<watch::Sender<Vec<Exchange>>>,
}

impl Recorder {
    pub async fn start(service: SocketAddr) -> Self {
        let seen = Arc::new(watch::Sender::new(Vec::new()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        let sender = Arc::clone(&seen);
        let hand_on = move |request: Request| hand_on(client.clone(), service, Arc::clone(&sender), request);
        let page = || async { Html("<!doctype html><title>A page</title><link rel=icon href=data:,>") };
        let router = Router::new().route("/", get(page)).route("/api/{*path}", any(hand_on));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { port, seen }
    }

    /// The first so many requests that were answered; waits for them.
    pub async fn seen(&self, count: usize) -> Vec<Exchange> {
        let mut seen = self.seen.subscribe();
        let all = seen.wait_for(|seen| seen.len() >= count).await.expect("it serves");
        all.clone()
    }
}

async fn hand_on(
    client: Client<HttpConnector, Body>,
    service: SocketAddr,
    seen: Arc<watch::Sender<Vec<Exchange>>>,
    mut request: Request,
) -> Response {
    let (method, headers) = (request.method().to_string(), request.headers().clone());
    // `Host` stays as it is: that is what the service goes by.
    *request.uri_mut() = format!("http://{service}{}", request.uri()).parse().expect("a URL");
    let response = client.request(request).await.expect("the service answers");
    let (status, answer) = (response.status().as_u16(), response.headers().clone());
    seen.send_modify(|seen| seen.push(Exchange { method, headers, status, answer }));
    response.map(Body::new)
}
