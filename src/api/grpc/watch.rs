//! The stream of the ledger's entries.

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;

use super::convert;
use super::proto::{WatchEntriesRequest, WatchEntriesResponse};
use crate::api::feed::{self, FeedOptions, Timed};
use crate::api::reason::Problem;
use crate::engine::{Feed, FeedPage};
use crate::ledger::{Cursor, EntryFilter, FeedStart, Kind};

/// The entries that `request` asks for, and signs of life.
///
/// # Errors
/// If the request is not well formed, or nobody may watch any more.
pub async fn entries(
    feed: &Feed,
    request: WatchEntriesRequest,
    deadline: Option<Instant>,
    options: FeedOptions,
) -> Result<impl Stream<Item = Result<WatchEntriesResponse, Problem>> + Send + use<>, Problem> {
    let (start, filter) = parse(request)?;
    let pages = feed::pages(feed, start, filter, deadline, options).await?;
    let responses = pages.map_ok(|page| stream::iter(responses(&page)).map(Ok)).try_flatten();
    Ok(Timed::new(Box::pin(responses), options))
}

/// Where the reader begins, and what it wants.
fn parse(request: WatchEntriesRequest) -> Result<(FeedStart, EntryFilter), Problem> {
    let WatchEntriesRequest { after, user_id, kinds } = request;
    let start = feed::start("after", after.as_deref().unwrap_or_default())?;
    let user_id = user_id.map(|user_id| convert::user(Some(user_id))).transpose()?;
    let kind = |code: &i32| Kind::from_code(i64::from(*code)).ok_or_else(|| unknown_kind(*code));
    let kinds = kinds.iter().map(kind).collect::<Result<_, _>>()?;
    Ok((start, EntryFilter { user_id, kinds }))
}

fn unknown_kind(code: i32) -> Problem {
    Problem::invalid(format!("kinds has {code}, which is no kind of entry"))
}

/// A response for each entry of a page, with the cursor behind it; for a page without any, one without an entry.
fn responses(page: &FeedPage) -> Vec<(Cursor, WatchEntriesResponse)> {
    let response = |cursor: Cursor, entry| {
        let text = cursor.to_string();
        (cursor, WatchEntriesResponse { entry, cursor: text })
    };
    let entries = page.entries_with_cursors().map(|(entry, cursor)| response(cursor, Some(entry.into())));
    let responses: Vec<_> = entries.collect();
    if responses.is_empty() { vec![response(page.cursor().clone(), None)] } else { responses }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::UserId;

    fn request(kinds: Vec<i32>) -> WatchEntriesRequest {
        WatchEntriesRequest { after: None, user_id: None, kinds }
    }

    #[test]
    fn what_is_left_out_means_everything_from_the_beginning() {
        assert_eq!(parse(request(vec![])), Ok((FeedStart::Beginning, EntryFilter::default())));
        let after = |text: &str| WatchEntriesRequest { after: Some(text.to_owned()), ..request(vec![]) };
        assert_eq!(parse(after("")).unwrap().0, FeedStart::Beginning);
        assert_eq!(parse(after("now")).unwrap().0, FeedStart::Now);
        assert_eq!(parse(after("7")).unwrap_err().message, "after is not a cursor that was given out");
    }

    #[test]
    fn a_filter_names_a_user_and_kinds() {
        let asked = WatchEntriesRequest { user_id: Some(7), ..request(vec![2, 9]) };
        let filter = EntryFilter { user_id: UserId::new(7), kinds: vec![Kind::Charge, Kind::Unfreeze] };
        assert_eq!(parse(asked), Ok((FeedStart::Beginning, filter)));
        for code in [0, -1, 10, i32::MAX, i32::MIN] {
            let message = parse(request(vec![2, code])).unwrap_err().message;
            assert_eq!(message, format!("kinds has {code}, which is no kind of entry"));
        }
        let negative = WatchEntriesRequest { user_id: Some(-1), ..request(vec![]) };
        let message = "user_id must be a whole number from 0 to 9223372036854775807";
        assert_eq!(parse(negative).unwrap_err().message, message);
    }
}
