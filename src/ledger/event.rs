//! One event's fate.

use super::{Entry, EventId, EventKey, Kind, UserId};

/// What became of one number of one user: the entries that it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub user_id: UserId,
    pub event_id: EventId,
    entries: Vec<Entry>,
}

impl Event {
    /// The kinds of entries that an event is asked for. Openings and freezings have numbers, but are no events.
    pub const KINDS: [Kind; 6] =
        [Kind::Charge, Kind::Win, Kind::Deposit, Kind::Withdrawal, Kind::Rollback, Kind::WinRollback];

    /// The event of which these are all entries, of whatever kind.
    #[must_use]
    pub fn new(EventKey { event_id, user_id }: EventKey, mut entries: Vec<Entry>) -> Self {
        entries.retain(|entry| Self::KINDS.contains(&entry.kind));
        Self { user_id, event_id, entries }
    }

    /// Whether anything is known of it.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Its entry of this kind.
    #[must_use]
    pub fn entry(&self, kind: Kind) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::entry::tests::charge;

    #[test]
    fn an_event_is_known_by_what_moves_money() {
        let charge = charge();
        let freeze = Entry { kind: Kind::Freeze, ..charge.clone() };
        let key = charge.key().event();
        assert!(!Event::new(key, vec![freeze.clone()]).is_known());
        let event = Event::new(key, vec![freeze, charge.clone()]);
        assert!(event.is_known());
        assert_eq!((event.entry(Kind::Charge), event.entry(Kind::Freeze)), (Some(&charge), None));
        assert_eq!(event.entry(Kind::Rollback), None);
    }
}
