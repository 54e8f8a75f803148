//! Kill −9 under load from both doors, restart, replay: what was acknowledged is there, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{CreateWalletRequest, GetWalletRequest, WinRequest};
use wallet::store::sqlite;

use crate::process::Process;

const ROUNDS: i64 = 6;
const CALLERS: i64 = 16;
const OPENING: i64 = 1_000_000;

/// A charge of one cent by REST, or a win of two by gRPC.
#[derive(Clone, Copy, Debug)]
struct Sent {
    user: i64,
    event: i64,
}

impl Sent {
    fn by_rest(self) -> bool {
        self.user % 2 == 0
    }
}

/// What a caller was told: the balance, as its door writes it, and whether it was a replay.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    balance: String,
    replayed: bool,
}

struct Doors {
    rest: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
    http: std::net::SocketAddr,
    grpc: WalletServiceClient<tonic::transport::Channel>,
}

impl Doors {
    async fn of(process: &Process) -> Self {
        let channel = Endpoint::from_shared(format!("http://{}", process.grpc)).unwrap().connect().await.unwrap();
        let rest = Client::builder(TokioExecutor::new()).build_http();
        Self { rest, http: process.http, grpc: WalletServiceClient::new(channel) }
    }

    /// `None` when no answer came, as from a process that was killed.
    async fn send(&self, sent: Sent) -> Option<Answer> {
        if sent.by_rest() { self.charge(sent).await } else { self.win(sent).await }
    }

    async fn charge(&self, Sent { user, event }: Sent) -> Option<Answer> {
        let body = format!(r#"{{"UserId":{user},"EventId":{event},"Amount":0.01}}"#);
        let request = axum::http::Request::post(format!("http://{}/api/v1/charge", self.http))
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap();
        let response = self.rest.request(request).await.ok()?;
        assert_eq!(response.status(), 200);
        let replayed = response.headers().contains_key("idempotent-replayed");
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some(Answer { balance: String::from_utf8(body.to_vec()).unwrap(), replayed })
    }

    async fn win(&self, Sent { user, event }: Sent) -> Option<Answer> {
        let request = WinRequest { user_id: user, winning_event_id: event, amount_minor: 2 };
        let response = self.grpc.clone().win(request).await.ok()?.into_inner();
        Some(Answer { balance: response.balance_minor.to_string(), replayed: response.replayed })
    }
}

/// Sends from every caller until the process dies under them; what was answered, and what was not.
async fn load(process: Process, round: i64, kill_after: usize) -> (Vec<(Sent, Answer)>, Vec<Sent>) {
    let doors = Arc::new(Doors::of(&process).await);
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for user in 0..CALLERS {
        let (doors, answered) = (Arc::clone(&doors), Arc::clone(&answered));
        callers.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let sent = Sent { user, event: round * 1_000_000 + number };
                let Some(answer) = doors.send(sent).await else { return (acknowledged, sent) };
                assert!(!answer.replayed, "an event that was never sent is no replay");
                acknowledged.push((sent, answer));
                answered.fetch_add(1, Ordering::Relaxed);
            }
            unreachable!("the callers stop when the process dies")
        });
    }
    while answered.load(Ordering::Relaxed) < kill_after {
        tokio::task::yield_now().await;
    }
    process.kill();
    let (mut acknowledged, mut unanswered) = (Vec::new(), Vec::new());
    while let Some(ended) = callers.join_next().await {
        let (answers, last) = ended.unwrap();
        acknowledged.extend(answers);
        unanswered.push(last);
    }
    (acknowledged, unanswered)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_survives_kill_9_and_happens_once() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start(&database);
    for user_id in 0..CALLERS {
        let request = CreateWalletRequest { user_id, opening_balance_minor: OPENING };
        Doors::of(&process).await.grpc.create_wallet(request).await.unwrap();
    }
    process.kill();

    let mut everything: Vec<(Sent, Answer)> = Vec::new();
    for round in 0..ROUNDS {
        let kill_after = 150 + 97 * usize::try_from(round).unwrap();
        let (acknowledged, unanswered) = load(Process::start(&database), round, kill_after).await;
        assert!(acknowledged.len() >= kill_after);
        everything.extend(acknowledged);

        let process = Process::start(&database);
        let doors = Doors::of(&process).await;
        // Nobody knows what became of these: sending them again settles it.
        for sent in unanswered {
            let answer = doors.send(sent).await.expect("an answer");
            everything.push((sent, Answer { replayed: false, ..answer }));
        }
        for (sent, first) in &everything {
            let again = doors.send(*sent).await.expect("an answer");
            assert_eq!(again, Answer { replayed: true, ..first.clone() }, "{sent:?}");
        }
        for user_id in 0..CALLERS {
            let count = everything.iter().filter(|(sent, _)| sent.user == user_id).count();
            let moved = i64::try_from(count).unwrap() * if user_id % 2 == 0 { -1 } else { 2 };
            let wallet = doors.grpc.clone().get_wallet(GetWalletRequest { user_id, at: None }).await.unwrap();
            assert_eq!(wallet.into_inner().balance_minor, OPENING + moved, "user {user_id} in round {round}");
        }
        process.kill();
        sqlite::audit(&database).unwrap().unwrap();
    }
    println!("{ROUNDS} kills, {} commands acknowledged, none lost, none twice", everything.len());
}
