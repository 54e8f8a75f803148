//! One client for both APIs: encodes a command, and decodes and checks the answer.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde_json::value::RawValue;
use tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use wallet::api::grpc::proto::transact_request::Command as ProtoCommand;
use wallet::api::grpc::proto::transact_response::Outcome as ProtoOutcome;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{
    Applied, GetWalletRequest, Refused, RollbackResponse, TransactRequest, TransactResponse,
};
use wallet::api::reason::{Call, Reason};

use super::command::{Encoded, Message, PlainCommand};
use super::http::{HttpClient, HttpReply};

/// How a command is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Rest,
    /// The command's own rpc.
    Grpc,
    /// The rpc `Transact`, a stream of commands.
    Stream,
}

/// An answer, the same from both APIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A command was done, or a wallet looked up.
    Done {
        balance: i64,
        /// False as well where an answer does not say it: a wallet that is looked up, or created or frozen by gRPC.
        replayed: bool,
        /// False for the rollback of an unknown charge alone.
        applied: bool,
    },
    /// It was not done, for this reason.
    Refused {
        reason: Reason,
        message: String,
        /// The amount that the refusal is about, in minor units: the balance that is too low, the amount recorded.
        detail_minor: Option<i64>,
    },
    /// The answer was `UNAVAILABLE`: it may have been done.
    Unavailable,
    /// No answer came, as from a process that was killed: it may have been done.
    Unanswered,
}

impl Reply {
    /// A command that was done for the first time, or a wallet that was looked up.
    pub const fn done(balance: i64) -> Self {
        Self::Done { balance, replayed: false, applied: true }
    }

    /// A command that was done before, and left this balance then.
    pub const fn replayed(balance: i64) -> Self {
        Self::Done { balance, replayed: true, applied: true }
    }

    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => Some(*reason),
            Self::Unavailable => Some(Reason::Unavailable),
            Self::Done { .. } | Self::Unanswered => None,
        }
    }

    /// Whether the command may or may not have been done.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unavailable | Self::Unanswered)
    }

    /// Whether the command is to be sent again: nothing is known of it, or it was not tried in time.
    pub fn has_no_outcome(&self) -> bool {
        self.is_unknown() || matches!(self.reason(), Some(Reason::Busy | Reason::Deadline))
    }

    /// # Panics
    /// If it was not done.
    #[track_caller]
    pub fn balance(&self) -> i64 {
        let Self::Done { balance, .. } = self else { panic!("it was not done: {self:?}") };
        *balance
    }

    fn refused(reason: Reason, message: &str, detail: Option<&str>) -> Self {
        let detail_minor = detail.map(|minor| minor.parse().expect("minor units"));
        match reason {
            Reason::Unavailable => Self::Unavailable,
            reason => Self::Refused { reason, message: message.to_owned(), detail_minor },
        }
    }
}

/// A client of both APIs of one service. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    pub http: HttpClient,
    pub grpc: WalletServiceClient<Channel>,
}

impl Client {
    pub async fn connect(http: SocketAddr, grpc: SocketAddr) -> Self {
        Self { http: HttpClient::new(http), grpc: WalletServiceClient::new(channel(grpc).await) }
    }

    pub async fn send(&self, protocol: Protocol, command: impl Into<PlainCommand>) -> Reply {
        let encoded = command.into().encode();
        match (protocol, encoded.message.clone()) {
            (Protocol::Rest, _) => self.post(&encoded).await,
            (Protocol::Grpc, message) => self.call(message).await,
            (Protocol::Stream, Message::Command(command)) => {
                let request = TransactRequest { command: Some(command) };
                let Some(mut replies) = self.transact(tokio_stream::once(request)).await else {
                    return Reply::Unanswered;
                };
                replies.next().await.unwrap_or(Reply::Unanswered)
            }
            (Protocol::Stream, message) => panic!("a stream does not carry {message:?}"),
        }
    }

    /// Looks up a wallet.
    pub async fn wallet(&self, protocol: Protocol, user_id: i64) -> Reply {
        if protocol == Protocol::Rest {
            let reply = self.http.try_request("GET", &format!("/api/v1/users/{user_id}"), &[], "").await;
            return reply.map_or(Reply::Unanswered, |reply| from_http(&reply, Call::Read));
        }
        let wallet = self.grpc.clone().get_wallet(GetWalletRequest { user_id: Some(user_id), at: None }).await;
        wallet.map_or_else(|status| from_status(&status), |wallet| Reply::done(wallet.get_ref().balance_minor))
    }

    /// The balance of a user's wallet.
    ///
    /// # Panics
    /// If it cannot be read.
    pub async fn balance(&self, user_id: i64) -> i64 {
        self.wallet(Protocol::Grpc, user_id).await.balance()
    }

    /// Creates a wallet that is not there yet.
    ///
    /// # Panics
    /// If that fails.
    pub async fn create_wallet(&self, user_id: i64, opening_minor: i64) {
        let reply = self.send(Protocol::Rest, PlainCommand::open(user_id, opening_minor)).await;
        assert_eq!(reply, Reply::done(opening_minor), "user {user_id}");
    }

    /// Opens a stream of commands; `None` if the service is gone.
    pub async fn transact(&self, requests: impl Stream<Item = TransactRequest> + Send + 'static) -> Option<Replies> {
        Some(Replies(self.grpc.clone().transact(requests).await.ok()?.into_inner()))
    }

    async fn post(&self, encoded: &Encoded) -> Reply {
        let (path, json) = (format!("/api/v1/{}", encoded.path), [("content-type", "application/json")]);
        let reply = self.http.try_request("POST", &path, &json, encoded.json()).await;
        reply.map_or(Reply::Unanswered, |reply| from_http(&reply, Call::Command))
    }

    async fn call(&self, message: Message) -> Reply {
        let mut grpc = self.grpc.clone();
        macro_rules! done {
            ($answer:expr) => {
                $answer.await.map(|response| {
                    let answer = response.into_inner();
                    Reply::Done { balance: answer.balance_minor, replayed: answer.replayed, applied: true }
                })
            };
        }
        let reply: Result<Reply, Status> = match message {
            Message::CreateWallet(request) => {
                grpc.create_wallet(request).await.map(|wallet| Reply::done(wallet.get_ref().balance_minor))
            }
            Message::FreezeWallet(request) => {
                grpc.freeze_wallet(request).await.map(|wallet| Reply::done(wallet.get_ref().balance_minor))
            }
            Message::UnfreezeWallet(request) => {
                grpc.unfreeze_wallet(request).await.map(|wallet| Reply::done(wallet.get_ref().balance_minor))
            }
            Message::Command(ProtoCommand::Charge(request)) => done!(grpc.charge(request)),
            Message::Command(ProtoCommand::Win(request)) => done!(grpc.win(request)),
            Message::Command(ProtoCommand::Rollback(request)) => grpc.rollback(request).await.map(|response| {
                let RollbackResponse { balance_minor: balance, replayed, applied, .. } = response.into_inner();
                Reply::Done { balance, replayed, applied }
            }),
            Message::Command(ProtoCommand::Play(request)) => done!(grpc.play(request)),
            Message::Command(ProtoCommand::Deposit(request)) => done!(grpc.deposit(request)),
            Message::Command(ProtoCommand::Withdraw(request)) => done!(grpc.withdraw(request)),
        };
        reply.unwrap_or_else(|status| from_status(&status))
    }
}

/// A connection to a gRPC API.
pub async fn channel(grpc: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{grpc}")).expect("an address");
    endpoint.connect().await.expect("the gRPC API answers")
}

/// The answers of a stream of commands.
pub struct Replies(Streaming<TransactResponse>);

impl Replies {
    /// `None` at the end of the stream, however it ended.
    pub async fn next(&mut self) -> Option<Reply> {
        let TransactResponse { outcome } = self.0.message().await.ok()??;
        Some(match outcome.expect("an answer has an outcome") {
            ProtoOutcome::Applied(Applied { balance_minor: balance, replayed, applied, .. }) => {
                Reply::Done { balance, replayed, applied }
            }
            ProtoOutcome::Refused(Refused { reason, message, metadata }) => {
                Reply::refused(named(&reason), &message, detail(&metadata))
            }
        })
    }
}

/// The one amount that a refusal's metadata may hold, in minor units.
fn detail(metadata: &HashMap<String, String>) -> Option<&str> {
    let (key, minor) = metadata.iter().next()?;
    assert!(matches!(key.as_str(), "balance_minor" | "recorded_amount_minor") && metadata.len() == 1, "{metadata:?}");
    Some(minor)
}

/// The reason of this name.
fn named(name: &str) -> Reason {
    let row = Reason::ALL.into_iter().find(|row| row.name() == name);
    row.unwrap_or_else(|| panic!("{name:?} is no reason of the table"))
}

/// Decodes a REST answer. Its status must be the table's for its reason.
fn from_http(reply: &HttpReply, call: Call) -> Reply {
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(borrow, rename = "AccountBalance")]
        account_balance: &'a RawValue,
        #[serde(rename = "Applied")]
        applied: Option<bool>,
    }
    let (text, reason) = (reply.text(), reply.header("wallet-reason"));
    if reason.is_empty() {
        assert!(matches!(reply.status, 200 | 201) && text.starts_with(r#"{"success":true,"#), "{reply:?}");
        let Body { account_balance, applied } = serde_json::from_str(text).expect(text);
        let (whole, decimals) = account_balance.get().split_once('.').expect(text);
        assert_eq!(decimals.len(), 2, "{text}");
        let balance = format!("{whole}{decimals}").parse().expect(text);
        return Reply::Done {
            balance,
            replayed: reply.header("idempotent-replayed") == "true",
            applied: applied.unwrap_or(true),
        };
    }
    let reason = named(reason);
    assert_eq!(reply.status, reason.http(call).as_u16(), "{reply:?}");
    assert_eq!(reply.header("retry-after").is_empty(), reason.retry_after().is_none(), "{reply:?}");
    assert!(text.starts_with(r#"{"success":false,"error":"#), "{reply:?}");
    let detail = match reason {
        Reason::BalanceTooLow => Some(reply.header("wallet-current-balance").replace('.', "")),
        Reason::EventConflict => Some(reply.header("wallet-recorded-amount").replace('.', "")),
        _ => None,
    };
    Reply::refused(reason, reply.json()["error"].as_str().expect(text), detail.as_deref())
}

/// Decodes a gRPC status. Its code must be the table's for its reason.
fn from_status(status: &Status) -> Reply {
    let Some(info) = status.get_details_error_info() else {
        // Without a reason it is the client's own status for a connection that is gone.
        let codes = [Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled];
        assert!(codes.contains(&status.code()), "{status:?}");
        return Reply::Unanswered;
    };
    assert_eq!(info.domain, "wallet.v1", "{status:?}");
    let reason = named(&info.reason);
    assert_eq!(status.code(), reason.grpc(), "{status:?}");
    assert_eq!(status.get_details_retry_info().is_none(), reason.retry_after().is_none(), "{status:?}");
    Reply::refused(reason, status.message(), detail(&info.metadata))
}
