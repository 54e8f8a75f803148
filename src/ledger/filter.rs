//! Which entries of the ledger a reader wants.

use super::{Entry, Kind, UserId};

/// Which entries of the ledger a reader wants: all, unless it says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// Only those of this user.
    pub user_id: Option<UserId>,
    /// Only those of these kinds; of every kind, if there is none.
    pub kinds: Vec<Kind>,
}

impl EntryFilter {
    /// Whether the reader wants this entry.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        self.user_id.is_none_or(|user_id| user_id == entry.user_id)
            && (self.kinds.is_empty() || self.kinds.contains(&entry.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::entry::tests::charge;

    #[test]
    fn a_filter_wants_what_each_of_its_parts_wants() {
        let charge = charge();
        let (own, other) = (Some(charge.user_id), UserId::new(1));
        for (user_id, kinds, wanted) in [
            (None, vec![], true),
            (own, vec![Kind::Win, Kind::Charge], true),
            (own, vec![Kind::Win], false),
            (other, vec![Kind::Charge], false),
        ] {
            assert_eq!(EntryFilter { user_id, kinds }.matches(&charge), wanted);
        }
    }
}
