//! What clients read: the contract's entries as the ledger's.

use thiserror::Error;

use super::convert::timestamp;
use super::proto;
use crate::ledger::{
    Amount, Annotations, Balance, Caller, Entry, EntryId, EventId, Kind, Note, RoundId, Timestamp, UserId,
};

/// An entry that no ledger of this version has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("entry {entry_id} has a {field} that this version does not know")]
pub struct UnreadableEntry {
    entry_id: i64,
    field: &'static str,
}

impl TryFrom<&proto::Entry> for Entry {
    type Error = UnreadableEntry;

    /// The entry without what the contract does not tell: its previous entry, and the wallet id of an opening.
    fn try_from(entry: &proto::Entry) -> Result<Self, UnreadableEntry> {
        let unreadable = |field| UnreadableEntry { entry_id: entry.entry_id, field };
        let (round_id, note, caller) = (entry.round_id, entry.note.as_deref(), entry.caller.as_deref());
        let annotations = Annotations {
            round_id: round_id.map(|id| RoundId::new(id).ok_or_else(|| unreadable("round_id"))).transpose()?,
            note: note.map(|text| Note::new(text).ok_or_else(|| unreadable("note"))).transpose()?,
            caller: caller.map(|name| Caller::new(name).ok_or_else(|| unreadable("caller"))).transpose()?,
        };
        Ok(Self {
            entry_id: EntryId::new(entry.entry_id).ok_or_else(|| unreadable("entry_id"))?,
            user_id: UserId::new(entry.user_id).ok_or_else(|| unreadable("user_id"))?,
            sequence: entry.sequence,
            kind: Kind::from_code(entry.kind.into()).ok_or_else(|| unreadable("kind"))?,
            event_id: EventId::new(entry.event_id).ok_or_else(|| unreadable("event_id"))?,
            amount: Amount::from_minor(entry.amount_minor).ok_or_else(|| unreadable("amount_minor"))?,
            balance_after: Balance::from_minor(entry.balance_after_minor)
                .ok_or_else(|| unreadable("balance_after_minor"))?,
            previous_entry_id: None,
            created_at: created_at(entry).ok_or_else(|| unreadable("create_time"))?,
            wallet_id: None,
            annotations,
        })
    }
}

fn created_at(entry: &proto::Entry) -> Option<Timestamp> {
    timestamp(entry.create_time?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge() -> Entry {
        Entry {
            entry_id: EntryId::new(2).unwrap(),
            user_id: UserId::new(123_123).unwrap(),
            sequence: 2,
            kind: Kind::Charge,
            event_id: EventId::new(321_123).unwrap(),
            amount: Amount::from_minor(100).unwrap(),
            balance_after: Balance::from_minor(900).unwrap(),
            previous_entry_id: None,
            created_at: Timestamp::from_microseconds(1_767_323_045_000_006),
            wallet_id: None,
            annotations: Annotations::NONE,
        }
    }

    #[test]
    fn an_entry_goes_there_and_back() {
        let annotated =
            Annotations { round_id: RoundId::new(7), note: Note::new("né"), caller: Caller::new("engine") };
        for annotations in [Annotations::NONE, annotated] {
            let entry = Entry { annotations, ..charge() };
            assert_eq!(Entry::try_from(&proto::Entry::from(&entry)), Ok(entry));
        }
    }

    #[test]
    fn what_no_ledger_has_is_named() {
        let sent = proto::Entry::from(&charge());
        for (entry, field) in [
            (proto::Entry { kind: 99, ..sent.clone() }, "kind"),
            (proto::Entry { amount_minor: -1, ..sent.clone() }, "amount_minor"),
            (proto::Entry { balance_after_minor: i64::MAX, ..sent.clone() }, "balance_after_minor"),
            (proto::Entry { create_time: None, ..sent.clone() }, "create_time"),
            (proto::Entry { note: Some("\n".to_owned()), ..sent.clone() }, "note"),
            (proto::Entry { round_id: Some(-1), ..sent }, "round_id"),
        ] {
            assert_eq!(Entry::try_from(&entry), Err(UnreadableEntry { entry_id: 2, field }));
        }
    }
}
