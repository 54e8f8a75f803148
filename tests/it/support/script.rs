//! Commands that are known by their number alone, with the balance that each must leave: so that whatever became of a
//! process under load, every answer can be checked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::Request;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wallet::api::grpc::proto::transact_request::Command;
use wallet::api::grpc::proto::transact_response::Outcome;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{CreateWalletRequest, GetWalletRequest, TransactRequest, TransactResponse};

use crate::support::process::Process;
use crate::support::step::{OPENING, Step};

/// Commands that a stream sends ahead of their answers.
const WINDOW: usize = 16;

/// By which door a caller comes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Rest,
    Unary,
    Stream,
}

/// What a caller is told, in neither door's words.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Done {
        balance: i64,
        replayed: bool,
    },
    RolledBack,
    /// Try again with the same ids; or nothing at all, as from a process that was killed.
    Unknown,
}

/// Both doors of a process.
#[derive(Clone)]
pub struct Doors {
    rest: Client<HttpConnector, Full<Bytes>>,
    http: SocketAddr,
    grpc: WalletServiceClient<Channel>,
}

impl Doors {
    pub async fn of(process: &Process) -> Self {
        let channel = Endpoint::from_shared(format!("http://{}", process.grpc)).unwrap().connect().await.unwrap();
        let rest = Client::builder(TokioExecutor::new()).build_http();
        Self { rest, http: process.http, grpc: WalletServiceClient::new(channel) }
    }

    async fn send(&self, way: Way, step: Step) -> Told {
        match way {
            Way::Rest => self.post(step).await.unwrap_or(Told::Unknown),
            Way::Unary | Way::Stream => self.call(step).await,
        }
    }

    async fn post(&self, step: Step) -> Option<Told> {
        let (path, body) = step.rest();
        let request = Request::post(format!("http://{}/api/v1/{path}", self.http));
        let request = request.header("content-type", "application/json").body(Full::from(body)).unwrap();
        let response = self.rest.request(request).await.ok()?;
        let replayed = response.headers().contains_key("idempotent-replayed");
        let reason = response.headers().get("wallet-reason").map(|reason| reason.to_str().unwrap().to_owned());
        let status = response.status();
        let retry_after = response.headers().contains_key("retry-after");
        let body = response.into_body().collect().await.ok()?.to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        assert_eq!(body.starts_with(r#"{"success":true"#), reason.is_none(), "{status}: {body}");
        match reason.as_deref() {
            None => {
                let balance = body.split(r#""AccountBalance":"#).nth(1).and_then(|rest| rest.split([',', '}']).next());
                let balance = balance.expect("a balance").replace('.', "").parse().expect("minor units");
                Some(Told::Done { balance, replayed })
            }
            Some("ROLLED_BACK") => Some(Told::RolledBack),
            Some("UNAVAILABLE") => {
                assert!(status == 503 && retry_after, "{status}: {body}");
                Some(Told::Unknown)
            }
            Some(reason) => panic!("{step:?}: {reason}: {body}"),
        }
    }

    async fn call(&self, step: Step) -> Told {
        let mut grpc = self.grpc.clone();
        macro_rules! told {
            ($response:expr) => {
                $response.await.map(|response| {
                    let response = response.into_inner();
                    Told::Done { balance: response.balance_minor, replayed: response.replayed }
                })
            };
        }
        let told = match step.command() {
            Command::Charge(request) => told!(grpc.charge(request)),
            Command::Win(request) => told!(grpc.win(request)),
            Command::Rollback(request) => told!(grpc.rollback(request)),
            Command::Deposit(request) => told!(grpc.deposit(request)),
            Command::Withdraw(request) => told!(grpc.withdraw(request)),
        };
        told.unwrap_or_else(|status| refused(step, &status))
    }

    /// The balance of a user's wallet.
    pub async fn balance(&self, user_id: i64) -> i64 {
        self.grpc.clone().get_wallet(GetWalletRequest { user_id, at: None }).await.unwrap().into_inner().balance_minor
    }
}

fn refused(step: Step, status: &Status) -> Told {
    let reason = status.get_details_error_info().map(|info| info.reason);
    match (status.code(), reason.as_deref()) {
        (Code::FailedPrecondition, Some("ROLLED_BACK")) => Told::RolledBack,
        // Without a reason it is the client's own word for a connection that is gone.
        (Code::Unavailable, _) | (Code::Unknown | Code::Internal | Code::Cancelled, None) => Told::Unknown,
        _ => panic!("{step:?}: {status}"),
    }
}

/// A caller with a wallet of its own, which sends its script in order.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    pub user: i64,
    way: Way,
    /// What was settled in earlier rounds.
    settled: i64,
    /// What was answered.
    pub acknowledged: i64,
    /// What was sent: the outcome of the last of these may be unknown.
    sent: i64,
}

/// So many callers, by both doors in turn, each with a wallet.
pub async fn callers(doors: &Doors, count: i64) -> Vec<Caller> {
    let mut callers = Vec::new();
    for user in 0..count {
        let request = CreateWalletRequest { user_id: user, opening_balance_minor: OPENING };
        doors.grpc.clone().create_wallet(request).await.unwrap();
        let way = [Way::Rest, Way::Unary, Way::Stream][usize::try_from(user % 3).unwrap()];
        callers.push(Caller { user, way, settled: 0, acknowledged: 0, sent: 0 });
    }
    callers
}

impl Caller {
    /// The balance after everything that was answered.
    pub fn acknowledged_balance(&self) -> i64 {
        if self.acknowledged == 0 { OPENING } else { Step { user: self.user, number: self.acknowledged - 1 }.balance() }
    }

    /// How many of its commands were sent and not answered.
    pub const fn unknown(&self) -> i64 {
        self.sent - self.acknowledged
    }

    /// Sends command after command, counting the answers aloud, until one stays out.
    pub async fn play(&mut self, doors: &Doors, answered: impl Fn()) {
        match self.way {
            Way::Rest | Way::Unary => {
                while self.step(doors).await {
                    answered();
                }
            }
            Way::Stream => self.stream(doors, answered).await,
        }
    }

    async fn step(&mut self, doors: &Doors) -> bool {
        let step = Step { user: self.user, number: self.sent };
        self.sent += 1;
        let told = doors.send(self.way, step).await;
        if told == Told::Unknown {
            return false;
        }
        assert_eq!(told, Told::Done { balance: step.balance(), replayed: false }, "{step:?}");
        self.acknowledged += 1;
        true
    }

    async fn stream(&mut self, doors: &Doors, answered: impl Fn()) {
        let (sender, requests) = mpsc::channel(WINDOW);
        for _ in 0..WINDOW {
            self.hand_over(&sender).await;
        }
        let Ok(response) = doors.grpc.clone().transact(ReceiverStream::new(requests)).await else { return };
        let mut answers = response.into_inner();
        while let Ok(Some(TransactResponse { outcome })) = answers.message().await {
            let step = Step { user: self.user, number: self.acknowledged };
            match outcome.expect("an outcome") {
                Outcome::Applied(applied) => {
                    assert_eq!((applied.balance_minor, applied.replayed), (step.balance(), false), "{step:?}");
                }
                // The store failed: what follows may find it well again, but out of order.
                Outcome::Refused(refused) if refused.reason == "UNAVAILABLE" => return,
                Outcome::Refused(refused) => panic!("{step:?}: {refused:?}"),
            }
            self.acknowledged += 1;
            answered();
            if !self.hand_over(&sender).await {
                return;
            }
        }
    }

    /// Sends the next command of a stream; false if that has ended.
    async fn hand_over(&mut self, sender: &mpsc::Sender<TransactRequest>) -> bool {
        let step = Step { user: self.user, number: self.sent };
        let sent = sender.send(TransactRequest { command: Some(step.command()) }).await.is_ok();
        self.sent += i64::from(sent);
        sent
    }

    /// Sends everything since the last time again. What was answered must be a replay with the first answer, what was
    /// not may be one; nothing moves twice.
    pub async fn settle(&mut self, doors: &Doors) {
        self.replay(doors, self.settled).await;
        self.acknowledged = self.sent;
        self.settled = self.sent;
    }

    /// Sends everything again, from the first command on.
    pub async fn replay_all(&self, doors: &Doors) {
        self.replay(doors, 0).await;
    }

    async fn replay(&self, doors: &Doors, from: i64) {
        for number in from..self.sent {
            let step = Step { user: self.user, number };
            let told = doors.send(self.way, step).await;
            if step.is_rolled_back_by(self.acknowledged) {
                assert_eq!(told, Told::RolledBack, "{step:?}");
            } else if !(told == Told::RolledBack && step.is_rolled_back_by(self.sent)) {
                let Told::Done { balance, replayed } = told else { panic!("{step:?}: {told:?}") };
                assert_eq!(balance, step.balance(), "{step:?}");
                assert!(replayed || number >= self.acknowledged, "{step:?} was acknowledged, and is lost");
            }
        }
        let balance = Self { acknowledged: self.sent, ..*self }.acknowledged_balance();
        assert_eq!(doors.balance(self.user).await, balance, "user {}", self.user);
    }
}

/// Lets every caller play until one of its commands stays out, and does `then` when so many are answered.
pub async fn load(doors: &Doors, callers: Vec<Caller>, answers: usize, then: impl FnOnce()) -> Vec<Caller> {
    let (answered, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = callers.len();
    let mut playing = JoinSet::new();
    for mut caller in callers {
        let (doors, answered, ended) = (doors.clone(), Arc::clone(&answered), Arc::clone(&ended));
        playing.spawn(async move {
            let count = || {
                answered.fetch_add(1, Ordering::Relaxed);
            };
            caller.play(&doors, count).await;
            ended.fetch_add(1, Ordering::Relaxed);
            caller
        });
    }
    while answered.load(Ordering::Relaxed) < answers && ended.load(Ordering::Relaxed) < count {
        time::sleep(Duration::from_millis(1)).await;
    }
    tokio::task::block_in_place(then);
    playing.join_all().await
}

/// Settles every caller's script.
pub async fn settle(doors: &Doors, callers: Vec<Caller>) -> Vec<Caller> {
    let mut settling = JoinSet::new();
    for mut caller in callers {
        let doors = doors.clone();
        settling.spawn(async move {
            caller.settle(&doors).await;
            caller
        });
    }
    settling.join_all().await
}

/// Sends everything that there ever was again; how much that is.
pub async fn replay_all(doors: &Doors, callers: &[Caller]) -> i64 {
    futures::future::join_all(callers.iter().map(|caller| caller.replay_all(doors))).await;
    callers.iter().map(|caller| caller.acknowledged).sum()
}
