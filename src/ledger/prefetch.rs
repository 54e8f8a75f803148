//! What a batch must see before it can be decided.

use super::{Changes, Command, Commit, Entry, EventId, EventKey, UserId, WalletState};

/// Where a shard of the ledger ends: what a batch is decided after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last commit.
    pub commit: Commit,
    /// The highest event id of any entry of the shard; `None` if there is no entry.
    pub last_event_id: Option<EventId>,
}

impl Head {
    /// Whether no entry can have this event id. Engines number events upwards, so most commands bring such a one.
    pub(super) fn is_new(&self, event_id: EventId) -> bool {
        self.last_event_id.is_none_or(|last| event_id > last)
    }

    /// The head after these changes.
    #[must_use]
    pub fn after(&self, changes: &Changes) -> Self {
        let last_event_id = changes.entries.iter().map(|entry| entry.event_id).max();
        Self { commit: changes.commit.unwrap_or(self.commit), last_event_id: self.last_event_id.max(last_event_id) }
    }
}

/// The keys of what a batch must see. Each occurs once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Users whose wallet state is needed.
    pub wallets: Vec<UserId>,
    /// Event ids of which every entry is needed, whatever its kind.
    pub events: Vec<EventKey>,
}

impl Keys {
    /// Whether nothing is needed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.wallets.is_empty() && self.events.is_empty()
    }
}

/// What a store found for [`Keys`]: an answer for each of them, also where there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// `None` for a user that does not exist.
    pub wallets: Vec<(UserId, Option<WalletState>)>,
    /// No entry for an event that is not known.
    pub events: Vec<(EventKey, Vec<Entry>)>,
}

impl Fetched {
    /// Both answers together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.wallets.extend(other.wallets);
        self.events.extend(other.events);
        self
    }
}

/// Says what a batch must see before it can be decided after `head`.
///
/// ```
/// use wallet::ledger::{Command, EventId, Genesis, Head, Shard, UserId, prefetch};
///
/// let commit = Genesis::new("EUR".parse().unwrap()).commit(Shard::FIRST);
/// let head = Head { commit, last_event_id: EventId::new(7) };
/// let user = UserId::new(1).unwrap();
/// let charge = |event| Command::charge(user, EventId::new(event).unwrap(), 100).unwrap();
/// let keys = prefetch(&head, &[charge(7), charge(8)]);
/// assert_eq!(keys.wallets, [user]);
/// assert_eq!(keys.events, [charge(7).event()], "no entry has a higher event id");
/// ```
#[must_use]
pub fn prefetch(head: &Head, commands: &[Command]) -> Keys {
    let mut keys = Keys::default();
    keys.wallets.reserve(commands.len());
    for command in commands {
        keys.wallets.push(command.user_id);
        keys.events.extend(command.events().filter(|event| !head.is_new(event.event_id)));
    }
    sort_dedup(&mut keys.wallets);
    sort_dedup(&mut keys.events);
    keys
}

pub(super) fn sort_dedup<T: Ord>(keys: &mut Vec<T>) {
    keys.sort_unstable();
    keys.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserId {
        UserId::new(1).unwrap()
    }

    #[test]
    fn keys_are_empty_only_without_any() {
        let event = EventKey { event_id: EventId::OPENING, user_id: user() };
        assert!(Keys::default().is_empty());
        assert!(!Keys { wallets: vec![user()], ..Keys::default() }.is_empty());
        assert!(!Keys { events: vec![event], ..Keys::default() }.is_empty());
    }

    #[test]
    fn two_answers_together_hold_both() {
        let other = UserId::new(2).unwrap();
        let one = Fetched { wallets: vec![(user(), None)], ..Fetched::default() };
        let event = EventKey { event_id: EventId::OPENING, user_id: other };
        let two = Fetched { wallets: vec![(other, None)], events: vec![(event, Vec::new())] };
        let both = one.and(two);
        assert_eq!(both.wallets, [(user(), None), (other, None)]);
        assert_eq!(both.events, [(event, Vec::new())]);
    }
}
