//! Both doors of a running service, as one caller uses them.

use std::net::SocketAddr;

use axum::http::Request;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt as _;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{
    ChargeRequest, DepositRequest, GetWalletRequest, RollbackRequest, WinRequest, WithdrawRequest,
};
use wallet::api::reason::Problem;
use wallet::ledger::{Action, Command, Currency, UserId};

use crate::support::linear::Model;
use crate::support::oracle::{Answer, Call, Oracle, Told};
use crate::support::process::Process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Rest,
    Grpc,
}

/// What a caller sees, the same through both doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Done { balance: i64, replayed: bool },
    Refused { reason: String },
    Balance(Option<i64>),
}

/// The oracle, as it looks from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AtTheDoors(Oracle);

impl Model for AtTheDoors {
    type Call = Call;
    type Answer = Seen;

    fn answer(&mut self, call: &Call) -> Seen {
        match self.0.answer(call) {
            Answer::Told(Told::Applied { place, .. }) => Seen::Done { balance: place.balance, replayed: false },
            Answer::Told(Told::Replayed { place, .. }) => Seen::Done { balance: place.balance, replayed: true },
            Answer::Told(Told::Refused(refusal)) => {
                Seen::Refused { reason: Problem::from(refusal).reason.name().to_owned() }
            }
            Answer::Balance(balance) => Seen::Balance(balance),
        }
    }
}

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

    /// `None` when no answer came, or one that does not tell what became of the call.
    pub async fn ask(&self, door: Door, call: &Call) -> Option<Seen> {
        match (door, call) {
            (Door::Rest, Call::Command(command)) => self.post(command).await,
            (Door::Rest, Call::Wallet(user_id)) => self.get(*user_id).await,
            (Door::Grpc, Call::Command(command)) => seen(self.call(command).await),
            (Door::Grpc, Call::Wallet(user_id)) => {
                let request = GetWalletRequest { user_id: user_id.get(), at: None };
                let wallet = self.grpc.clone().get_wallet(request).await;
                seen(wallet.map(|wallet| Seen::Balance(Some(wallet.into_inner().balance_minor)))).map(or_nobody)
            }
        }
    }

    async fn post(&self, Command { user_id, event_id, action }: &Command) -> Option<Seen> {
        let (path, event) = match action {
            Action::Open { .. } => ("users", ""),
            Action::Charge(_) => ("charge", "EventId"),
            Action::Win(_) => ("win", "WinningEventId"),
            Action::Rollback => ("rollback", "EventId"),
            Action::Deposit(_) => ("deposit", "TransactionId"),
            Action::Withdraw(_) => ("withdraw", "TransactionId"),
        };
        let mut body = json!({ "UserId": user_id.get() });
        if let Action::Open { opening, .. } = action {
            body["AccountBalance"] = decimal(opening.minor());
        } else {
            body[event] = event_id.get().into();
        }
        if let Action::Charge(amount) | Action::Win(amount) | Action::Deposit(amount) | Action::Withdraw(amount) =
            action
        {
            body["Amount"] = decimal(amount.minor());
        }
        let request = Request::post(format!("http://{}/api/v1/{path}", self.http));
        self.send(request.header("content-type", "application/json"), body.to_string()).await
    }

    async fn get(&self, user_id: UserId) -> Option<Seen> {
        let request = Request::get(format!("http://{}/api/v1/users/{user_id}", self.http));
        Some(or_nobody(match self.send(request, String::new()).await? {
            Seen::Done { balance, .. } => Seen::Balance(Some(balance)),
            other => other,
        }))
    }

    async fn send(&self, request: axum::http::request::Builder, body: String) -> Option<Seen> {
        #[derive(serde::Deserialize)]
        struct Body<'a> {
            #[serde(borrow, rename = "AccountBalance")]
            account_balance: &'a RawValue,
        }
        let response = self.rest.request(request.body(Full::from(body)).unwrap()).await.ok()?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        assert_ne!(parts.status, 500, "{body:?}");
        if parts.status == 503 {
            return None;
        }
        if let Some(reason) = parts.headers.get("wallet-reason") {
            return Some(Seen::Refused { reason: reason.to_str().unwrap().to_owned() });
        }
        let Body { account_balance } = serde_json::from_slice(&body).unwrap();
        let balance = eur().parse_minor(account_balance.get()).unwrap();
        Some(Seen::Done { balance, replayed: parts.headers.contains_key("idempotent-replayed") })
    }

    async fn call(&self, command: &Command) -> Result<Seen, Status> {
        macro_rules! done {
            ($answer:expr) => {{
                let answer = $answer.into_inner();
                Seen::Done { balance: answer.balance_minor, replayed: answer.replayed }
            }};
        }
        let (mut grpc, user_id, id) = (self.grpc.clone(), command.user_id.get(), command.event_id.get());
        Ok(match command.action {
            Action::Open { .. } => unreachable!("its answer does not tell a replay: wallets are opened by REST"),
            Action::Rollback => done!(grpc.rollback(RollbackRequest { user_id, event_id: id }).await?),
            Action::Charge(amount) => {
                let amount_minor = amount.minor();
                done!(grpc.charge(ChargeRequest { user_id, event_id: id, amount_minor }).await?)
            }
            Action::Win(amount) => {
                let amount_minor = amount.minor();
                done!(grpc.win(WinRequest { user_id, winning_event_id: id, amount_minor }).await?)
            }
            Action::Deposit(amount) => {
                let amount_minor = amount.minor();
                done!(grpc.deposit(DepositRequest { user_id, transaction_id: id, amount_minor }).await?)
            }
            Action::Withdraw(amount) => {
                let amount_minor = amount.minor();
                done!(grpc.withdraw(WithdrawRequest { user_id, transaction_id: id, amount_minor }).await?)
            }
        })
    }
}

/// What a gRPC answer tells; a status without a reason is no answer of the wallet.
fn seen(answer: Result<Seen, Status>) -> Option<Seen> {
    match answer {
        Ok(seen) => Some(seen),
        Err(status) => {
            let reason = status.get_details_error_info()?.reason;
            assert_ne!(reason, "INTERNAL", "{status:?}");
            (reason != "UNAVAILABLE").then_some(Seen::Refused { reason })
        }
    }
}

fn or_nobody(seen: Seen) -> Seen {
    match seen {
        Seen::Refused { reason } if reason == "UNKNOWN_USER" => Seen::Balance(None),
        other => other,
    }
}

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

/// An amount that a double holds exactly enough to be written with two decimals, which is all that a test needs.
fn decimal(minor: i64) -> Value {
    serde_json::from_str(&eur().format_minor(minor)).unwrap()
}
