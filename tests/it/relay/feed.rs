//! A service of which only the feed is there, to break as a test says.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::routing::post;
use futures::stream::{self, Stream, StreamExt as _};
use hyper_util::service::TowerToHyperService;
use prost_types::Timestamp;
use tokio::sync::watch;
use tonic::{Response, Status};
use tonic_prost::ProstCodec;
use wallet::api::grpc::WALLET_CURRENCY;
use wallet::api::grpc::proto::{Entry, EntryKind, WatchEntriesRequest, WatchEntriesResponse};

use super::server::{Identity, serve};

/// What the service does when a feed is opened.
#[derive(Clone, Debug)]
pub enum Opening {
    /// It sends everything, and then what is new.
    Follow,
    /// It sends so many responses and ends.
    End(usize),
    /// It sends so many responses and fails.
    Fail(usize, Status),
    /// It says first that there is nothing up to this cursor.
    Nothing(&'static str),
    Refuse(Status),
    /// It does not tell its currency.
    NoCurrency,
}

/// What was asked for when a feed was opened.
#[derive(Clone, Debug)]
pub struct Asked {
    pub request: WatchEntriesRequest,
    pub authorization: Option<String>,
}

/// The running service.
#[derive(Clone)]
pub struct Feed {
    pub addr: SocketAddr,
    state: State,
}

#[derive(Clone)]
struct State {
    /// How many entries the ledger has.
    len: watch::Sender<usize>,
    asked: watch::Sender<Vec<Asked>>,
    opening: Arc<Mutex<dyn FnMut(usize) -> Opening + Send>>,
}

type Responses = Pin<Box<dyn Stream<Item = Result<WatchEntriesResponse, Status>> + Send>>;

impl Feed {
    /// Starts one with so many entries. What it does at each opening, of which the first is 0, `opening` says.
    pub async fn start(len: usize, opening: impl FnMut(usize) -> Opening + Send + 'static) -> Self {
        Self::start_with(None, len, opening).await
    }

    /// The same with TLS.
    pub async fn start_with(
        identity: Option<&Identity>,
        len: usize,
        opening: impl FnMut(usize) -> Opening + Send + 'static,
    ) -> Self {
        let (len, asked) = (watch::Sender::new(len), watch::Sender::new(Vec::new()));
        let state = State { len, asked, opening: Arc::new(Mutex::new(opening)) };
        let served = state.clone();
        let router = Router::new().route(
            "/wallet.v1.WalletService/WatchEntries",
            post(move |request: Request| {
                let state = served.clone();
                async move {
                    let watch = tower::service_fn(move |request| std::future::ready(state.watch(request)));
                    tonic::server::Grpc::new(ProstCodec::default()).server_streaming(watch, request).await
                }
            }),
        );
        let addr = serve(identity, TowerToHyperService::new(router)).await;
        Self { addr, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Commits one more entry.
    pub fn commit(&self) {
        self.state.len.send_modify(|len| *len += 1);
    }

    /// Waits until a feed was opened so often, and returns what was asked for.
    pub async fn asked(&self, count: usize) -> Vec<Asked> {
        self.state.asked.subscribe().wait_for(|asked| asked.len() >= count).await.expect("it runs").clone()
    }
}

impl State {
    fn watch(&self, request: tonic::Request<WatchEntriesRequest>) -> Result<Response<Responses>, Status> {
        let authorization =
            request.metadata().get("authorization").map(|token| token.to_str().expect("text").to_owned());
        let asked = Asked { request: request.into_inner(), authorization };
        let after = asked.request.after.as_deref().map_or(0, place);
        let count = self.asked.borrow().len();
        let opening = (self.opening.lock().expect("nobody panicked"))(count);
        self.asked.send_modify(|all| all.push(asked));
        let entries = stream::unfold((after, self.len.subscribe()), |(place, mut len)| async move {
            len.wait_for(|len| *len > place).await.ok()?;
            Some((Ok(response(place + 1)), (place + 1, len)))
        });
        let tells_currency = !matches!(opening, Opening::NoCurrency);
        let responses: Responses = match opening {
            Opening::Follow | Opening::NoCurrency => entries.boxed(),
            Opening::End(len) => entries.take(len).boxed(),
            Opening::Fail(len, status) => entries.take(len).chain(stream::iter([Err(status)])).boxed(),
            Opening::Nothing(cursor) => {
                let nothing = WatchEntriesResponse { entry: None, cursor: cursor.to_owned() };
                stream::iter([Ok(nothing)]).chain(entries).boxed()
            }
            Opening::Refuse(status) => return Err(status),
        };
        let mut response = Response::new(responses);
        if tells_currency {
            response.metadata_mut().insert(WALLET_CURRENCY, "JPY".parse().expect("ASCII"));
        }
        Ok(response)
    }
}

/// The place that a cursor means.
fn place(cursor: &str) -> usize {
    let place = cursor.strip_prefix('c').and_then(|place| place.parse().ok());
    place.unwrap_or_else(|| panic!("{cursor:?} is no cursor of this feed"))
}

fn response(place: usize) -> WatchEntriesResponse {
    let entry_id = i64::try_from(place).expect("a short ledger");
    let entry = Entry {
        entry_id,
        user_id: 123_123,
        sequence: entry_id,
        kind: EntryKind::Win.into(),
        event_id: entry_id,
        amount_minor: 1,
        balance_after_minor: entry_id,
        create_time: Some(Timestamp { seconds: 1_767_323_045, nanos: 6_000 }),
        ..Entry::default()
    };
    WatchEntriesResponse { entry: Some(entry), cursor: format!("c{place}") }
}
