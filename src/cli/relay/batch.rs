//! Entries that are posted together.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::api::rest::EntryAnswer;
use crate::ledger::{Currency, Entry};

/// What the receiver knows these posts by.
const TYPE: &str = "wallet.entries";
/// How many bytes of its hash a body's id has: as many as a UUID.
const ID_LEN: usize = 16;

/// Entries that are posted together: the bytes, which are the same at each attempt, and what they are known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// The value of `webhook-id`: made from the body, so that another body has another id.
    pub id: String,
    /// What is posted.
    pub body: String,
    /// Where the feed goes on behind the last entry.
    pub cursor: String,
}

/// The body, in the form that Standard Webhooks recommends.
#[derive(Serialize)]
struct Payload<'a> {
    r#type: &'static str,
    /// When the last entry was committed.
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    entries: Vec<EntryAnswer>,
    cursor: &'a str,
}

impl Batch {
    /// The batch of these entries, of which there is at least one. The feed goes on at `cursor` behind them.
    ///
    /// # Errors
    /// If there is no entry.
    pub fn new(entries: &[Entry], cursor: String, currency: Currency) -> Result<Self> {
        let last = entries.last().context("a batch has an entry")?;
        let payload = Payload {
            r#type: TYPE,
            timestamp: last.created_at.to_string(),
            data: Data {
                entries: entries.iter().map(|entry| EntryAnswer::new(entry, currency)).collect(),
                cursor: &cursor,
            },
        };
        let body = serde_json::to_string(&payload)?;
        Ok(Self { id: id_of(&body), body, cursor })
    }

    /// Whether the body is the one that the id was made from.
    pub fn is_whole(&self) -> bool {
        self.id == id_of(&self.body)
    }
}

/// The id of a body. It has no full stop, which separates it from the body in what is signed.
fn id_of(body: &str) -> String {
    let hash = Sha256::digest(body);
    let digits: Vec<String> = hash[..ID_LEN].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("msg_{}", digits.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Amount, Annotations, Balance, EntryId, EventId, Kind, Timestamp, UserId};

    fn charge(entry_id: i64) -> Entry {
        Entry {
            entry_id: EntryId::new(entry_id).unwrap(),
            user_id: UserId::new(123_123).unwrap(),
            sequence: entry_id,
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

    fn batch(ids: &[i64], cursor: &str) -> Batch {
        let entries: Vec<Entry> = ids.iter().copied().map(charge).collect();
        Batch::new(&entries, cursor.to_owned(), "EUR".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_body_has_the_form_of_standard_webhooks_and_entries_as_rest_writes_them() {
        let time = "2026-01-02T03:04:05.000006Z";
        let entry = concat!(
            r#"{"EntryId":2,"UserId":123123,"Sequence":2,"Kind":"charge","EventId":321123,"Amount":1.00,"#,
            r#""BalanceAfter":9.00,"RoundId":null,"Note":null,"Caller":null,"CreatedAt":""#,
        );
        let data = format!(r#"{{"entries":[{entry}{time}"}}],"cursor":"c2"}}"#);
        let body = format!(r#"{{"type":"wallet.entries","timestamp":"{time}","data":{data}}}"#);
        assert_eq!(batch(&[2], "c2").body, body);
    }

    #[test]
    fn the_same_content_has_the_same_id_and_other_content_another() {
        let whole = batch(&[1, 2], "c2");
        assert_eq!(whole, batch(&[1, 2], "c2"));
        assert!(whole.id.len() == 36 && !whole.id.contains('.'), "{}", whole.id);
        assert_ne!(whole.id, batch(&[1], "c1").id);
        assert_ne!(whole.id, batch(&[2], "c2").id);
        assert!(whole.is_whole() && !Batch { body: "{}".to_owned(), ..whole }.is_whole());
        assert!(Batch::new(&[], String::new(), "EUR".parse().unwrap()).is_err());
    }
}
