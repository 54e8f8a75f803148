//! One fact in a wallet's history, and the bytes of it that are hashed.

use super::{Amount, Balance, Caller, EntryId, EventId, Kind, Note, RoundId, Timestamp, UserId, WalletId};

/// An event id of one user. It may name one entry of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    pub event_id: EventId,
    pub user_id: UserId,
}

/// What an entry is known by: at most one exists for each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryKey {
    pub user_id: UserId,
    pub kind: Kind,
    pub event_id: EventId,
}

impl EntryKey {
    /// The user and event id of the entry.
    #[must_use]
    pub const fn event(self) -> EventKey {
        EventKey { event_id: self.event_id, user_id: self.user_id }
    }
}

/// What a command says about itself that no rule looks at. Its entry keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// The game's own number for what belongs together. It is kept and shown, never interpreted.
    pub round_id: Option<RoundId>,
    /// What the operator wrote about it.
    pub note: Option<Note>,
    /// Who sent it. No API knows its callers yet.
    pub caller: Option<Caller>,
}

impl Annotations {
    /// No annotations.
    pub const NONE: Self = Self { round_id: None, note: None, caller: None };
}

/// One immutable fact in a wallet's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the ledger.
    pub entry_id: EntryId,
    /// Whose wallet.
    pub user_id: UserId,
    /// Its place in the wallet's history: 1, 2, 3, ….
    pub sequence: i64,
    /// What it did.
    pub kind: Kind,
    /// The event it is known by, together with user and kind.
    pub event_id: EventId,
    /// The money it moved; [`Kind::apply`] says which way.
    pub amount: Amount,
    /// The balance it left.
    pub balance_after: Balance,
    /// The wallet's entry before this one; `None` for the first.
    pub previous_entry_id: Option<EntryId>,
    /// When its batch was decided. Never goes back along the ledger.
    pub created_at: Timestamp,
    /// Of an opening: the id that the wallet got.
    pub wallet_id: Option<WalletId>,
    /// What its command said about itself.
    pub annotations: Annotations,
}

impl Entry {
    /// The length of the canonical bytes of an entry of which nothing optional is there.
    pub const CANONICAL_LEN_MIN: usize = 9 * 8 + 1;

    /// What the entry is known by.
    #[must_use]
    pub const fn key(&self) -> EntryKey {
        EntryKey { user_id: self.user_id, kind: self.kind, event_id: self.event_id }
    }

    /// Appends the bytes that the commit chain hashes, in [`Form::V1`](super::Form::V1), to `bytes`.
    ///
    /// 1. Nine big-endian 64-bit integers: entry id, user id, sequence, kind (its code), event id, amount (minor
    ///    units), balance after (minor units), previous entry id (0 for none), time (microseconds).
    /// 2. One byte that says what follows, a bit mask: 1 for a round, 2 for a note, 4 for a caller, 8 for a wallet id.
    /// 3. Of a round: its id, a big-endian 64-bit integer.
    /// 4. Of a note: its length in bytes, a big-endian 32-bit integer, and its UTF-8.
    /// 5. Of a caller: the name, likewise.
    /// 6. Of a wallet id: its 16 bytes.
    ///
    /// # Panics
    /// Never: the texts are short.
    pub fn append_canonical_bytes(&self, bytes: &mut Vec<u8>) {
        let fields = [
            self.entry_id.get(),
            self.user_id.get(),
            self.sequence,
            i64::from(self.kind.code()),
            self.event_id.get(),
            self.amount.minor(),
            self.balance_after.minor(),
            self.previous_entry_id.unwrap_or(EntryId::ZERO).get(),
            self.created_at.microseconds(),
        ];
        for field in fields {
            bytes.extend_from_slice(&field.to_be_bytes());
        }
        let Annotations { round_id, note, caller } = &self.annotations;
        let annotated = u8::from(round_id.is_some()) + 2 * u8::from(note.is_some()) + 4 * u8::from(caller.is_some());
        bytes.push(annotated + 8 * u8::from(self.wallet_id.is_some()));
        if let Some(round_id) = round_id {
            bytes.extend_from_slice(&round_id.get().to_be_bytes());
        }
        for text in [note.as_deref(), caller.as_deref()].into_iter().flatten() {
            let length = u32::try_from(text.len()).expect("a short text");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        if let Some(wallet_id) = &self.wallet_id {
            bytes.extend_from_slice(wallet_id.as_bytes());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The charge of the documented example, as the second entry of a ledger.
    pub fn charge() -> Entry {
        Entry {
            entry_id: EntryId::new(2).unwrap(),
            user_id: UserId::new(123_123).unwrap(),
            sequence: 2,
            kind: Kind::Charge,
            event_id: EventId::new(321_123).unwrap(),
            amount: Amount::from_minor(100).unwrap(),
            balance_after: Balance::from_minor(900).unwrap(),
            previous_entry_id: EntryId::new(1),
            created_at: Timestamp::from_microseconds(1_700_000_000_000_000),
            wallet_id: None,
            annotations: Annotations::NONE,
        }
    }

    fn canonical_hex(annotations: Annotations) -> String {
        let mut bytes = Vec::new();
        Entry { annotations, ..charge() }.append_canonical_bytes(&mut bytes);
        bytes.into_iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    }

    #[test]
    fn the_canonical_bytes_never_change() {
        let fields = concat!(
            "0000000000000002",
            "000000000001e0f3",
            "0000000000000002",
            "0000000000000002",
            "000000000004e663",
            "0000000000000064",
            "0000000000000384",
            "0000000000000001",
            "00060a24181e4000",
        );
        assert_eq!(canonical_hex(Annotations::NONE), format!("{fields}00"));
        assert_eq!(canonical_hex(Annotations::NONE).len(), 2 * Entry::CANONICAL_LEN_MIN);
        let (round_id, note, caller) = (RoundId::new(77), Note::new("né"), Caller::new("engine-a"));
        let (round, noted, called) = ("000000000000004d", "000000036ec3a9", "00000008656e67696e652d61");
        let of = |round_id, note: &Option<Note>, caller: &Option<Caller>| {
            canonical_hex(Annotations { round_id, note: note.clone(), caller: caller.clone() })
        };
        assert_eq!(of(round_id, &None, &None), format!("{fields}01{round}"));
        assert_eq!(of(None, &note, &None), format!("{fields}02{noted}"));
        assert_eq!(of(None, &None, &caller), format!("{fields}04{called}"));
        assert_eq!(of(round_id, &note, &caller), format!("{fields}07{round}{noted}{called}"));
        let mut bytes = Vec::new();
        let annotations = Annotations { caller: Caller::new("x"), ..Annotations::NONE };
        Entry { wallet_id: Some(WalletId::from_bytes([0xab; 16])), annotations, ..charge() }
            .append_canonical_bytes(&mut bytes);
        assert_eq!(bytes[9 * 8..], [&[4 + 8, 0, 0, 0, 1, b'x'][..], &[0xab; 16]].concat());
    }
}
