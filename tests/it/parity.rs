//! Every scenario through both doors: the same outcome, told in each door's words.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{
    ChargeRequest, CreateWalletRequest, DepositRequest, GetWalletRequest, RollbackRequest, WinRequest, WithdrawRequest,
};
use wallet::api::reason::{Call, Reason};

use crate::support::app::App;

type Client = WalletServiceClient<tonic::transport::Channel>;

/// A command in neither door's words.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open(i64, i64),
    Charge(i64, i64, i64),
    Win(i64, i64, i64),
    Deposit(i64, i64, i64),
    Withdraw(i64, i64, i64),
    Rollback(i64, i64),
    Get(i64),
}

/// An outcome in neither door's words: the balance (minor) and whether it was a replay, or the reason and message.
type Told = Result<(i64, bool), (String, String)>;

fn decimal(minor: i64) -> String {
    "EUR".parse::<wallet::ledger::Currency>().unwrap().format_minor(minor)
}

/// A step by REST. The status must be the table's for the reason.
async fn by_rest(app: &App, step: Step) -> Told {
    let command = |user: i64, id: &str, number: i64, minor: i64| {
        format!(r#"{{"UserId":{user},"{id}":{number},"Amount":{}}}"#, decimal(minor))
    };
    let post = async |path: &str, body: String| app.post(&format!("/api/v1/{path}"), &body).await;
    let reply = match step {
        Step::Open(user, minor) => {
            post("users", format!(r#"{{"UserId":{user},"AccountBalance":{}}}"#, decimal(minor))).await
        }
        Step::Charge(user, event, minor) => post("charge", command(user, "EventId", event, minor)).await,
        Step::Win(user, event, minor) => post("win", command(user, "WinningEventId", event, minor)).await,
        Step::Deposit(user, id, minor) => post("deposit", command(user, "TransactionId", id, minor)).await,
        Step::Withdraw(user, id, minor) => post("withdraw", command(user, "TransactionId", id, minor)).await,
        Step::Rollback(user, event) => post("rollback", format!(r#"{{"UserId":{user},"EventId":{event}}}"#)).await,
        Step::Get(user) => app.get(&format!("/api/v1/users/{user}")).await,
    };
    let json = reply.json();
    if json["success"] == true {
        let text = reply.text().split(r#""AccountBalance":"#).nth(1).unwrap().split([',', '}']).next().unwrap();
        let minor = text.replace('.', "").parse().unwrap();
        return Ok((minor, reply.header("idempotent-replayed") == "true"));
    }
    let reason = reply.header("wallet-reason").to_owned();
    let row = Reason::ALL.into_iter().find(|row| row.name() == reason).expect("a reason of the table");
    let call = if matches!(step, Step::Get(_)) { Call::Read } else { Call::Command };
    assert_eq!(reply.status, row.http(call).as_u16(), "{step:?}");
    Err((reason, json["error"].as_str().unwrap().to_owned()))
}

/// A step by gRPC. The code must be the table's for the reason.
async fn by_grpc(client: &mut Client, step: Step) -> Told {
    macro_rules! told {
        ($call:expr) => {
            $call.await.map(|response| (response.get_ref().balance_minor, response.get_ref().replayed))
        };
    }
    let told: Result<(i64, bool), Status> = match step {
        Step::Open(user_id, opening_balance_minor) => {
            let request = CreateWalletRequest { user_id, opening_balance_minor };
            client.create_wallet(request).await.map(|wallet| (wallet.get_ref().balance_minor, false))
        }
        Step::Charge(user_id, event_id, amount_minor) => {
            told!(client.charge(ChargeRequest { user_id, event_id, amount_minor }))
        }
        Step::Win(user_id, winning_event_id, amount_minor) => {
            told!(client.win(WinRequest { user_id, winning_event_id, amount_minor }))
        }
        Step::Deposit(user_id, transaction_id, amount_minor) => {
            told!(client.deposit(DepositRequest { user_id, transaction_id, amount_minor }))
        }
        Step::Withdraw(user_id, transaction_id, amount_minor) => {
            told!(client.withdraw(WithdrawRequest { user_id, transaction_id, amount_minor }))
        }
        Step::Rollback(user_id, event_id) => told!(client.rollback(RollbackRequest { user_id, event_id })),
        Step::Get(user_id) => {
            let request = GetWalletRequest { user_id, at: None };
            client.get_wallet(request).await.map(|wallet| (wallet.get_ref().balance_minor, false))
        }
    };
    told.map_err(|status| {
        let info = status.get_details_error_info().expect("an error has its ErrorInfo");
        assert_eq!(info.domain, "wallet.v1");
        let row = Reason::ALL.into_iter().find(|row| row.name() == info.reason).expect("a reason of the table");
        assert_eq!(status.code(), row.grpc(), "{step:?}");
        assert_ne!(status.code(), Code::Unknown);
        (info.reason, status.message().to_owned())
    })
}

/// What both doors must tell: the same as [`Told`], but for the message.
type Expected = Result<(i64, bool), &'static str>;

/// Each step and what both doors must tell of it.
fn scenario() -> Vec<(Step, Expected)> {
    let max = wallet::ledger::Balance::MAX.minor();
    vec![
        (Step::Charge(1, 1, 1), Err("UNKNOWN_USER")),
        (Step::Get(1), Err("UNKNOWN_USER")),
        (Step::Charge(1, 1, -1), Err("NEGATIVE_AMOUNT")),
        (Step::Win(1, 1, -1), Err("NEGATIVE_AMOUNT")),
        (Step::Open(1, -1), Err("NEGATIVE_AMOUNT")),
        (Step::Charge(-1, 1, -1), Err("INVALID_REQUEST")),
        (Step::Open(1, 1000), Ok((1000, false))),
        (Step::Open(1, 999), Err("EVENT_CONFLICT")),
        (Step::Charge(1, 1, 1001), Err("BALANCE_TOO_LOW")),
        (Step::Charge(1, 1, 1000), Ok((0, false))),
        (Step::Charge(1, 1, 1000), Ok((0, true))),
        (Step::Charge(1, 1, 999), Err("EVENT_CONFLICT")),
        (Step::Win(1, 1, 5), Ok((5, false))),
        (Step::Win(1, 1, 5), Ok((5, true))),
        (Step::Win(1, 1, 6), Err("EVENT_CONFLICT")),
        (Step::Win(1, 2, max), Err("BALANCE_LIMIT")),
        (Step::Deposit(1, 1, 20), Ok((25, false))),
        (Step::Deposit(1, 1, 20), Ok((25, true))),
        (Step::Withdraw(1, 1, 26), Err("BALANCE_TOO_LOW")),
        (Step::Withdraw(1, 1, 15), Ok((10, false))),
        (Step::Rollback(1, 1), Ok((1010, false))),
        (Step::Rollback(1, 1), Ok((1010, true))),
        (Step::Charge(1, 1, 1000), Err("ROLLED_BACK")),
        (Step::Rollback(1, 9), Ok((1010, false))),
        (Step::Charge(1, 9, 1), Err("ROLLED_BACK")),
        (Step::Charge(1, 0, 10), Ok((1000, false))),
        (Step::Charge(1, i64::MAX, 0), Ok((1000, false))),
        (Step::Get(1), Ok((1000, false))),
    ]
}

#[tokio::test]
async fn both_doors_tell_the_same() {
    let (rest, grpc) = (App::spawn().await, App::spawn().await);
    let mut client = WalletServiceClient::new(grpc.channel().await);
    for (step, expected) in scenario() {
        let (rest, grpc) = (by_rest(&rest, step).await, by_grpc(&mut client, step).await);
        let told = rest.as_ref().map(|told| *told).map_err(|(reason, _)| reason.as_str());
        assert_eq!(told, expected, "{step:?} by REST");
        match (rest, grpc) {
            // Each door names a malformed field as its own wire format spells it.
            (Err((reason, _)), Err((grpc, _))) if reason == "INVALID_REQUEST" => assert_eq!(grpc, reason),
            (rest, grpc) => assert_eq!(grpc, rest, "{step:?} by gRPC"),
        }
    }
}

#[tokio::test]
async fn an_event_by_one_door_is_known_at_the_other() {
    let app = App::spawn().await;
    let mut client = WalletServiceClient::new(app.channel().await);
    for (step, expected) in scenario() {
        let told = by_rest(&app, step).await;
        assert_eq!(told.as_ref().map(|told| *told).map_err(|(reason, _)| reason.as_str()), expected, "{step:?}");
        // What was done by REST is now a replay by gRPC, with the same answer.
        if let (Ok((balance, _)), false) = (&told, matches!(step, Step::Get(_) | Step::Open(..))) {
            assert_eq!(by_grpc(&mut client, step).await, Ok((*balance, true)), "{step:?}");
        }
    }
}
