//! What callers get: each answer, with its fields in their documented order, and how it is written.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::engine::Page;
use crate::ledger::{Commit, Currency, Entry, EntryId, Receipt, Timestamp, Wallet};

/// Writes an answer's body as compact JSON.
pub fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).expect("an answer can be written as JSON");
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Money as a JSON number that always has the currency's decimals. Its text never was a float.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Decimal(Box<RawValue>);

impl Decimal {
    /// The number for so many minor units.
    pub fn new(currency: Currency, minor: i64) -> Self {
        Self(RawValue::from_string(currency.format_minor(minor)).expect("a decimal is a JSON number"))
    }
}

impl PartialSchema for Decimal {
    fn schema() -> RefOr<Schema> {
        let description =
            "Money, exact: with the currency's decimals at the most, and always all of them in an answer.";
        let number = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).description(Some(description));
        number.examples([json!(9.00)]).into()
    }
}

impl ToSchema for Decimal {
    fn name() -> Cow<'static, str> {
        "Money".into()
    }
}

/// How a user's or an event's id is described.
pub struct Id;

impl PartialSchema for Id {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Int64);
        let number = ObjectBuilder::new().schema_type(Type::Integer).format(Some(format));
        number.minimum(Some(0)).maximum(Some(i64::MAX)).description(Some("A whole number.")).into()
    }
}

impl ToSchema for Id {}

/// The wallet can be used.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"success": true, "message": "System is up and running"}))]
pub struct HealthAnswer {
    success: bool,
    message: &'static str,
}

impl HealthAnswer {
    pub const UP: Self = Self { success: true, message: "System is up and running" };
}

/// What a charge, win, deposit or withdrawal left in the wallet.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({"success": true, "UserId": 123_123, "AccountBalance": 9.00}))]
pub struct BalanceAnswer {
    #[serde(rename = "success")]
    success: bool,
    #[schema(value_type = Id)]
    user_id: i64,
    account_balance: Decimal,
}

impl BalanceAnswer {
    pub fn new(receipt: &Receipt, currency: Currency) -> Self {
        let Entry { user_id, balance_after, .. } = receipt.entry;
        let account_balance = Decimal::new(currency, balance_after.minor());
        Self { success: true, user_id: user_id.get(), account_balance }
    }
}

/// What a rollback left in the wallet.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({"success": true, "UserId": 123_123, "AccountBalance": 10.00, "Applied": true}))]
pub struct RollbackAnswer {
    #[serde(rename = "success")]
    success: bool,
    #[schema(value_type = Id)]
    user_id: i64,
    account_balance: Decimal,
    /// False if the charge was not known: nothing moved, and the charge is barred should it still come.
    applied: bool,
}

impl RollbackAnswer {
    pub fn new(receipt: &Receipt, currency: Currency) -> Self {
        let BalanceAnswer { success, user_id, account_balance } = BalanceAnswer::new(receipt, currency);
        Self { success, user_id, account_balance, applied: receipt.applied }
    }
}

/// A user's wallet.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({
    "success": true, "UserId": 123_123, "WalletId": "019b76f1-2f00-7c6e-8d4e-2b1f0a9c3d55", "AccountBalance": 10.00
}))]
pub struct WalletAnswer {
    #[serde(rename = "success")]
    success: bool,
    #[schema(value_type = Id)]
    user_id: i64,
    /// The wallet's unique id: a UUID, version 7.
    #[schema(format = "uuid")]
    wallet_id: String,
    account_balance: Decimal,
}

impl WalletAnswer {
    /// The wallet as it was opened.
    pub fn opened(receipt: &Receipt, currency: Currency) -> Self {
        let BalanceAnswer { success, user_id, account_balance } = BalanceAnswer::new(receipt, currency);
        let wallet_id = receipt.wallet_id.expect("the receipt of an opening names its wallet");
        Self { success, user_id, wallet_id: wallet_id.to_string(), account_balance }
    }

    /// The wallet as it stands.
    pub fn new(wallet: &Wallet, currency: Currency) -> Self {
        let account_balance = Decimal::new(currency, wallet.balance.minor());
        let (user_id, wallet_id) = (wallet.user_id.get(), wallet.wallet_id.to_string());
        Self { success: true, user_id, wallet_id, account_balance }
    }
}

/// A page of a wallet's history, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct EntriesAnswer {
    #[serde(rename = "success")]
    success: bool,
    #[schema(value_type = Id)]
    user_id: i64,
    entries: Vec<EntryAnswer>,
    /// What `before` must be for the next page; null if there are no older entries.
    #[schema(minimum = 1, required = true)]
    next_before: Option<i64>,
}

impl EntriesAnswer {
    pub fn new(user_id: i64, page: &Page, currency: Currency) -> Self {
        let entries = page.entries.iter().map(|entry| EntryAnswer::new(entry, currency)).collect();
        Self { success: true, user_id, entries, next_before: page.next_before.map(EntryId::get) }
    }
}

/// One fact in a wallet's history.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({
    "EntryId": 2, "Sequence": 2, "Kind": "charge", "EventId": 321_123, "Amount": 1.00, "BalanceAfter": 9.00,
    "CreatedAt": "2026-01-02T03:04:05.000006Z"
}))]
pub struct EntryAnswer {
    /// Its place in the whole ledger: 1, 2, 3, …
    #[schema(minimum = 1)]
    entry_id: i64,
    /// Its place in the wallet's history: 1, 2, 3, …
    #[schema(minimum = 1)]
    sequence: i64,
    /// What it did.
    #[schema(schema_with = super::openapi::kind_schema)]
    kind: &'static str,
    /// The event it is known by, together with user and kind.
    #[schema(value_type = Id)]
    event_id: i64,
    amount: Decimal,
    balance_after: Decimal,
    /// When it was committed, in UTC, to the microsecond.
    #[schema(format = DateTime)]
    created_at: String,
}

impl EntryAnswer {
    fn new(entry: &Entry, currency: Currency) -> Self {
        Self {
            entry_id: entry.entry_id.get(),
            sequence: entry.sequence,
            kind: entry.kind.name(),
            event_id: entry.event_id.get(),
            amount: Decimal::new(currency, entry.amount.minor()),
            balance_after: Decimal::new(currency, entry.balance_after.minor()),
            created_at: rfc3339(entry.created_at),
        }
    }
}

/// The head of the commit chain: whoever keeps it can prove later that nothing before it was altered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({
    "success": true, "CommitId": 1, "EntryId": 1,
    "Hash": "6870ad92761a5b023216f0e165b06752978a65e1d4b2bc687fcee1840749a93a"
}))]
pub struct CheckpointAnswer {
    #[serde(rename = "success")]
    success: bool,
    /// The number of the last commit; 0 if there is none yet.
    #[schema(minimum = 0)]
    commit_id: i64,
    /// The last entry of that commit; 0 if there is none yet.
    #[schema(minimum = 0)]
    entry_id: i64,
    /// SHA-256, in lower-case hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
}

impl CheckpointAnswer {
    pub fn new(head: &Commit) -> Self {
        let (entry_id, hash) = (head.last_entry_id.get(), head.hash.to_string());
        Self { success: true, commit_id: head.commit_id, entry_id, hash }
    }
}

/// Something was not done. The header `Wallet-Reason` says why, for machines.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"success": false, "error": "Account balance is too low"}))]
pub struct ErrorAnswer {
    pub success: bool,
    /// A message for a person to read.
    pub error: String,
}

/// Writes a moment as RFC 3339 in UTC, always with microseconds.
fn rfc3339(timestamp: Timestamp) -> String {
    let moment = DateTime::from_timestamp_micros(timestamp.microseconds()).expect("the ledger's times are no fiction");
    moment.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Reads a moment as RFC 3339 has it; what is finer than a microsecond is cut off.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(text).ok().map(|moment| Timestamp::from_microseconds(moment.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Balance;

    #[test]
    fn money_is_a_number_with_all_its_decimals() {
        let write = |code: &str, minor| serde_json::to_string(&Decimal::new(code.parse().unwrap(), minor)).unwrap();
        assert_eq!(write("EUR", 900), "9.00");
        assert_eq!(write("EUR", Balance::MAX.minor()), "90071992547409.91");
        assert_eq!(write("JPY", 900), "900");
        assert_eq!(write("KWD", 5), "0.005");
    }

    #[test]
    fn a_moment_is_written_to_the_microsecond_and_read_back() {
        for (microseconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_767_323_045_000_006, "2026-01-02T03:04:05.000006Z"),
            (1_767_323_045_000_000, "2026-01-02T03:04:05.000000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            let timestamp = Timestamp::from_microseconds(microseconds);
            assert_eq!(rfc3339(timestamp), text);
            assert_eq!(parse_rfc3339(text), Some(timestamp));
        }
        let elsewhere = parse_rfc3339("2026-01-02T04:04:05.0000069+01:00");
        assert_eq!(elsewhere, Some(Timestamp::from_microseconds(1_767_323_045_000_006)));
    }

    #[test]
    fn what_is_no_moment_is_not_read() {
        let date_time = "2026-01-02T03:04:05";
        for zone in ["", "+01", "+0100", "+01:00:30", "+24:00", "+01:00[Europe/Paris]", ",5Z"] {
            assert_eq!(parse_rfc3339(&format!("{date_time}{zone}")), None, "{zone}");
        }
        for text in
            ["", "now", "1767323045", "2026-01-02", "20260102T030405Z", "2026-01-02T03Z", "2026-02-30T00:00:00Z"]
        {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
