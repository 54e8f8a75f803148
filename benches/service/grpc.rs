//! Callers of the gRPC service, over tonic's own client.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use wallet::api::grpc::proto::transact_request::Command;
use wallet::api::grpc::proto::transact_response::Outcome;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{ChargeRequest, TransactRequest};

use super::load::{Caller, Sample, Seen, Window};
use super::wallets::{Charge, Share};

/// How many connections unary calls share.
pub const CONNECTIONS: usize = 4;
/// So that no answer ever waits for the client to make room.
const WINDOW_BYTES: u32 = 1024 * 1024;

pub async fn connect(addr: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("a URL");
    endpoint
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect()
        .await
        .expect("it accepts")
}

/// The connections that unary calls share.
pub async fn connect_all(addr: SocketAddr) -> Vec<Channel> {
    let mut channels = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        channels.push(connect(addr).await);
    }
    channels
}

pub struct HealthCaller(pub HealthClient<Channel>);

impl Caller for HealthCaller {
    async fn call(&mut self) {
        let answer = self.0.check(HealthCheckRequest::default()).await.expect("an answer").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
}

pub struct ChargeCaller {
    pub client: WalletServiceClient<Channel>,
    pub share: Share,
}

impl Caller for ChargeCaller {
    async fn call(&mut self) {
        let charge = self.share.charge();
        let answer = self.client.charge(request(&charge)).await.expect("an answer").into_inner();
        assert!(!answer.replayed && answer.user_id == charge.user, "{charge:?}: {answer:?}");
        self.share.check(&charge, answer.balance_minor);
    }
}

fn request(charge: &Charge) -> ChargeRequest {
    ChargeRequest { user_id: charge.user, event_id: charge.event, amount_minor: 1 }
}

/// Charges over one stream, on which so many are always under way.
pub async fn transact(channel: Channel, mut share: Share, in_flight: usize, window: Window) -> Sample {
    let (sender, commands) = mpsc::channel(in_flight);
    let mut waiting = VecDeque::with_capacity(in_flight);
    let send = |share: &mut Share| {
        let charge = share.charge();
        let command = TransactRequest { command: Some(Command::Charge(request(&charge))) };
        sender.try_send(command).expect("there is room for as many as are under way");
        (charge, Instant::now())
    };
    waiting.extend((0..in_flight).map(|_| send(&mut share)));
    let mut client = WalletServiceClient::new(channel);
    let mut answers = client.transact(ReceiverStream::new(commands)).await.expect("a stream").into_inner();
    let mut seen = Seen::default();
    while let Some((charge, started)) = waiting.pop_front() {
        let answer = answers.message().await.expect("an answer").expect("one for each command");
        let Some(Outcome::Applied(applied)) = answer.outcome else { panic!("{charge:?}: {answer:?}") };
        assert!(!applied.replayed && applied.user_id == charge.user, "{charge:?}: {applied:?}");
        share.check(&charge, applied.balance_minor);
        let now = Instant::now();
        seen.note(window, started, now);
        if now < window.ends {
            waiting.push_back(send(&mut share));
        }
    }
    Sample::new(window, vec![seen])
}
