//! The feed: the ledger in commit order, in pages and as a stream of events.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use futures::{StreamExt as _, TryStreamExt as _, future};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};

use super::error::Failure;
use super::openapi::declare_reasons;
use super::permitted::{Permitted, ToReadLedger};
use super::request::{self, Limit};
use super::response::{self, EntryAnswer, Id};
use super::{SharedState, uri};
use crate::access::Stream;
use crate::api::feed::{self, Timed};
use crate::api::reason::Problem;
use crate::engine::FeedPage;
use crate::ledger::{Currency, EntryFilter, FeedStart, Kind, UserId};

declare_reasons! {
    FeedReasons: Read [InvalidRequest Unauthenticated Forbidden RateLimited Busy Deadline Unavailable]
}

/// The longest that a page may wait for its first entry, in seconds.
const WAIT_MAX_SECONDS: i64 = 30;
/// The header in which a client of a stream says where it was cut off.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A page of the whole ledger, in commit order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct FeedAnswer {
    #[serde(rename = "success")]
    success: bool,
    entries: Vec<EntryAnswer>,
    /// What `after` must be for what comes next. Keep it as it is.
    #[schema(example = "v1.2")]
    next: String,
}

impl FeedAnswer {
    pub fn new(page: &FeedPage, currency: Currency) -> Self {
        let entries = page.entries().map(|entry| EntryAnswer::new(entry, currency)).collect();
        Self { success: true, entries, next: page.cursor().to_string() }
    }
}

/// Read the ledger in commit order
///
/// Gives a page of the whole ledger, oldest first, and in `Next` where to go on: an entry is in one page only, and none
/// is left out. Ask again with `after` set to `Next`. A page may have fewer entries than there are, even none: only
/// with `wait` does an empty page mean that nothing came.
#[utoipa::path(
    get, path = "/api/v1/ledger/entries", tag = "ledger", operation_id = "listLedgerEntries", params(PageQuery),
    responses((status = 200, description = "A page of entries.", body = FeedAnswer), FeedReasons),
)]
pub async fn entries(
    State(state): State<SharedState>,
    actor: Permitted<ToReadLedger>,
    uri: Uri,
) -> Result<Response, Failure> {
    let PageQuery { after, limit, wait, user, kind } = PageQuery::parse(&uri)?;
    let filter = EntryFilter { user_id: user, kinds: kind };
    // The wait comes on top of what a read may take.
    let deadline = state.deadline().and_then(|deadline| deadline.checked_add(wait));
    let _share = actor.share(Stream::Feed)?;
    let page = state.engine.feed.page(after, filter, limit, wait, deadline).await?;
    // The wait may have been longer than the token was valid.
    actor.recheck()?;
    Ok(response::answer(StatusCode::OK, &FeedAnswer::new(&page, state.engine.currency)))
}

/// Follow the ledger
///
/// Gives the whole ledger as Server-Sent Events: first what is stored, then each new entry as soon as it is on disk.
/// Each is an event `entry`, whose `data` is the entry as JSON and whose `id` is the cursor behind it. A client that is
/// cut off goes on with the last `id` in the header `Last-Event-ID`, or in `after`. A comment at least every 15 seconds
/// tells that the stream is alive; it comes with the `id` up to which there was nothing. A client that does not read
/// for 20 seconds is cut off.
#[utoipa::path(
    get, path = "/api/v1/ledger/entries/stream", tag = "ledger", operation_id = "streamLedgerEntries",
    params(
        StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The last `id`: it goes before `after`."),
    ),
    responses(
        (status = 200, description = "The events.", content_type = "text/event-stream", body = String),
        FeedReasons,
    ),
)]
pub async fn stream(
    State(state): State<SharedState>,
    Permitted(actor, _): Permitted<ToReadLedger>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Failure> {
    let StreamQuery { after, user, kind } = StreamQuery::parse(&uri)?;
    let start = last_event_id(&headers)?.unwrap_or(after);
    let filter = EntryFilter { user_id: user, kinds: kind };
    let (currency, options) = (state.engine.currency, state.options.feed);
    let pages = feed::pages(&state.engine.feed, start, filter, None::<Instant>, options).await?;
    let events = pages.map_ok(move |page| (page.cursor().clone(), events(&page, currency)));
    // There is no event for why it ends. The client asks again, and is told.
    let events =
        actor.while_admitted(Timed::new(Box::pin(events), options))?.take_while(|events| future::ready(events.is_ok()));
    let events = events.map_err(|Problem { message, .. }| message);
    let mut response = Response::new(Body::from_stream(events));
    response.headers_mut().extend([
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // A proxy that collects an answer before it passes it on would hold events back.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]);
    Ok(response)
}

/// A page as events: all in one piece, because each piece costs as much to send as several events to write. For a page
/// without entries a comment, with the cursor in a field of its own: a client remembers it, and sees no event.
fn events(page: &FeedPage, currency: Currency) -> Vec<u8> {
    let mut events = Vec::new();
    for (entry, cursor) in page.entries_with_cursors() {
        events.extend_from_slice(b"event: entry\nid: ");
        events.extend_from_slice(cursor.to_string().as_bytes());
        events.extend_from_slice(b"\ndata: ");
        let entry = EntryAnswer::new(entry, currency);
        serde_json::to_writer(&mut events, &entry).expect("an entry can be written as JSON");
        events.extend_from_slice(b"\n\n");
    }
    if events.is_empty() {
        events = format!(":\nid: {}\n\n", page.cursor()).into_bytes();
    }
    events
}

/// Where a client was cut off, if it says so.
fn last_event_id(headers: &HeaderMap) -> Result<Option<FeedStart>, Problem> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    // A client that has seen no event yet may say so with an empty one.
    let Some(value) = values.next().filter(|value| !value.is_empty()) else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::invalid("Last-Event-ID is given more than once"));
    }
    feed::start("Last-Event-ID", value.to_str().unwrap_or("\u{fffd}")).map(Some)
}

/// Which part of the ledger is asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// The `Next` of the page before. Left out, the page begins with the first entry of the ledger; `now` means behind
    /// the last.
    #[param(value_type = Option<String>, example = "v1.2")]
    after: FeedStart,
    /// How many entries to give at the most.
    #[param(value_type = Option<Limit>, inline, example = 50)]
    limit: usize,
    /// How many seconds to wait for the first entry, when there is none yet.
    #[param(schema_with = wait_schema)]
    wait: Duration,
    /// Only entries of this user.
    #[param(value_type = Option<Id>)]
    user: Option<UserId>,
    /// Only entries of these kinds, separated by commas.
    #[param(schema_with = kinds_schema, style = Form, explode = false)]
    kind: Vec<Kind>,
}

/// Which events are asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct StreamQuery {
    /// The `id` of an event, or the `Next` of a page. Left out, the stream begins with the first entry of the ledger;
    /// `now` means behind the last.
    #[param(value_type = Option<String>, example = "v1.2")]
    after: FeedStart,
    /// Only entries of this user.
    #[param(value_type = Option<Id>)]
    user: Option<UserId>,
    /// Only entries of these kinds, separated by commas.
    #[param(schema_with = kinds_schema, style = Form, explode = false)]
    kind: Vec<Kind>,
}

impl PageQuery {
    fn parse(uri: &Uri) -> Result<Self, Problem> {
        let [after, limit, wait, user, kind] = uri::query(uri, &["after", "limit", "wait", "user", "kind"])?;
        let (limit, wait) = (request::page_size(limit.as_deref())?, parse_wait(wait.as_deref())?);
        let StreamQuery { after, user, kind } = StreamQuery::of(after.as_deref(), user.as_deref(), kind.as_deref())?;
        Ok(Self { after, limit, wait, user, kind })
    }
}

impl StreamQuery {
    fn parse(uri: &Uri) -> Result<Self, Problem> {
        let [after, user, kind] = uri::query(uri, &["after", "user", "kind"])?;
        Self::of(after.as_deref(), user.as_deref(), kind.as_deref())
    }

    fn of(after: Option<&str>, user: Option<&str>, kind: Option<&str>) -> Result<Self, Problem> {
        let after = feed::start("after", after.unwrap_or_default())?;
        let user = user.map(|text| uri::id(text, "user", UserId::new)).transpose()?;
        Ok(Self { after, user, kind: parse_kinds(kind)? })
    }
}

fn parse_wait(wait: Option<&str>) -> Result<Duration, Problem> {
    let seconds = wait.map_or(Some(0), uri::number).filter(|seconds| *seconds <= WAIT_MAX_SECONDS);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map(Duration::from_secs).ok_or_else(|| Problem::out_of_range("wait", 0, WAIT_MAX_SECONDS))
}

fn parse_kinds(kinds: Option<&str>) -> Result<Vec<Kind>, Problem> {
    let kind = |name: &str| Kind::from_name(name).ok_or_else(unknown_kind);
    kinds.map_or(Ok(Vec::new()), |names| names.split(',').map(kind).collect())
}

fn unknown_kind() -> Problem {
    Problem::invalid(format!("kind must be one or more of {}, separated by commas", Kind::names()))
}

fn wait_schema() -> Object {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(WAIT_MAX_SECONDS));
    number.default(Some(0.into())).build()
}

fn kinds_schema() -> utoipa::openapi::schema::Array {
    ArrayBuilder::new().items(response::kind_schema()).min_items(Some(1)).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Result<PageQuery, String> {
        let uri: Uri = format!("/x?{query}").parse().unwrap();
        PageQuery::parse(&uri).map_err(|problem| problem.message)
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let PageQuery { after, limit, wait, user, kind } = page("").unwrap();
        assert_eq!((after, limit, wait, user, kind), (FeedStart::Beginning, 50, Duration::ZERO, None, vec![]));
    }

    #[test]
    fn each_parameter_has_its_range() {
        let asked = page("after=v1.7&limit=1000&wait=30&user=5&kind=charge,win_rollback").unwrap();
        assert_eq!((asked.limit, asked.wait, asked.user), (1_000, Duration::from_secs(30), UserId::new(5)));
        assert_eq!(asked.kind, [Kind::Charge, Kind::WinRollback]);
        assert_eq!(page("after=now").unwrap().after, FeedStart::Now);
        let kinds = "kind must be one or more of open, charge, win, rollback, deposit, withdrawal, win_rollback, \
                     freeze, unfreeze, separated by commas";
        for (query, message) in [
            ("after=7", "after is not a cursor that was given out"),
            ("limit=0", "limit must be a whole number from 1 to 1000"),
            ("wait=31", "wait must be a whole number from 0 to 30"),
            ("wait=1.5", "wait must be a whole number from 0 to 30"),
            ("wait=", "wait must be a whole number from 0 to 30"),
            ("user=x", "user must be a whole number from 0 to 9223372036854775807"),
            ("kind=", kinds),
            ("kind=Charge", kinds),
            ("kind=charge,", kinds),
            ("kind=charge&kind=win", "kind is given more than once"),
            ("before=1", "`before` is not a query parameter of this call"),
        ] {
            assert_eq!(page(query).unwrap_err(), message, "{query}");
        }
    }

    #[test]
    fn a_client_that_was_cut_off_says_where() {
        let of = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            last_event_id(&HeaderMap::from_iter([(LAST_EVENT_ID, value)]))
        };
        assert_eq!(last_event_id(&HeaderMap::new()), Ok(None));
        assert_eq!(of(b"v1.7"), Ok(Some(FeedStart::After("v1.7".parse().unwrap()))));
        for value in [&b"7"[..], b"\xff"] {
            assert_eq!(of(value).unwrap_err().message, "Last-Event-ID is not a cursor that was given out");
        }
    }
}
