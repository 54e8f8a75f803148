//! Reads a ledger's entries in order, from where it is kept, while it may be served.

use std::num::NonZero;
use std::ops::Range;
use std::sync::mpsc;
use std::thread;

use super::{Location, StoreError};
use crate::ledger::{
    Commit, Entry, EntryFilter, EntryId, EntryKey, Genesis, Heads, Shard, Span, Timestamp, UserId, Wallet, WalletState,
};

/// Entries that are read at once. A read is over within milliseconds, so it does not keep SQLite from reusing its WAL.
const PAGE_SIZE: i64 = 2_048;

/// Threads that read at the same time.
const WORKERS_MAX: usize = 4;

/// Pages that a thread reads ahead.
const PAGES_AHEAD: usize = 2;

/// A wallet as it is stored, and the entry that made it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredWallet {
    pub wallet: Wallet,
    pub last_entry_id: EntryId,
}

impl StoredWallet {
    /// The part of it that its entries make.
    #[must_use]
    pub const fn state(&self) -> WalletState {
        let Self { wallet: Wallet { balance, sequence, frozen, .. }, last_entry_id } = *self;
        WalletState { balance, sequence, last_entry_id, frozen }
    }
}

/// A ledger that is read as a whole. It blocks, and each call is one short read.
pub trait BulkReader: Send {
    /// What was decided when the ledger was made.
    fn genesis(&self) -> Genesis;

    /// Refuses a copy that is not whole.
    ///
    /// # Errors
    /// [`StoreError::Incompatible`] if it is one, and every other [`StoreError`].
    fn check_whole(&mut self) -> Result<(), StoreError>;

    /// The head of each shard's chain; [`Genesis::commit`] where nothing was committed yet.
    ///
    /// # Errors
    /// [`StoreError`].
    fn heads(&mut self) -> Result<Heads, StoreError>;

    /// The first of these entries, all of one shard, that is not earlier than `time`; the end of the range if all are.
    /// All must be there.
    ///
    /// # Errors
    /// [`StoreError`].
    fn first_since(&mut self, time: Timestamp, entries: Range<EntryId>) -> Result<EntryId, StoreError>;

    /// Those of these entries, all of one shard, that the filter wants, in order. All must be there.
    ///
    /// # Errors
    /// [`StoreError`].
    fn entries(&mut self, entries: Range<EntryId>, filter: &EntryFilter) -> Result<Vec<Entry>, StoreError>;

    /// The entry of each key, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    fn find(&mut self, keys: &[EntryKey]) -> Result<Vec<Option<Entry>>, StoreError>;

    /// The commits of a shard behind the one with the number `after`, in order: so many at the most.
    ///
    /// # Errors
    /// [`StoreError`].
    fn commits(&mut self, shard: Shard, after: i64, limit: usize) -> Result<Vec<Commit>, StoreError>;

    /// The wallet of each user as it is stored, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    fn wallets(&mut self, users: &[UserId]) -> Result<Vec<Option<StoredWallet>>, StoreError>;

    /// The entries of a span of time, up to those of `heads`: one range for each shard, because times never go back in
    /// any of them.
    ///
    /// # Errors
    /// [`StoreError`].
    fn ranges(&mut self, span: Span, heads: &Heads) -> Result<Vec<Range<EntryId>>, StoreError> {
        let range = |(shard, head): (Shard, &Commit)| {
            let all = shard.base().next()..head.last_entry_id.next();
            let start = span.from.map_or(Ok(all.start), |from| self.first_since(from, all.clone()))?;
            let end = span.to.map_or(Ok(all.end), |to| self.first_since(to, all.clone()))?;
            Ok(start..end)
        };
        heads.iter().map(range).collect()
    }
}

/// How many entries these ranges have together.
#[must_use]
pub fn count(ranges: &[Range<EntryId>]) -> u64 {
    ranges.iter().map(length).sum()
}

fn length(entries: &Range<EntryId>) -> u64 {
    u64::try_from(entries.end.get().saturating_sub(entries.start.get())).unwrap_or(0)
}

/// Reads these entries, range after range and page by page, on several threads. Each page's entries that the filter
/// wants are given to `render`, on the thread that read them. What it made is given to `take` in the order of the
/// ledger, with the number of entries that were looked at.
///
/// # Errors
/// The first [`StoreError`], or the first error of `take`; nothing is taken after it.
pub fn walk<T: Send, E: From<StoreError>>(
    ledger: &Location,
    ranges: &[Range<EntryId>],
    filter: &EntryFilter,
    render: impl Fn(Vec<Entry>) -> T + Sync,
    mut take: impl FnMut(T, u64) -> Result<(), E>,
) -> Result<(), E> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(WORKERS_MAX);
    let render = &render;
    thread::scope(|scope| {
        let streams: Vec<_> = (0..workers)
            .map(|worker| {
                let (sender, pages) = mpsc::sync_channel(PAGES_AHEAD);
                let own = ranges.iter().flat_map(pages_of).skip(worker).step_by(workers);
                scope.spawn(move || read(ledger, own, filter, |page| sender.send(page.map(render)).is_ok()));
                pages
            })
            .collect();
        // The threads take the pages in turn, and so they are taken in turn here.
        for (page, pages) in ranges.iter().flat_map(pages_of).zip(streams.iter().cycle()) {
            let read = pages.recv().map_err(|_| StoreError::unavailable("a reader panicked"))?;
            take(read?, length(&page))?;
        }
        Ok(())
    })
}

/// Reads each page and sends it, until one cannot be read or nobody wants more.
fn read(
    ledger: &Location,
    pages: impl Iterator<Item = Range<EntryId>>,
    filter: &EntryFilter,
    send: impl Fn(Result<Vec<Entry>, StoreError>) -> bool,
) {
    let mut reader = None;
    for page in pages {
        let read = match &mut reader {
            None => ledger.bulk_reader().and_then(|opened| reader.insert(opened).entries(page, filter)),
            Some(reader) => reader.entries(page, filter),
        };
        let is_last = read.is_err();
        if !send(read) || is_last {
            return;
        }
    }
}

/// The ranges in which a range is read.
fn pages_of(entries: &Range<EntryId>) -> impl Iterator<Item = Range<EntryId>> + use<> {
    let Range { start, end } = entries.clone();
    let place = |number| EntryId::new(number).unwrap_or(EntryId::ZERO);
    let step = usize::try_from(PAGE_SIZE).unwrap_or(usize::MAX);
    let starts = (start.get()..end.get()).step_by(step);
    starts.map(move |start| place(start)..end.min(place(start.saturating_add(PAGE_SIZE))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_in_pages_that_leave_nothing_out() {
        let place = |number| EntryId::new(number).unwrap();
        for (start, end) in [(1, 1), (1, 2), (1, 2_049), (1, 2_050), (7, 10_000), (5, 3)] {
            let range = place(start)..place(end);
            let pages: Vec<_> = pages_of(&range).collect();
            let mut next = range.start;
            for page in &pages {
                assert_eq!(page.start, next);
                assert!(page.start < page.end && length(page) <= 2_048, "{page:?}");
                next = page.end;
            }
            assert_eq!(count(&pages), length(&range));
            assert!(pages.is_empty() || next == range.end, "{pages:?}");
        }
    }
}
