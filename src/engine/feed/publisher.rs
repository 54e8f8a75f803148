//! A worker's end of the feed. It never waits.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Entries;
use super::lane::Lane;
use crate::ledger::Entry;
use crate::store::StoreError;

/// Takes the entries of each commit, and hands them over when their callers are answered.
pub struct Publisher {
    sender: mpsc::Sender<Entries>,
    lane: Arc<Lane>,
    /// Entries on disk whose callers are not yet answered.
    held: Vec<Entries>,
    /// Whether the last attempt may have written entries that it did not return.
    is_unsure: bool,
}

impl Publisher {
    pub(super) const fn new(sender: mpsc::Sender<Entries>, lane: Arc<Lane>) -> Self {
        Self { sender, lane, held: Vec::new(), is_unsure: false }
    }

    /// Takes what a commit has written.
    pub fn hold(&mut self, entries: Vec<Entry>) {
        if !entries.is_empty() && self.lane.is_watched() {
            self.held.push(Arc::new(entries));
        }
    }

    /// Hands over what it holds.
    pub fn publish(&mut self) {
        for entries in self.held.drain(..) {
            if self.sender.try_send(Arc::clone(&entries)).is_err() {
                // Whoever takes what is queued looks at this afterwards. It may just have taken all: so once more.
                self.lane.set_incomplete();
                let _ = self.sender.try_send(entries);
            }
        }
    }

    /// Takes note of an attempt on the store; `None` for one that panicked. One that fails may have written all the
    /// same. When the store works again, the end of the ledger tells.
    pub fn note_attempt<T>(&mut self, attempt: Option<&Result<T, StoreError>>) {
        match attempt {
            Some(Err(StoreError::Locked)) => (),
            Some(Err(_)) | None => self.is_unsure = true,
            Some(Ok(_)) if self.is_unsure => {
                self.is_unsure = false;
                self.lane.set_incomplete();
                // No entries, but it wakes. If there is no place, what is queued does that.
                let _ = self.sender.try_send(Entries::default());
            }
            Some(Ok(_)) => (),
        }
    }
}
