//! The calls that only look something up.

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::SharedState;
use super::body::{duplicate, parse_id};
use super::error::Failure;
use super::openapi::declare_reasons;
use super::request::{EntriesQuery, WalletQuery};
use super::response::{self, CheckpointAnswer, EntriesAnswer, HealthAnswer, Id, WalletAnswer};
use crate::api::reason::{Problem, Reason};
use crate::engine::{Health, Page};
use crate::ledger::{EntryId, UserId};

declare_reasons! {
    SystemReasons: Read []
    UserReasons: Read [InvalidRequest NotFound UnknownUser]
}

/// Ask whether the system is up
///
/// Up means the last commit succeeded and none is stuck.
#[utoipa::path(
    get, path = "/api/v1/healthcheck", tag = "system", operation_id = "healthcheck",
    responses((status = 200, description = "The system is up.", body = HealthAnswer), SystemReasons),
)]
pub async fn healthcheck(State(state): State<SharedState>) -> Result<Response, Failure> {
    match state.engine.health.now() {
        Health::Serving => Ok(response::answer(StatusCode::OK, &HealthAnswer::UP)),
        Health::NotServing => Err(Failure::of_read(Reason::Unavailable)),
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
    UserPath { user_id }: UserPath,
    uri: Uri,
) -> Result<Response, Failure> {
    let WalletQuery { at } = query(&uri)?;
    let not_a_time = || Problem::invalid("at must be an RFC 3339 time, such as 2026-01-02T03:04:05Z; write + as %2B");
    let at = at.map(|text| response::parse_rfc3339(&text).ok_or_else(not_a_time)).transpose()?;
    let wallet = state.engine.queries.wallet(user_id, at).await?;
    let wallet = wallet.ok_or_else(|| Failure::of_read(Reason::UnknownUser))?;
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
    UserPath { user_id }: UserPath,
    uri: Uri,
) -> Result<Response, Failure> {
    let EntriesQuery { limit, before } = query(&uri)?;
    let limit = limit.map_or(Ok(Page::SIZE_DEFAULT), |text| parse_limit(&text))?;
    let before = before.map(|text| parse_id(&text, "before", EntryId::new)).transpose()?;
    let page = state.engine.queries.entries(user_id, before, limit).await?;
    let page = page.ok_or_else(|| Failure::of_read(Reason::UnknownUser))?;
    Ok(response::answer(StatusCode::OK, &EntriesAnswer::new(user_id.get(), &page, state.engine.currency)))
}

/// Look up the head of the commit chain
///
/// Its hash covers every entry there is. Keep it elsewhere to prove later that nothing before it was altered.
#[utoipa::path(
    get, path = "/api/v1/ledger/checkpoint", tag = "system", operation_id = "getCheckpoint",
    responses((status = 200, description = "The head of the chain.", body = CheckpointAnswer), SystemReasons),
)]
pub async fn checkpoint(State(state): State<SharedState>) -> Result<Response, Failure> {
    Ok(response::answer(StatusCode::OK, &CheckpointAnswer::new(&state.engine.queries.head().await?)))
}

/// Whose wallet is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Path, rename_all = "PascalCase")]
pub struct UserPath {
    /// The user's id.
    #[param(value_type = Id, example = 123_123)]
    user_id: UserId,
}

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        // A path that cannot be decoded holds no number either.
        let text = Path::<String>::from_request_parts(parts, state).await.map_or_else(|_| String::new(), |path| path.0);
        Ok(Self { user_id: parse_id(&text, "UserId", UserId::new)? })
    }
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let parsed = Query::try_from_uri(uri).map(|Query(query)| query);
    parsed.map_err(|error| duplicate(&error).unwrap_or_else(|| Problem::invalid("Query string is not valid")))
}

/// The size of a page. The engine cuts a larger one, so any number from 1 will do.
fn parse_limit(text: &str) -> Result<usize, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = if digits { text.parse().unwrap_or(usize::MAX) } else { 0 };
    let out_of_range = || Problem::invalid(format!("limit must be a whole number from 1 to {}", Page::SIZE_MAX));
    if limit == 0 { Err(out_of_range()) } else { Ok(limit) }
}
