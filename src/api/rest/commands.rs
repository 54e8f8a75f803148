//! The calls that move money: parse, submit, render.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::body::JsonBody;
use super::error::Failure;
use super::request::{ChargeRequest, RollbackRequest, TransactionRequest, UserRequest, WinRequest};
use super::response::{self, BalanceAnswer, RollbackAnswer, WalletAnswer};
use super::{RestState, SharedState};
use crate::api::reason::Problem;
use crate::ledger::{Balance, Command, Currency, Outcome, Receipt};

/// The header that tells a replay from the first answer: their bodies are the same.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The header with the balance of this moment, which a replay's body does not tell.
pub const WALLET_CURRENT_BALANCE: HeaderName = HeaderName::from_static("wallet-current-balance");

/// Charge a wallet
///
/// Takes a stake, on a game's word. The same charge again gets the first answer and moves nothing, even when the
/// wallet is empty by now.
#[utoipa::path(
    post, path = "/api/v1/charge", tag = "game", operation_id = "charge", request_body = ChargeRequest,
    responses((status = 200, description = "The stake is taken.", body = BalanceAnswer)),
)]
pub async fn charge(State(state): State<SharedState>, body: JsonBody) -> Result<Response, Failure> {
    let command = body.parse::<ChargeRequest<'_>>()?.command(state.engine.currency())?;
    submit(&state, command, StatusCode::OK, BalanceAnswer::new).await
}

/// Pay out a win
///
/// Pays out a prize, on a game's word. The same win again gets the first answer and moves nothing.
#[utoipa::path(
    post, path = "/api/v1/win", tag = "game", operation_id = "win", request_body = WinRequest,
    responses((
        status = 200, description = "The prize is paid out.", body = BalanceAnswer,
        example = json!({"success": true, "UserId": 123_123, "AccountBalance": 19.00}),
    )),
)]
pub async fn win(State(state): State<SharedState>, body: JsonBody) -> Result<Response, Failure> {
    let command = body.parse::<WinRequest<'_>>()?.command(state.engine.currency())?;
    submit(&state, command, StatusCode::OK, BalanceAnswer::new).await
}

/// Roll back a charge
///
/// Gives back what the charge of the same event took. If there is no such charge, nothing moves and the ledger
/// remembers: should the charge still come, it is refused.
#[utoipa::path(
    post, path = "/api/v1/rollback", tag = "game", operation_id = "rollback", request_body = RollbackRequest,
    responses((status = 200, description = "The charge is undone, or barred.", body = RollbackAnswer)),
)]
pub async fn rollback(State(state): State<SharedState>, body: JsonBody) -> Result<Response, Failure> {
    let command = body.parse::<RollbackRequest<'_>>()?.command()?;
    submit(&state, command, StatusCode::OK, RollbackAnswer::new).await
}

/// Deposit money
///
/// Takes money in, on the operator's word. The same deposit again gets the first answer and moves nothing.
#[utoipa::path(
    post, path = "/api/v1/deposit", tag = "cashier", operation_id = "deposit", request_body = TransactionRequest,
    responses((
        status = 200, description = "The money is in the wallet.", body = BalanceAnswer,
        example = json!({"success": true, "UserId": 123_123, "AccountBalance": 35.00}),
    )),
)]
pub async fn deposit(State(state): State<SharedState>, body: JsonBody) -> Result<Response, Failure> {
    let request = body.parse::<TransactionRequest<'_>>()?;
    let command = request.command(state.engine.currency(), Command::deposit)?;
    submit(&state, command, StatusCode::OK, BalanceAnswer::new).await
}

/// Withdraw money
///
/// Pays money out, on the operator's word. The same withdrawal again gets the first answer and moves nothing.
#[utoipa::path(
    post, path = "/api/v1/withdraw", tag = "cashier", operation_id = "withdraw", request_body = TransactionRequest,
    responses((
        status = 200, description = "The money is out of the wallet.", body = BalanceAnswer,
        example = json!({"success": true, "UserId": 123_123, "AccountBalance": 10.00}),
    )),
)]
pub async fn withdraw(State(state): State<SharedState>, body: JsonBody) -> Result<Response, Failure> {
    let request = body.parse::<TransactionRequest<'_>>()?;
    let command = request.command(state.engine.currency(), Command::withdraw)?;
    submit(&state, command, StatusCode::OK, BalanceAnswer::new).await
}

/// Create a user
///
/// Makes the user's wallet, with a unique id. The same again gets the same wallet, as it was opened.
#[utoipa::path(
    post, path = "/api/v1/users", tag = "users", operation_id = "createUser", request_body = UserRequest,
    responses(
        (status = 201, description = "The wallet is made.", body = WalletAnswer),
        (status = 200, description = "The wallet was made before; it is given as it was opened.", body = WalletAnswer),
    ),
)]
pub async fn create_user(State(state): State<SharedState>, body: JsonBody) -> Result<Response, Failure> {
    let request = body.parse::<UserRequest<'_>>()?;
    let command = request.command(state.engine.currency(), state.engine.new_wallet_id())?;
    submit(&state, command, StatusCode::CREATED, WalletAnswer::opened).await
}

/// Submits a command and renders its outcome; `first` is the status when it is done now, and not a replay.
async fn submit<A: Serialize>(
    state: &RestState,
    command: Command,
    first: StatusCode,
    answer: fn(&Receipt, Currency) -> A,
) -> Result<Response, Failure> {
    let currency = state.engine.currency();
    match state.engine.submit(command, state.deadline()).await? {
        Outcome::Applied(receipt) => Ok(response::answer(first, &answer(&receipt, currency))),
        Outcome::Replayed { receipt, current_balance } => {
            let response = response::answer(StatusCode::OK, &answer(&receipt, currency));
            Ok(replayed(response, current_balance, currency))
        }
        Outcome::Refused(refusal) => Err(Problem::from(refusal).into()),
    }
}

fn replayed(mut response: Response, current_balance: Balance, currency: Currency) -> Response {
    let balance = currency.format_minor(current_balance.minor());
    let balance = HeaderValue::from_str(&balance).expect("a decimal is visible ASCII");
    let headers = response.headers_mut();
    headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    headers.insert(WALLET_CURRENT_BALANCE, balance);
    response
}
