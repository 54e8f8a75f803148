//! A receiver of webhooks: it checks each post, and answers as a test says.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use standardwebhooks::Webhook;
use tokio::sync::watch;

use super::server::{Identity, serve};

/// The secret of the tests.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// Another one, that replaces it.
pub const NEXT_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How a post is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Taken,
    /// It is taken, and the answer is lost.
    TakenUnheard,
    Status(u16),
    /// 429, and how long to wait.
    TooMany(&'static str),
    /// Nothing, until the relay gives up.
    Silence,
    /// The end of the connection.
    Close,
}

/// A post as it came.
#[derive(Clone, Debug)]
pub struct Post {
    pub id: String,
    pub body: String,
    pub answer: Answer,
    pub at: Instant,
    /// Whether it passed every check.
    is_sound: bool,
}

impl Post {
    pub fn is_taken(&self) -> bool {
        matches!(self.answer, Answer::Taken | Answer::TakenUnheard)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a body is JSON")
    }

    /// The entries of it.
    pub fn entries(&self) -> Vec<Value> {
        self.json()["data"]["entries"].as_array().expect("a body has entries").clone()
    }

    /// The numbers of its entries.
    pub fn entry_ids(&self) -> Vec<i64> {
        self.entries().iter().map(|entry| entry["EntryId"].as_i64().expect("an entry has a number")).collect()
    }
}

/// A running receiver.
pub struct Receiver {
    pub url: String,
    posts: watch::Sender<Vec<Post>>,
}

impl Receiver {
    /// Starts one that gives each post, the first of which is 0, the answer that `answer` says.
    pub async fn start(answer: impl FnMut(usize) -> Answer + Send + 'static) -> Self {
        Self::start_with(None, answer).await
    }

    /// The same with TLS.
    pub async fn start_with(identity: Option<&Identity>, answer: impl FnMut(usize) -> Answer + Send + 'static) -> Self {
        let posts = watch::Sender::new(Vec::new());
        let (seen, answer) = (posts.clone(), Arc::new(Mutex::new(answer)));
        let service = service_fn(move |request: Request<Incoming>| {
            let (seen, answer) = (seen.clone(), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
                // Not to end this task alone: whoever waits for the posts fails.
                let is_sound = panic::catch_unwind(AssertUnwindSafe(|| check(&head, &body))).is_ok();
                let (id, body) = (text(&head.headers, "webhook-id"), String::from_utf8_lossy(&body).into_owned());
                let mut given = Answer::Close;
                seen.send_modify(|posts: &mut Vec<Post>| {
                    given = (answer.lock().expect("nobody panicked"))(posts.len());
                    posts.push(Post { id, body, answer: given, at: Instant::now(), is_sound });
                });
                respond(given).await
            }
        });
        let addr = serve(identity, service).await;
        let scheme = if identity.is_some() { "https" } else { "http" };
        Self { url: format!("{scheme}://localhost:{}/wallet", addr.port()), posts }
    }

    /// Waits until the posts are as wanted, and returns them.
    pub async fn wait(&self, wanted: impl Fn(&[Post]) -> bool) -> Vec<Post> {
        let mut posts = self.posts.subscribe();
        let wanted = |posts: &Vec<Post>| {
            assert!(posts.iter().all(|post| post.is_sound), "{posts:?}");
            wanted(posts)
        };
        posts.wait_for(wanted).await.expect("it runs").clone()
    }

    pub fn posts(&self) -> Vec<Post> {
        self.posts.borrow().clone()
    }
}

/// Checks what a receiver must be able to rely on; each signature with the crate, and by hand.
fn check(head: &Parts, body: &Bytes) {
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/wallet"));
    assert_eq!(head.headers[CONTENT_TYPE], "application/json");
    Webhook::new(SECRET).expect("a secret").verify(body, &head.headers).expect("the crate finds a signature of ours");
    let header = |name: &str| text(&head.headers, name);
    let expected = sign(SECRET, &header("webhook-id"), &header("webhook-timestamp"), body);
    assert!(header("webhook-signature").split(' ').any(|signature| signature == expected), "{:?}", head.headers);
}

async fn respond(answer: Answer) -> io::Result<Response<Full<Bytes>>> {
    let response = Response::builder();
    let response = match answer {
        Answer::Taken => response.status(204),
        Answer::TakenUnheard | Answer::Close => return Err(io::Error::other("closed")),
        Answer::Status(status) => response.status(status).header(LOCATION, "/elsewhere"),
        Answer::TooMany(wait) => response.status(429).header(RETRY_AFTER, wait),
        Answer::Silence => std::future::pending().await,
    };
    Ok(response.body(Full::default()).expect("an answer"))
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map_or("", |value| value.to_str().expect("a header is text")).to_owned()
}

/// The signature of the standard, written anew: HMAC (RFC 2104) with SHA-256 over id, time and body.
pub fn sign(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut key = [0_u8; 64];
    let secret = BASE64.decode(secret.trim_start_matches("whsec_")).expect("Base64");
    key[..secret.len()].copy_from_slice(&secret);
    let padded = |pad: u8| key.map(|byte| byte ^ pad);
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(signed).finalize();
    let outer = Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize();
    format!("v1,{}", BASE64.encode(outer))
}

#[test]
fn the_example_of_the_standard_has_its_signature() {
    let body = br#"{"email":"test@example.com","username":"test_user"}"#;
    let signature = sign(SECRET, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", "1649367553", body);
    assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
}
