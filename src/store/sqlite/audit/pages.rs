//! Reads the entries ahead of the audit, on threads of their own, with what it must compare them with.

use std::collections::VecDeque;
use std::path::Path;
use std::thread;

use crossbeam_channel::{Sender, bounded, unbounded};
use rusqlite::Connection;

use super::Stop;
use super::events::Sums;
use crate::ledger::{Entry, EntryId, Finding, Undone};
use crate::store::sqlite::open::open_to_read;
use crate::store::sqlite::query::query;
use crate::store::sqlite::walk::{EntryPages, PAGE};
use crate::store::sqlite::{history, row};

const SELECT_UNDONE: &str = "select entry_id, amount from entry where event_id = ?1 and user_id = ?2 and kind = ?3";

/// Pages that are read ahead for each thread.
const AHEAD: usize = 4;

/// More readers than this would wait for the one thread that recomputes.
const READERS_MAX: usize = 4;

/// What is compared beside the entries themselves.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub has_history_index: bool,
    pub can_freeze: bool,
    pub sums: &'a Sums,
}

/// Entries in ledger order, and what the audit must know of them.
#[derive(Default)]
pub(super) struct Page {
    pub entries: Vec<Entry>,
    /// What each of its rollbacks names, if that is stored.
    pub undone: VecDeque<Option<Undone>>,
    /// Of all its entries together.
    pub sum: u64,
    /// How many of them the history index must have.
    pub indexed: i64,
    /// How many of them freeze or unfreeze a wallet.
    pub freezings: i64,
    /// Why there are no more, if something is wrong with the next one.
    pub stop: Option<Stop>,
}

impl Page {
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() == PAGE
    }
}

/// Reads pages over one connection.
pub(super) struct Pages<'c> {
    connection: &'c Connection,
    entries: EntryPages<'c>,
    scope: Scope<'c>,
}

impl<'c> Pages<'c> {
    pub(super) fn new(connection: &'c Connection, scope: Scope<'c>) -> Self {
        Self { connection, entries: EntryPages::new(connection), scope }
    }

    /// The next page after `after`, up to `last`.
    pub(super) fn read(&mut self, after: Option<EntryId>, last: EntryId) -> Page {
        let mut page = Page { entries: Vec::with_capacity(PAGE), ..Page::default() };
        page.stop = self.entries.read(after, last, &mut page.entries).err().map(Stop::from);
        for at in 0..page.entries.len() {
            if let Err(stop) = self.look_up(&mut page, at) {
                page.entries.truncate(at);
                page.stop = Some(stop);
                break;
            }
        }
        page
    }

    /// Looks up what belongs to the entry at this place of the page.
    fn look_up(&self, page: &mut Page, at: usize) -> Result<(), Stop> {
        let entry = &page.entries[at];
        if let Some(kind) = entry.kind.undoes() {
            let key = (entry.event_id.get(), entry.user_id.get(), kind.code());
            page.undone.push_back(query(self.connection, SELECT_UNDONE, key, |found| row::undone(found, 0))?.flatten());
        }
        if self.scope.has_history_index && history::is_indexed(entry) {
            if !history::index_has(self.connection, entry)? {
                let what = format!("row of the history index for entry {}", entry.entry_id);
                return Err(Finding::Changed { what }.into());
            }
            page.indexed += 1;
        }
        if self.scope.can_freeze && entry.kind.freezes().is_some() {
            if !history::freezings_have(self.connection, entry)? {
                let found = format!("the index of freezings lacks entry {}", entry.entry_id);
                return Err(Finding::File { found }.into());
            }
            page.freezings += 1;
        }
        page.sum = page.sum.wrapping_add(self.scope.sums.of(entry));
        Ok(())
    }
}

/// Reads the entries after `after` up to `last` on threads of their own, and gives them to `take`, a page at a time and
/// in order. Ends when `take` has failed.
pub(super) fn read_ahead(
    path: &Path,
    scope: Scope<'_>,
    after: Option<EntryId>,
    last: EntryId,
    mut take: impl FnMut(Page) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let readers = thread::available_parallelism().map_or(1, usize::from).min(READERS_MAX);
    let connections = (0..readers).map(|_| open_to_read(path)).collect::<Result<Vec<_>, _>>()?;
    thread::scope(|threads| {
        let (jobs, queue) = unbounded::<(Option<EntryId>, Sender<Page>)>();
        for connection in connections {
            let queue = queue.clone();
            threads.spawn(move || {
                let mut pages = Pages::new(&connection, scope);
                for (after, reply) in queue {
                    // Nobody waits for it any more once something is wrong.
                    let _ = reply.send(pages.read(after, last));
                }
            });
        }
        let mut starts = starts(after, last);
        let mut ahead = VecDeque::new();
        loop {
            while ahead.len() < readers * AHEAD
                && let Some(start) = starts.next()
            {
                let (reply, page) = bounded(1);
                jobs.send((start, reply)).expect("the readers wait for jobs");
                ahead.push_back(page);
            }
            let Some(page) = ahead.pop_front() else { return Ok(()) };
            let page = page.recv().expect("a reader does not panic");
            let is_last = !page.is_full();
            take(page)?;
            if is_last {
                return Ok(());
            }
        }
    })
}

/// What each page begins after. Without a gap in the entries, the pages are next to each other. The page that has a gap
/// reaches into the next one, and the audit ends at the gap.
fn starts(after: Option<EntryId>, last: EntryId) -> impl Iterator<Item = Option<EntryId>> {
    let step = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let first = after.map_or(0, EntryId::get);
    let next = move |start: &i64| start.checked_add(step).filter(|next| *next < last.get());
    let later = std::iter::successors(next(&first), next);
    std::iter::once(after).chain(later.map(EntryId::new))
}
