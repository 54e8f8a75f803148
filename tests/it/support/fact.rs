//! An entry as plain numbers, the same from both APIs and from the store.

use serde_json::Value;
use wallet::api::grpc::proto::Entry as ProtoEntry;
use wallet::ledger::{self, EntryId, Kind, Shard, Timestamp};

/// All that an entry says which both APIs show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub entry_id: i64,
    pub user_id: i64,
    pub sequence: i64,
    pub kind: Kind,
    pub event_id: i64,
    pub amount_minor: i64,
    pub balance_minor: i64,
    pub created_at: String,
}

impl Fact {
    /// The shard that it is in. In a feed, the entries of one shard are in their order.
    pub fn shard(&self) -> Shard {
        Shard::of_entry(EntryId::new(self.entry_id).expect("an entry's id"))
    }
}

impl From<&ledger::Entry> for Fact {
    fn from(entry: &ledger::Entry) -> Self {
        Self {
            entry_id: entry.entry_id.get(),
            user_id: entry.user_id.get(),
            sequence: entry.sequence,
            kind: entry.kind,
            event_id: entry.event_id.get(),
            amount_minor: entry.amount.minor(),
            balance_minor: entry.balance_after.minor(),
            created_at: entry.created_at.to_string(),
        }
    }
}

impl From<&ProtoEntry> for Fact {
    fn from(entry: &ProtoEntry) -> Self {
        let time = entry.create_time.expect("a time");
        let microseconds = time.seconds * 1_000_000 + i64::from(time.nanos / 1_000);
        Self {
            entry_id: entry.entry_id,
            user_id: entry.user_id,
            sequence: entry.sequence,
            kind: Kind::from_code(entry.kind.into()).expect("a kind"),
            event_id: entry.event_id,
            amount_minor: entry.amount_minor,
            balance_minor: entry.balance_after_minor,
            created_at: Timestamp::from_microseconds(microseconds).to_string(),
        }
    }
}

impl From<&Value> for Fact {
    /// From JSON. Its amounts are small enough for a double.
    fn from(entry: &Value) -> Self {
        let number = |name: &str| entry[name].as_i64().unwrap_or_else(|| panic!("{name}: {entry}"));
        let minor = |name: &str| {
            let cents = entry[name].as_f64().unwrap_or_else(|| panic!("{name}: {entry}")) * 100.0;
            format!("{cents:.0}").parse().expect("a whole number")
        };
        let kind = Kind::ALL.into_iter().find(|kind| entry["Kind"] == kind.name());
        Self {
            entry_id: number("EntryId"),
            user_id: number("UserId"),
            sequence: number("Sequence"),
            kind: kind.expect("a kind"),
            event_id: number("EventId"),
            amount_minor: minor("Amount"),
            balance_minor: minor("BalanceAfter"),
            created_at: entry["CreatedAt"].as_str().expect("a time").to_owned(),
        }
    }
}
