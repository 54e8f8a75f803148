//! Compares a statement with the ledger: each line with its entry, and then each entry of the span with the lines.

use std::collections::{HashMap, HashSet};
use std::iter;

use anyhow::Result;
use fixedbitset::FixedBitSet;
use foldhash::fast::RandomState;

use super::difference::{Difference, DifferenceKind, Recorded};
use super::report::Report;
use super::statement::StatementLine;
use crate::cli::bar::Bar;
use crate::ledger::{Entry, EntryFilter, EntryId, EntryKey, Heads, Shard, Span};
use crate::store::{self, BulkReader, Location};

/// Lines that are looked up in one read.
const LINES_AT_ONCE: usize = 1_024;

/// Events missing in the ledger of which it is remembered that the file has them. Of those after them, a second line is
/// told as missing too, and not as a duplicate.
const MISSING_REMEMBERED: usize = 65_536;

/// A statement and a ledger that are being compared: each line first, and then each entry.
pub struct Comparison {
    reader: Box<dyn BulkReader>,
    span: Span,
    seen: Seen,
}

/// The events that the file has had so far.
#[derive(Default)]
struct Seen {
    /// One bit for each entry of a shard, however many lines there are.
    entries: HashMap<Shard, FixedBitSet, RandomState>,
    missing: HashSet<EntryKey, RandomState>,
}

impl Comparison {
    /// A comparison with what happened in this span of time.
    pub fn new(reader: Box<dyn BulkReader>, span: Span) -> Self {
        Self { reader, span, seen: Seen::default() }
    }

    /// Compares the next lines, and tells in what they differ, in the order of the file. Returns whether there were
    /// any.
    ///
    /// # Errors
    /// If the ledger cannot be read, or what `next` answers.
    pub fn lines(
        &mut self,
        next: &mut dyn FnMut() -> Result<Option<StatementLine>>,
        report: &mut Report,
    ) -> Result<bool> {
        let lines: Vec<StatementLine> =
            iter::from_fn(|| next().transpose()).take(LINES_AT_ONCE).collect::<Result<_>>()?;
        let keys: Vec<EntryKey> = lines.iter().map(|told| told.key).collect();
        for (told, entry) in lines.iter().zip(self.reader.find(&keys)?) {
            report.count_line(told);
            let recorded = entry.as_ref().map(Recorded::from);
            if let Some(what) = self.difference(told, recorded) {
                report.tell(&Difference::of_line(what, *told, recorded))?;
            }
        }
        Ok(!lines.is_empty())
    }

    /// In what a line differs from the ledger, if it does.
    fn difference(&mut self, told: &StatementLine, recorded: Option<Recorded>) -> Option<DifferenceKind> {
        if self.seen.note(told.key, recorded) {
            return Some(DifferenceKind::Duplicate);
        }
        match recorded {
            None => Some(DifferenceKind::MissingInLedger),
            Some(recorded) if !self.span.contains(recorded.created_at) => Some(DifferenceKind::OutsideSpan),
            Some(recorded) if recorded.amount != told.amount => Some(DifferenceKind::Amount),
            Some(_) => None,
        }
    }

    /// Tells which entries of the span, up to those of `heads`, the file has not. Of the kinds that games cause, it
    /// must have all; of another kind only if it has any.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn entries(mut self, ledger: &Location, heads: &Heads, report: &mut Report) -> Result<()> {
        let ranges = self.reader.ranges(self.span, heads)?;
        let filter = EntryFilter { user_id: None, kinds: report.kinds().collect() };
        let bar = Bar::of_entries("comparing the ledger", store::count(&ranges));
        let compare = |page: Vec<Entry>, read| {
            bar.add(read);
            for entry in &page {
                report.count_entry(entry);
                if !self.seen.has(entry.entry_id) {
                    report.tell(&Difference::of_entry(entry))?;
                }
            }
            anyhow::Ok(())
        };
        store::walk(ledger, &ranges, &filter, |page| page, compare)
    }
}

impl Seen {
    /// Notes that the file has an event. Returns whether it had it before.
    fn note(&mut self, key: EntryKey, recorded: Option<Recorded>) -> bool {
        let Some(recorded) = recorded else {
            let is_full = self.missing.len() >= MISSING_REMEMBERED;
            return if is_full { self.missing.contains(&key) } else { !self.missing.insert(key) };
        };
        let (shard, place) = place(recorded.entry_id);
        let entries = self.entries.entry(shard).or_default();
        if place >= entries.len() {
            entries.grow((place + 1).next_power_of_two());
        }
        entries.put(place)
    }

    /// Whether the file has this entry's event.
    fn has(&self, entry_id: EntryId) -> bool {
        let (shard, place) = place(entry_id);
        self.entries.get(&shard).is_some_and(|entries| entries.contains(place))
    }
}

/// The shard of an entry, and its place there.
fn place(entry_id: EntryId) -> (Shard, usize) {
    let shard = Shard::of_entry(entry_id);
    (shard, usize::try_from(shard.place_of(entry_id)).expect("an entry is behind the base of its shard"))
}
