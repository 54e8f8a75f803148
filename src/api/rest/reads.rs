//! The calls that only look something up.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::SharedState;
use super::error::Failure;
use super::openapi::declare_reasons;
use super::permitted::{Permitted, ToLookUp, ToReadLedger};
use super::request::{EntriesQuery, WalletQuery};
use super::response::{self, CheckpointAnswer, EntriesAnswer, EventAnswer, HealthAnswer, WalletAnswer};
use super::uri::{EventPath, NoQuery, UserPath};
use crate::api::event;
use crate::api::reason::Reason;
use crate::engine::Health;
use crate::ledger::EventKey;

declare_reasons! {
    LiveReasons: Read []
    ReadyReasons: Read [Unavailable]
    SystemReasons: Read [InvalidRequest Unavailable]
    CheckpointReasons: Read [InvalidRequest Unauthenticated Forbidden RateLimited Deadline Unavailable]
    UserReasons: Read
        [InvalidRequest NotFound UnknownUser Unauthenticated Forbidden RateLimited Deadline Unavailable]
    EventReasons: Read
        [InvalidRequest NotFound UnknownUser UnknownEvent Unauthenticated Forbidden RateLimited Deadline Unavailable]
}

/// Ask whether the process answers
///
/// For a liveness probe, which restarts what does not answer. It says nothing of the ledger: a restart mends no full
/// disk. Query parameters are ignored.
#[utoipa::path(
    get, path = "/livez", tag = "system", operation_id = "livez",
    responses(
        (
            status = 200, description = "The process answers.", body = HealthAnswer,
            example = json!({"success": true, "message": "Process is running"}),
        ),
        LiveReasons,
    ),
)]
pub async fn livez() -> Response {
    response::answer(StatusCode::OK, &HealthAnswer::LIVE)
}

/// Ask whether requests should be sent here
///
/// For a readiness probe: the answer of the health check. Query parameters are ignored.
#[utoipa::path(
    get, path = "/readyz", tag = "system", operation_id = "readyz",
    responses((status = 200, description = "The system is up.", body = HealthAnswer), ReadyReasons),
)]
pub async fn readyz(state: State<SharedState>) -> Result<Response, Failure> {
    healthcheck(state, NoQuery).await
}

/// Ask whether the system is up
///
/// Up means the last commit succeeded and none is stuck.
#[utoipa::path(
    get, path = "/api/v1/healthcheck", tag = "system", operation_id = "healthcheck",
    responses((status = 200, description = "The system is up.", body = HealthAnswer), SystemReasons),
)]
pub async fn healthcheck(State(state): State<SharedState>, _: NoQuery) -> Result<Response, Failure> {
    match state.engine.health.now() {
        Health::Serving => Ok(response::answer(StatusCode::OK, &HealthAnswer::UP)),
        Health::NotServing => Err(Failure::into_error(Reason::Unavailable)),
    }
}

/// Look up a wallet
///
/// Gives the user's wallet as it is, or as it was at a moment.
#[utoipa::path(
    get, path = "/api/v1/users/{UserId}", tag = "users", operation_id = "getUser",
    params(UserPath, WalletQuery),
    responses((status = 200, description = "The wallet.", body = WalletAnswer), UserReasons),
)]
pub async fn user(
    State(state): State<SharedState>,
    _: Permitted<ToLookUp>,
    UserPath { user_id }: UserPath,
    uri: Uri,
) -> Result<Response, Failure> {
    let WalletQuery { at } = WalletQuery::parse(&uri)?;
    let wallet = state.engine.queries.wallet(user_id, at, state.deadline()).await?;
    let wallet = wallet.ok_or_else(|| Failure::into_error(Reason::UnknownUser))?;
    Ok(response::answer(StatusCode::OK, &WalletAnswer::new(&wallet, state.engine.currency)))
}

/// Look up a wallet's history
///
/// Gives a page of the wallet's entries, newest first.
#[utoipa::path(
    get, path = "/api/v1/users/{UserId}/entries", tag = "users", operation_id = "listEntries",
    params(UserPath, EntriesQuery),
    responses((status = 200, description = "A page of entries.", body = EntriesAnswer), UserReasons),
)]
pub async fn entries(
    State(state): State<SharedState>,
    _: Permitted<ToReadLedger>,
    UserPath { user_id }: UserPath,
    uri: Uri,
) -> Result<Response, Failure> {
    let EntriesQuery { limit, before } = EntriesQuery::parse(&uri)?;
    let page = state.engine.queries.entries(user_id, before, limit, state.deadline()).await?;
    let page = page.ok_or_else(|| Failure::into_error(Reason::UnknownUser))?;
    Ok(response::answer(StatusCode::OK, &EntriesAnswer::new(user_id.get(), &page, state.engine.currency)))
}

/// Look up an event
///
/// Gives the fate of one number of a user: the entry of each kind that has it.
#[utoipa::path(
    get, path = "/api/v1/users/{UserId}/events/{EventId}", tag = "users", operation_id = "getEvent", params(EventPath),
    responses((status = 200, description = "What became of it.", body = EventAnswer), EventReasons),
)]
pub async fn event(
    State(state): State<SharedState>,
    _: Permitted<ToLookUp>,
    EventPath { user_id, event_id }: EventPath,
    _: NoQuery,
) -> Result<Response, Failure> {
    let event = state.engine.queries.event(EventKey { event_id, user_id }, state.deadline()).await?;
    let event = event::known(event).map_err(Failure::into_error)?;
    Ok(response::answer(StatusCode::OK, &EventAnswer::new(&event, state.engine.currency)))
}

/// Look up the head of the commit chain
///
/// Its hash covers every entry there is. Keep it elsewhere to prove later that nothing before it was altered.
#[utoipa::path(
    get, path = "/api/v1/ledger/checkpoint", tag = "system", operation_id = "getCheckpoint",
    responses((status = 200, description = "The head of the chain.", body = CheckpointAnswer), CheckpointReasons),
)]
pub async fn checkpoint(
    State(state): State<SharedState>,
    _: Permitted<ToReadLedger>,
    _: NoQuery,
) -> Result<Response, Failure> {
    let heads = state.engine.queries.heads(state.deadline()).await?;
    Ok(response::answer(StatusCode::OK, &CheckpointAnswer::new(&heads)))
}
