//! Callers of the gRPC service, over tonic's own client.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use wallet::api::grpc::proto::transact_request::Command;
use wallet::api::grpc::proto::transact_response::Outcome;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{ChargeRequest, TransactRequest, TransactResponse};

use super::load::Caller;
use super::sample::{Recorder, Sample, Window};
use super::wallets::{Charge, Share};

/// How many connections unary calls share.
const CONNECTIONS: usize = 4;
/// The flow-control window of the client, so large that no answer ever waits for it.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// Where calls go, and the token that they carry, if any.
#[derive(Clone)]
pub struct Target {
    pub addr: SocketAddr,
    authorization: Option<AsciiMetadataValue>,
}

impl Target {
    pub fn new(addr: SocketAddr, token: Option<&str>) -> Self {
        let authorization = token.map(|token| format!("Bearer {token}").parse().expect("a token is ASCII"));
        Self { addr, authorization }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
}

pub async fn connect(addr: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("a URL");
    endpoint
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect()
        .await
        .expect("it accepts")
}

/// A connection for each unary caller; they share a few.
async fn connect_all(addr: SocketAddr, callers: usize) -> impl Iterator<Item = Channel> {
    let mut channels = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        channels.push(connect(addr).await);
    }
    (0..callers).map(move |caller| channels[caller % CONNECTIONS].clone())
}

pub struct HealthCaller(HealthClient<Channel>);

impl HealthCaller {
    pub async fn connect_all(addr: SocketAddr, callers: usize) -> Vec<Self> {
        connect_all(addr, callers).await.map(HealthClient::new).map(Self).collect()
    }
}

impl Caller for HealthCaller {
    async fn call(&mut self) {
        let answer = self.0.check(HealthCheckRequest::default()).await.expect("an answer").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
}

pub struct ChargeCaller {
    client: WalletServiceClient<Channel>,
    target: Target,
    share: Share,
}

impl ChargeCaller {
    /// A caller for each share.
    pub async fn connect_all(target: &Target, shares: Vec<Share>) -> Vec<Self> {
        let clients = connect_all(target.addr, shares.len()).await.map(WalletServiceClient::new);
        shares.into_iter().zip(clients).map(|(share, client)| Self { client, target: target.clone(), share }).collect()
    }
}

impl Caller for ChargeCaller {
    async fn call(&mut self) {
        let charge = self.share.charge();
        let request = self.target.request(request(&charge));
        let answer = self.client.charge(request).await.expect("an answer").into_inner();
        assert!(!answer.replayed && answer.user_id == charge.user, "{charge:?}: {answer:?}");
        self.share.check(&charge, answer.balance_minor);
    }
}

fn request(charge: &Charge) -> ChargeRequest {
    let (user_id, event_id) = (Some(charge.user), Some(charge.event));
    ChargeRequest { user_id, event_id, amount_minor: Some(1), round_id: None }
}

/// Checks the answer to a charge on a stream.
fn check(share: &Share, charge: &Charge, answer: &TransactResponse) {
    let Some(Outcome::Applied(applied)) = &answer.outcome else { panic!("{charge:?}: {answer:?}") };
    assert!(!applied.replayed && applied.user_id == charge.user, "{charge:?}: {applied:?}");
    share.check(charge, applied.balance_minor);
}

/// Charges over one stream, with `in_flight` charges in flight at any time. `channel` leads to `target`.
pub async fn transact(target: &Target, channel: Channel, mut share: Share, in_flight: usize, window: Window) -> Sample {
    let (sender, commands) = mpsc::channel(in_flight);
    let mut waiting = VecDeque::with_capacity(in_flight);
    let send = |share: &mut Share| {
        let charge = share.charge();
        let command = TransactRequest { command: Some(Command::Charge(request(&charge))) };
        sender.try_send(command).expect("the channel holds as many as are in flight");
        (charge, Instant::now())
    };
    waiting.extend((0..in_flight).map(|_| send(&mut share)));
    let mut client = WalletServiceClient::new(channel);
    let commands = target.request(ReceiverStream::new(commands));
    let mut answers = client.transact(commands).await.expect("a stream").into_inner();
    let mut recorder = Recorder::default();
    while let Some((charge, started)) = waiting.pop_front() {
        let answer = answers.message().await.expect("an answer").expect("one for each command");
        check(&share, &charge, &answer);
        let now = Instant::now();
        recorder.record(window, started, now);
        if now < window.ends {
            waiting.push_back(send(&mut share));
        }
    }
    Sample::new(window, vec![recorder])
}
