//! What callers get: each answer, with its fields in their documented order, and its headers.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::engine::Page;
use crate::ledger::{Annotations, Currency, Entry, EntryId, Event, Heads, Kind, Receipt, RoundId, Wallet};

/// The header in which machines read why something was not done.
pub const WALLET_REASON: HeaderName = HeaderName::from_static("wallet-reason");
/// The header that marks a replay: its body is the same as that of the first answer.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The header with the balance of this moment: on a replay, and when the balance is too low.
pub const WALLET_CURRENT_BALANCE: HeaderName = HeaderName::from_static("wallet-current-balance");
/// The header with the amount that an event is known with, on a conflict.
pub const WALLET_RECORDED_AMOUNT: HeaderName = HeaderName::from_static("wallet-recorded-amount");

/// Money as a header's value, with the currency's decimals.
pub fn money_header(currency: Currency, minor: i64) -> HeaderValue {
    HeaderValue::from_str(&currency.format_minor(minor)).expect("a decimal is visible ASCII")
}

/// Writes an answer's body as compact JSON.
pub fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    json(status, serde_json::to_vec(body).expect("an answer can be written as JSON"))
}

/// An answer whose body is JSON already.
pub fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A balance is true for a moment, and an answer to a command for its sender.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Money as a JSON number that always has the currency's decimals. It is never converted to a float.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Decimal(Box<RawValue>);

impl Decimal {
    /// The number for so many minor units.
    ///
    /// # Panics
    /// Never: a decimal is a JSON number.
    #[must_use]
    pub fn new(currency: Currency, minor: i64) -> Self {
        Self::of_text(currency.format_minor(minor))
    }

    /// The number for a sum of many amounts, in minor units.
    ///
    /// # Panics
    /// Never: a decimal is a JSON number.
    #[must_use]
    pub fn of_sum(currency: Currency, minor: i128) -> Self {
        Self::of_text(currency.format_sum(minor))
    }

    fn of_text(decimal: String) -> Self {
        Self(RawValue::from_string(decimal).expect("a decimal is a JSON number"))
    }
}

/// The description of the whole API tells its currency.
impl PartialSchema for Decimal {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).examples([json!(9.00)]).into()
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
        let description = "A whole number. Above 2^53 − 1 it loses digits in a JSON parser that reads doubles.";
        number.minimum(Some(0)).maximum(Some(i64::MAX)).description(Some(description)).into()
    }
}

impl ToSchema for Id {}

/// How the kind of an entry is described.
pub fn kind_schema() -> Object {
    let names = Kind::ALL.map(Kind::name);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build()
}

/// The wallet can be used, or at least its process answers.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"success": true, "message": "System is up and running"}))]
pub struct HealthAnswer {
    success: bool,
    message: &'static str,
}

impl HealthAnswer {
    pub const UP: Self = Self { success: true, message: "System is up and running" };
    pub const LIVE: Self = Self { success: true, message: "Process is running" };
}

/// What a charge, win, play, deposit or withdrawal left in the wallet.
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
        let account_balance = Decimal::new(currency, receipt.balance().minor());
        Self { success: true, user_id: receipt.entry.user_id.get(), account_balance }
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
    /// False: no such charge or win; it will be refused if it comes.
    applied: bool,
}

impl RollbackAnswer {
    pub fn new(receipt: &Receipt, currency: Currency) -> Self {
        let BalanceAnswer { success, user_id, account_balance } = BalanceAnswer::new(receipt, currency);
        Self { success, user_id, account_balance, applied: receipt.effect.is_applied() }
    }
}

/// A user's wallet, as it was made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({
    "success": true, "UserId": 123_123, "WalletId": "019b76f1-2f00-7c6e-8d4e-2b1f0a9c3d55", "AccountBalance": 10.00
}))]
pub struct OpenedAnswer {
    #[serde(rename = "success")]
    success: bool,
    #[schema(value_type = Id)]
    user_id: i64,
    /// The wallet's unique id: a UUID, version 7.
    #[schema(format = "uuid")]
    wallet_id: String,
    account_balance: Decimal,
}

impl OpenedAnswer {
    pub fn new(wallet: &Wallet, currency: Currency) -> Self {
        let WalletAnswer { success, user_id, wallet_id, account_balance, .. } = WalletAnswer::new(wallet, currency);
        Self { success, user_id, wallet_id, account_balance }
    }
}

/// A user's wallet.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({
    "success": true, "UserId": 123_123, "WalletId": "019b76f1-2f00-7c6e-8d4e-2b1f0a9c3d55", "AccountBalance": 10.00,
    "Frozen": false
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
    /// Whether it gives nothing out, on the operator's word.
    frozen: bool,
}

impl WalletAnswer {
    pub fn new(wallet: &Wallet, currency: Currency) -> Self {
        let account_balance = Decimal::new(currency, wallet.balance.minor());
        let (user_id, wallet_id) = (wallet.user_id.get(), wallet.wallet_id.to_string());
        Self { success: true, user_id, wallet_id, account_balance, frozen: wallet.frozen }
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
    "EntryId": 2, "UserId": 123_123, "Sequence": 2, "Kind": "charge", "EventId": 321_123, "Amount": 1.00,
    "BalanceAfter": 9.00, "RoundId": null, "Note": null, "Caller": null, "CreatedAt": "2026-01-02T03:04:05.000006Z"
}))]
pub struct EntryAnswer {
    /// Its place in the ledger, unique: a newer entry has a higher one.
    #[schema(minimum = 1)]
    entry_id: i64,
    /// Whose wallet.
    #[schema(value_type = Id)]
    user_id: i64,
    /// Its place in the wallet's history: 1, 2, 3, …
    #[schema(minimum = 1)]
    sequence: i64,
    /// What it did.
    #[schema(schema_with = kind_schema)]
    kind: &'static str,
    /// The event it is known by, together with user and kind.
    #[schema(value_type = Id)]
    event_id: i64,
    amount: Decimal,
    balance_after: Decimal,
    /// The game's own number for what belongs together.
    #[schema(value_type = Option<Id>, required = true)]
    round_id: Option<i64>,
    /// What the operator wrote about it.
    #[schema(required = true)]
    note: Option<String>,
    /// The name of the token or certificate that sent its command.
    #[schema(required = true)]
    caller: Option<String>,
    /// When it was committed, in UTC, to the microsecond.
    #[schema(format = DateTime)]
    created_at: String,
}

impl EntryAnswer {
    /// The names of its fields, in order.
    pub const FIELDS: [&str; 11] = [
        "EntryId",
        "UserId",
        "Sequence",
        "Kind",
        "EventId",
        "Amount",
        "BalanceAfter",
        "RoundId",
        "Note",
        "Caller",
        "CreatedAt",
    ];

    /// The entry, with amounts in this currency.
    #[must_use]
    pub fn new(entry: &Entry, currency: Currency) -> Self {
        let Annotations { round_id, note, caller } = &entry.annotations;
        Self {
            entry_id: entry.entry_id.get(),
            user_id: entry.user_id.get(),
            sequence: entry.sequence,
            kind: entry.kind.name(),
            event_id: entry.event_id.get(),
            amount: Decimal::new(currency, entry.amount.minor()),
            balance_after: Decimal::new(currency, entry.balance_after.minor()),
            round_id: round_id.map(RoundId::get),
            note: note.as_ref().map(ToString::to_string),
            caller: caller.as_ref().map(ToString::to_string),
            created_at: entry.created_at.to_string(),
        }
    }
}

/// What became of one number of one user: the entry of each kind that has it. What is null did not happen.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct EventAnswer {
    #[serde(rename = "success")]
    success: bool,
    #[schema(value_type = Id)]
    user_id: i64,
    #[schema(value_type = Id)]
    event_id: i64,
    #[schema(required = true)]
    charge: Option<EntryAnswer>,
    #[schema(required = true)]
    win: Option<EntryAnswer>,
    #[schema(required = true)]
    deposit: Option<EntryAnswer>,
    #[schema(required = true)]
    withdrawal: Option<EntryAnswer>,
    /// What gave the charge back; or, with amount 0, what bars it.
    #[schema(required = true)]
    rollback: Option<EntryAnswer>,
    /// What took the win back; or, with amount 0, what bars it.
    #[schema(required = true)]
    win_rollback: Option<EntryAnswer>,
}

impl EventAnswer {
    pub fn new(event: &Event, currency: Currency) -> Self {
        let entry = |kind| event.entry(kind).map(|entry| EntryAnswer::new(entry, currency));
        Self {
            success: true,
            user_id: event.user_id.get(),
            event_id: event.event_id.get(),
            charge: entry(Kind::Charge),
            win: entry(Kind::Win),
            deposit: entry(Kind::Deposit),
            withdrawal: entry(Kind::Withdrawal),
            rollback: entry(Kind::Rollback),
            win_rollback: entry(Kind::WinRollback),
        }
    }
}

/// The head of the commit chain. Whoever keeps it can prove later that nothing before it was altered. A ledger of
/// several shards has a chain for each.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({
    "success": true, "Checkpoint": "1:6870ad92761a5b023216f0e165b06752978a65e1d4b2bc687fcee1840749a93a",
    "CommitId": 1, "EntryId": 1, "Hash": "6870ad92761a5b023216f0e165b06752978a65e1d4b2bc687fcee1840749a93a"
}))]
pub struct CheckpointAnswer {
    #[serde(rename = "success")]
    success: bool,
    /// What `wallet verify --checkpoint` takes.
    #[schema(pattern = "^[0-9]+:[0-9a-f]{64}(,[0-9]+:[0-9a-f]{64})*$")]
    checkpoint: String,
    /// The number of the last commit; 0 if there is none yet. Of several shards, the number of all commits.
    #[schema(minimum = 0)]
    commit_id: i64,
    /// The last entry of that commit; 0 if there is none yet. Of several shards, the number of all entries.
    #[schema(minimum = 0)]
    entry_id: i64,
    /// SHA-256, in lower-case hexadecimal. That of an empty ledger is over its currency. Of several shards, it is over
    /// each one's number of commits and hash.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
}

impl CheckpointAnswer {
    pub fn new(heads: &Heads) -> Self {
        let (checkpoint, hash) = (heads.checkpoints().to_string(), heads.hash().to_string());
        Self { success: true, checkpoint, commit_id: heads.commits(), entry_id: heads.entries(), hash }
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
}
