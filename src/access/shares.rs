//! How much of what there is for all each caller may have: nobody keeps others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ledger::Caller;

/// Streams of one kind that a caller may have open: half of those that all may have together.
const SHARE_MAX: usize = 256;

/// What there is a limited number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Streams of commands.
    Transact,
    /// Readers of the feed, by all APIs together.
    Feed,
}

/// What each caller has of them.
#[derive(Debug, Default)]
pub struct Shares(Mutex<HashMap<(Stream, Caller), usize>>);

/// One stream of a caller's, until it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    of: (Stream, Caller),
}

impl Shares {
    /// One more for a caller; `None` if it has as many as it may.
    pub fn take(self: &Arc<Self>, stream: Stream, caller: &Caller) -> Option<Share> {
        let of = (stream, caller.clone());
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(of.clone()).or_default();
        if *count >= SHARE_MAX {
            return None;
        }
        *count += 1;
        Some(Share { shares: Arc::clone(self), of })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_its_share_of_each_and_no_more() {
        let (shares, [one, other]) = (Arc::new(Shares::default()), ["a", "b"].map(|name| Caller::new(name).unwrap()));
        let mut taken: Vec<Share> = (0..SHARE_MAX).map(|_| shares.take(Stream::Transact, &one).unwrap()).collect();
        assert!(shares.take(Stream::Transact, &one).is_none());
        assert!(shares.take(Stream::Feed, &one).is_some() && shares.take(Stream::Transact, &other).is_some());
        taken.pop();
        assert!(shares.take(Stream::Transact, &one).is_some());
        drop(taken);
        assert!(shares.0.lock().unwrap().is_empty());
    }
}
