//! The calls that move money: parse, submit, render.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::body::JsonBody;
use super::error::Failure;
use super::openapi::declare_reasons;
use super::permitted::{Permitted, ToOperate, ToPlay};
use super::request::{
    ChargeRequest, FreezeRequest, PlayRequest, RollbackRequest, TransactionRequest, UserRequest, WinRequest,
};
use super::response::{
    self, BalanceAnswer, IDEMPOTENT_REPLAYED, OpenedAnswer, RollbackAnswer, WALLET_CURRENT_BALANCE, WalletAnswer,
};
use super::uri::UserPath;
use super::{RestState, SharedState};
use crate::api::actor::Actor;
use crate::ledger::{Command, Currency, EventId, Outcome, Receipt, UserId};

declare_reasons! {
    ChargeReasons: Command(Charge) [NegativeAmount UnknownUser RolledBack EventConflict Frozen BalanceTooLow]
    WinReasons: Command(Win) [NegativeAmount UnknownUser RolledBack EventConflict BalanceLimit]
    PlayReasons: Command(Charge)
        [NegativeAmount UnknownUser RolledBack EventConflict Frozen BalanceTooLow BalanceLimit]
    RollbackReasons: Command(Rollback) [UnknownUser Frozen BalanceTooLow BalanceLimit]
    DepositReasons: Command(Deposit) [NegativeAmount UnknownUser EventConflict BalanceLimit]
    WithdrawReasons: Command(Withdrawal) [NegativeAmount UnknownUser EventConflict Frozen BalanceTooLow]
    CreateUserReasons: Command(Open) [NegativeAmount EventConflict BalanceLimit]
    FreezeReasons: Command(Freeze) [NotFound UnknownUser]
}

/// Charge a wallet
///
/// Takes a stake out of the wallet, for a game. The same charge again gets the first answer and moves nothing, even
/// when the wallet is empty by now.
#[utoipa::path(
    post, path = "/api/v1/charge", tag = "game", operation_id = "charge", request_body = ChargeRequest,
    responses((status = 200, description = "The stake is taken.", body = BalanceAnswer), ChargeReasons),
)]
pub async fn charge(
    State(state): State<SharedState>,
    actor: Permitted<ToPlay>,
    body: JsonBody,
) -> Result<Response, Failure> {
    let command = body.parse::<ChargeRequest<'_>>()?.command(state.amounts())?;
    submit(&state, &actor, command, BalanceAnswer::new).await
}

/// Pay out a win
///
/// Pays a prize into the wallet, for a game. The same win again gets the first answer and moves nothing.
#[utoipa::path(
    post, path = "/api/v1/win", tag = "game", operation_id = "win", request_body = WinRequest,
    responses(
        (
            status = 200, description = "The prize is paid out.", body = BalanceAnswer,
            example = json!({"success": true, "UserId": 123_123, "AccountBalance": 19.00}),
        ),
        WinReasons,
    ),
)]
pub async fn win(
    State(state): State<SharedState>,
    actor: Permitted<ToPlay>,
    body: JsonBody,
) -> Result<Response, Failure> {
    let command = body.parse::<WinRequest<'_>>()?.command(state.amounts())?;
    submit(&state, &actor, command, BalanceAnswer::new).await
}

/// Charge a wallet and pay out a win, together
///
/// Takes a stake and pays the prize of the same round, both or nothing. The charge is decided first, then the win, each
/// by its own rules; the win does not pay for its own charge. A half that is known already is replayed, and the other
/// is applied: so a play completes what single calls began. It is a replay when both were known.
#[utoipa::path(
    post, path = "/api/v1/play", tag = "game", operation_id = "play", request_body = PlayRequest,
    responses(
        (
            status = 200, description = "The stake is taken and the prize is paid out.", body = BalanceAnswer,
            example = json!({"success": true, "UserId": 123_123, "AccountBalance": 8.50}),
        ),
        PlayReasons,
    ),
)]
pub async fn play(
    State(state): State<SharedState>,
    actor: Permitted<ToPlay>,
    body: JsonBody,
) -> Result<Response, Failure> {
    let command = body.parse::<PlayRequest<'_>>()?.command(state.amounts())?;
    submit(&state, &actor, command, BalanceAnswer::new).await
}

/// Roll back a charge or a win
///
/// Gives back what a charge took, or takes back what a win paid. If there is no such charge or win, nothing moves and
/// the ledger remembers: if it still comes, it is refused. A rollback touches what it names and nothing else: to undo a
/// settled round, roll back its win as well as its charge.
#[utoipa::path(
    post, path = "/api/v1/rollback", tag = "game", operation_id = "rollback", request_body = RollbackRequest,
    responses(
        (status = 200, description = "The charge or win is undone, or barred.", body = RollbackAnswer),
        RollbackReasons,
    ),
)]
pub async fn rollback(
    State(state): State<SharedState>,
    actor: Permitted<ToPlay>,
    body: JsonBody,
) -> Result<Response, Failure> {
    let command = body.parse::<RollbackRequest<'_>>()?.command()?;
    submit(&state, &actor, command, RollbackAnswer::new).await
}

/// Deposit money
///
/// Pays money into the wallet, for the operator. The same deposit again gets the first answer and moves nothing.
#[utoipa::path(
    post, path = "/api/v1/deposit", tag = "cashier", operation_id = "deposit", request_body = TransactionRequest,
    responses(
        (
            status = 200, description = "The money is in the wallet.", body = BalanceAnswer,
            example = json!({"success": true, "UserId": 123_123, "AccountBalance": 35.00}),
        ),
        DepositReasons,
    ),
)]
pub async fn deposit(
    State(state): State<SharedState>,
    actor: Permitted<ToOperate>,
    body: JsonBody,
) -> Result<Response, Failure> {
    let request = body.parse::<TransactionRequest<'_>>()?;
    submit(&state, &actor, request.command(state.amounts(), Command::deposit)?, BalanceAnswer::new).await
}

/// Withdraw money
///
/// Takes money out of the wallet, for the operator. The same withdrawal again gets the first answer and moves nothing.
#[utoipa::path(
    post, path = "/api/v1/withdraw", tag = "cashier", operation_id = "withdraw", request_body = TransactionRequest,
    responses(
        (
            status = 200, description = "The money is out of the wallet.", body = BalanceAnswer,
            example = json!({"success": true, "UserId": 123_123, "AccountBalance": 10.00}),
        ),
        WithdrawReasons,
    ),
)]
pub async fn withdraw(
    State(state): State<SharedState>,
    actor: Permitted<ToOperate>,
    body: JsonBody,
) -> Result<Response, Failure> {
    let request = body.parse::<TransactionRequest<'_>>()?;
    submit(&state, &actor, request.command(state.amounts(), Command::withdraw)?, BalanceAnswer::new).await
}

/// Create a user
///
/// Makes the user's wallet, with a unique id. The same again gets the same wallet, as it was opened.
#[utoipa::path(
    post, path = "/api/v1/users", tag = "users", operation_id = "createUser", request_body = UserRequest,
    responses(
        (status = 201, description = "The wallet is made.", body = OpenedAnswer),
        (status = 200, description = "The wallet was made before; it is given as it was opened.", body = OpenedAnswer),
        CreateUserReasons,
    ),
)]
pub async fn create_user(
    State(state): State<SharedState>,
    actor: Permitted<ToOperate>,
    body: JsonBody,
) -> Result<Response, Failure> {
    let command = body.parse::<UserRequest<'_>>()?.command(state.amounts())?;
    let outcome = actor.submit_for_wallet(&state.engine.ledger, command, state.deadline()).await?;
    render(outcome, StatusCode::CREATED, OpenedAnswer::new, state.engine.currency)
}

/// Freeze a wallet
///
/// A frozen wallet gives nothing out: charges, plays, withdrawals and rollbacks of wins are refused. It takes wins,
/// deposits and rollbacks of charges, so that a round under way can end. The same again gets the first answer.
#[utoipa::path(
    post, path = "/api/v1/users/{UserId}/freeze", tag = "cashier", operation_id = "freeze", params(UserPath),
    request_body = FreezeRequest,
    responses(
        (
            status = 200, description = "The wallet is frozen.", body = WalletAnswer,
            example = json!({
                "success": true, "UserId": 123_123, "WalletId": "019b76f1-2f00-7c6e-8d4e-2b1f0a9c3d55",
                "AccountBalance": 10.00, "Frozen": true
            }),
        ),
        FreezeReasons,
    ),
)]
pub async fn freeze(
    State(state): State<SharedState>,
    actor: Permitted<ToOperate>,
    UserPath { user_id }: UserPath,
    body: JsonBody,
) -> Result<Response, Failure> {
    submit_freezing(&state, &actor, user_id, &body, Command::freeze).await
}

/// Unfreeze a wallet
///
/// Ends the freezing of a wallet. The same again gets the first answer.
#[utoipa::path(
    post, path = "/api/v1/users/{UserId}/unfreeze", tag = "cashier", operation_id = "unfreeze", params(UserPath),
    request_body = FreezeRequest,
    responses((status = 200, description = "The wallet is not frozen.", body = WalletAnswer), FreezeReasons),
)]
pub async fn unfreeze(
    State(state): State<SharedState>,
    actor: Permitted<ToOperate>,
    UserPath { user_id }: UserPath,
    body: JsonBody,
) -> Result<Response, Failure> {
    submit_freezing(&state, &actor, user_id, &body, Command::unfreeze).await
}

async fn submit_freezing(
    state: &RestState,
    actor: &Actor,
    user_id: UserId,
    body: &JsonBody,
    make: fn(UserId, EventId) -> Command,
) -> Result<Response, Failure> {
    let command = body.parse::<FreezeRequest<'_>>()?.command(user_id, make)?;
    let outcome = actor.submit_for_wallet(&state.engine.ledger, command, state.deadline()).await?;
    render(outcome, StatusCode::OK, WalletAnswer::new, state.engine.currency)
}

/// Submits a command and renders its outcome.
async fn submit<A: Serialize>(
    state: &RestState,
    actor: &Actor,
    command: Command,
    answer: fn(&Receipt, Currency) -> A,
) -> Result<Response, Failure> {
    let outcome = actor.submit(&state.engine.ledger, command, state.deadline()).await?;
    render(outcome, StatusCode::OK, answer, state.engine.currency)
}

/// Renders an outcome; `first` is the status when the command was done now, and not a replay.
fn render<R, A: Serialize>(
    outcome: Outcome<R>,
    first: StatusCode,
    answer: fn(&R, Currency) -> A,
    currency: Currency,
) -> Result<Response, Failure> {
    match outcome {
        Outcome::Applied(receipt) => Ok(response::answer(first, &answer(&receipt, currency))),
        Outcome::Replayed { receipt, current_balance } => {
            let mut replayed = response::answer(StatusCode::OK, &answer(&receipt, currency));
            let headers = replayed.headers_mut();
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
            headers.insert(WALLET_CURRENT_BALANCE, response::money_header(currency, current_balance.minor()));
            Ok(replayed)
        }
        Outcome::Refused(refusal) => Err(Failure::refused(refusal, currency)),
    }
}
