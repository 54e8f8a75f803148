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
    /// How long a reader may take nothing of what there is for it. It is longer than the interval above, in which there
    /// is something for everybody, and less than how long a connection waits, which ends without a reason.
    pub slow_reader_timeout: Duration,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self { sign_of_life_interval: Duration::from_secs(12), slow_reader_timeout: Duration::from_secs(20) }
    }
}

/// Entries that a reader gets at once, which bounds what is held for it: a hundred kilobytes, or half a megabyte if
/// each has a note as long as it may be.
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
    let is_now = start == FeedStart::Now;
    let watcher = feed.watch(start, filter, deadline).await?;
    // Only so can a reader that begins now go on from there if it is cut off before the first entry.
    let first = is_now.then(|| Ok(watcher.here()));
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

/// A stream to a reader, each item with the cursor behind it. It ends with [`Reason::SlowReader`] if it is not polled
/// for too long: while a reader reads, each sign of life makes its connection poll.
pub struct Timed<S> {
    inner: S,
    timeout: Duration,
    /// The cursor of the last item that was taken.
    cursor: Option<Cursor>,
    polled_at: Instant,
    has_ended: bool,
}

impl<S> Timed<S> {
    pub fn new(inner: S, options: FeedOptions) -> Self {
        let (timeout, polled_at) = (options.slow_reader_timeout, Instant::now());
        Self { inner, timeout, cursor: None, polled_at, has_ended: false }
    }
}

impl<T, S: Stream<Item = Result<(Cursor, T), Problem>> + Unpin> Stream for Timed<S> {
    type Item = Result<T, Problem>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, Problem>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let now = Instant::now();
        let before = std::mem::replace(&mut self.polled_at, now);
        if now - before > self.timeout
            && let Some(cursor) = self.cursor.clone()
        {
            self.has_ended = true;
            tracing::debug!(reason = Reason::SlowReader.name(), "a reader of the feed is cut off");
            return Poll::Ready(Some(Err(Problem::slow_reader(cursor))));
        }
        Poll::Ready(match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
            Some(Ok((cursor, item))) => {
                self.cursor = Some(cursor);
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

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use tokio::time;

    use super::*;
    use crate::api::reason::Detail;
    use crate::ledger::EntryId;

    /// Two milliseconds less than the reader has.
    const LONG: Duration = Duration::from_secs(20);

    fn cursor(number: i64) -> Cursor {
        Cursor::after(EntryId::new(number).unwrap())
    }

    /// A stream of the numbers 1, 2, 3, …, each so long after the one before.
    fn timed(pause: Duration) -> Timed<impl Stream<Item = Result<(Cursor, i64), Problem>> + Unpin> {
        let numbers = stream::iter(1..).then(move |number| async move {
            time::sleep(pause).await;
            Ok((cursor(number), number))
        });
        let options = FeedOptions { slow_reader_timeout: LONG + Duration::from_millis(2), ..FeedOptions::default() };
        Timed::new(Box::pin(numbers), options)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_for_too_long_is_told_how_far_it_came() {
        let mut numbers = timed(Duration::ZERO);
        for number in 1..=3 {
            assert_eq!(numbers.try_next().await, Ok(Some(number)));
            time::sleep(LONG).await;
        }
        time::sleep(Duration::from_millis(5)).await;
        let problem = numbers.try_next().await.unwrap_err();
        assert_eq!((problem.reason, problem.detail), (Reason::SlowReader, Some(Detail::Cursor(cursor(3)))));
        assert_eq!(numbers.try_next().await, Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_is_not_slow_while_it_waits_for_what_comes() {
        let mut numbers = timed(LONG);
        for number in 1..=3 {
            assert_eq!(numbers.try_next().await, Ok(Some(number)));
        }
    }
}
