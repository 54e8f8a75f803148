//! What both APIs do for a reader of the feed: parse where it begins, follow the ledger for it, and cut it off when it
//! does not read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use tokio::time::Instant;

use crate::api::reason::{Problem, Reason};
use crate::engine::{EngineError, Feed, FeedPage, Watcher};
use crate::ledger::{Cursor, EntryFilter, FeedStart};

/// How readers of the feed are treated.
#[derive(Clone, Copy, Debug)]
pub struct FeedOptions {
    /// How long a reader is left without a word. The contract promises one every 15 seconds.
    pub sign_of_life_interval: Duration,
    /// How long a reader may take nothing of what there is for it. It is less than how long a connection waits, which
    /// ends without a reason.
    pub slow_reader_timeout: Duration,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self { sign_of_life_interval: Duration::from_secs(12), slow_reader_timeout: Duration::from_secs(20) }
    }
}

/// Entries that a reader gets at once, which bounds what is held for it: less than a hundred kilobytes.
const PAGE_SIZE: usize = 512;

/// Reads where a reader begins, from the field or header called `name`.
///
/// # Errors
/// [`Reason::InvalidRequest`], in a message that names it.
pub fn start(name: &str, text: &str) -> Result<FeedStart, Problem> {
    text.parse().map_err(|_| Problem::invalid(format!("{name} is not a cursor that was given out")))
}

/// Follows the ledger from `start` on: pages with the entries that `filter` wants, and now and then one without any,
/// as a sign of life. The stream ends with an error: when the feed is closed, a read fails, or `deadline` passes.
///
/// # Errors
/// As [`Feed::watch`].
pub async fn pages(
    feed: &Feed,
    start: FeedStart,
    filter: EntryFilter,
    deadline: Option<Instant>,
    options: FeedOptions,
) -> Result<impl Stream<Item = Result<FeedPage, Problem>> + Send + use<>, Problem> {
    let watcher = feed.watch(start, filter, deadline).await?;
    // Only so can a reader that begins now go on from there if it is cut off before the first entry.
    let first = (start == FeedStart::Now).then(|| Ok(watcher.here()));
    let pages = stream::unfold(Some(watcher), move |watcher| async move {
        let mut watcher = watcher?;
        match next(&mut watcher, deadline, options).await {
            Ok(page) => Some((Ok(page), Some(watcher))),
            Err(error) => Some((Err(Problem::from(error)), None)),
        }
    });
    Ok(stream::iter(first).chain(pages))
}

/// The next page, or a sign of life.
async fn next(watcher: &mut Watcher, deadline: Option<Instant>, options: FeedOptions) -> Result<FeedPage, EngineError> {
    let sign_of_life = Instant::now() + options.sign_of_life_interval;
    let until = deadline.map_or(sign_of_life, |deadline| deadline.min(sign_of_life));
    let page = watcher.next(PAGE_SIZE, until).await?;
    let has_expired = deadline.is_some_and(|deadline| deadline <= Instant::now());
    if has_expired { Err(EngineError::Deadline) } else { Ok(page) }
}

/// A stream to a reader, each item with the cursor behind it. It ends with [`Reason::SlowReader`] if the reader takes
/// an item and then nothing for too long.
pub struct Timed<S> {
    inner: S,
    timeout: Duration,
    /// The last item's cursor, and when it was taken, if the reader has not asked for more since.
    taken: Option<(Cursor, Instant)>,
    has_ended: bool,
}

impl<S> Timed<S> {
    pub const fn new(inner: S, options: FeedOptions) -> Self {
        Self { inner, timeout: options.slow_reader_timeout, taken: None, has_ended: false }
    }
}

impl<T, S: Stream<Item = Result<(Cursor, T), Problem>> + Unpin> Stream for Timed<S> {
    type Item = Result<T, Problem>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, Problem>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        if let Some((cursor, at)) = self.taken.take()
            && at.elapsed() > self.timeout
        {
            self.has_ended = true;
            tracing::debug!(reason = Reason::SlowReader.name(), "a reader of the feed is cut off");
            return Poll::Ready(Some(Err(Problem::slow_reader(cursor))));
        }
        Poll::Ready(match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
            Some(Ok((cursor, item))) => {
                self.taken = Some((cursor, Instant::now()));
                Some(Ok(item))
            }
            Some(Err(problem)) => {
                self.has_ended = true;
                Some(Err(problem))
            }
            None => None,
        })
    }
}
