//! What callers send: each body, and the command it asks for.
//!
//! Fields are read in their documented order, so that the first that is wrong is the one that is named.

use axum::http::Uri;
use serde::Deserialize;
use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::body::Field;
use super::response::{Decimal, Id};
use super::{Amounts, uri};
use crate::api::reason::Problem;
use crate::api::{note, opening};
use crate::engine::Page;
use crate::ledger::{Annotations, Command, EntryId, EventId, Refusal, RoundId, Timestamp, UserId};

/// How a command is made from its ids and its amount in minor units.
type Make = fn(UserId, EventId, i64) -> Result<Command, Refusal>;

/// The stake of a game round.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({"UserId": 123_123, "EventId": 321_123, "Amount": 1.00}))]
pub struct ChargeRequest<'a> {
    /// Whose wallet.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    user_id: Field<'a>,
    /// The event that the charge is known by.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    event_id: Field<'a>,
    /// The money to take; no finer than the currency's minor unit.
    #[serde(borrow, default)]
    #[schema(value_type = Decimal, required = true)]
    amount: Field<'a>,
    /// The game's own number for what belongs together. It is kept and shown, never interpreted.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = false)]
    round_id: Field<'a>,
}

/// The prize of a game round.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({"UserId": 123_123, "WinningEventId": 312_123_321, "Amount": 10.00}))]
pub struct WinRequest<'a> {
    /// Whose wallet.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    user_id: Field<'a>,
    /// The event that the win is known by.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    winning_event_id: Field<'a>,
    /// The money to pay out; no finer than the currency's minor unit.
    #[serde(borrow, default)]
    #[schema(value_type = Decimal, required = true)]
    amount: Field<'a>,
    /// The game's own number for what belongs together. It is kept and shown, never interpreted.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = false)]
    round_id: Field<'a>,
}

/// The stake and the prize of a game round, together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({
    "UserId": 123_123, "EventId": 321_124, "Amount": 1.00, "WinningEventId": 312_123_322, "WinningAmount": 0.50
}))]
pub struct PlayRequest<'a> {
    /// Whose wallet.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    user_id: Field<'a>,
    /// The event that the charge is known by.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    event_id: Field<'a>,
    /// The money to take; no finer than the currency's minor unit.
    #[serde(borrow, default)]
    #[schema(value_type = Decimal, required = true)]
    amount: Field<'a>,
    /// The event that the win is known by.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    winning_event_id: Field<'a>,
    /// The money to pay out; no finer than the currency's minor unit.
    #[serde(borrow, default)]
    #[schema(value_type = Decimal, required = true)]
    winning_amount: Field<'a>,
    /// The game's own number for what belongs together. It is kept and shown, never interpreted.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = false)]
    round_id: Field<'a>,
}

/// A charge or a win that is to be undone: either `EventId` or `WinningEventId` must be given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({"UserId": 123_123, "EventId": 321_123}))]
#[expect(clippy::struct_field_names, reason = "they are named as the document names them")]
pub struct RollbackRequest<'a> {
    /// Whose wallet.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    user_id: Field<'a>,
    /// The event of the charge.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = false)]
    event_id: Field<'a>,
    /// The event of the win.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = false)]
    winning_event_id: Field<'a>,
}

/// Money that comes in or goes out by the operator.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({"UserId": 123_123, "TransactionId": 1_001, "Amount": 25.00}))]
pub struct TransactionRequest<'a> {
    /// Whose wallet.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    user_id: Field<'a>,
    /// The transaction of the cashier that the movement is known by.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    transaction_id: Field<'a>,
    /// The money to move; no finer than the currency's minor unit.
    #[serde(borrow, default)]
    #[schema(value_type = Decimal, required = true)]
    amount: Field<'a>,
    /// What the operator wants to remember about it: at most 200 characters, no control characters.
    #[serde(borrow, default)]
    #[schema(value_type = String, required = false, max_length = 200)]
    note: Field<'a>,
}

/// A wallet that is to be frozen or unfrozen, by the operator.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({"TransactionId": 2_001, "Note": "Card reported stolen"}))]
pub struct FreezeRequest<'a> {
    /// The transaction that it is known by.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    transaction_id: Field<'a>,
    /// What the operator wants to remember about it: at most 200 characters, no control characters.
    #[serde(borrow, default)]
    #[schema(value_type = String, required = false, max_length = 200)]
    note: Field<'a>,
}

/// A user to be created.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({"UserId": 123_123, "AccountBalance": 10.00}))]
pub struct UserRequest<'a> {
    /// The user's id, as the game engines know it.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    user_id: Field<'a>,
    /// The opening balance; 0 if it is not given.
    #[serde(borrow, default)]
    #[schema(value_type = Decimal, required = false)]
    account_balance: Field<'a>,
}

impl ChargeRequest<'_> {
    /// The charge.
    pub fn command(&self, amounts: Amounts) -> Result<Command, Problem> {
        let event = ("EventId", self.event_id);
        movement(self.user_id, event, self.amount, amounts, || with_round(self.round_id), Command::charge)
    }
}

impl WinRequest<'_> {
    /// The win.
    pub fn command(&self, amounts: Amounts) -> Result<Command, Problem> {
        let event = ("WinningEventId", self.winning_event_id);
        movement(self.user_id, event, self.amount, amounts, || with_round(self.round_id), Command::win)
    }
}

impl PlayRequest<'_> {
    /// The play.
    pub fn command(&self, amounts: Amounts) -> Result<Command, Problem> {
        let user_id = self.user_id.id("UserId", UserId::new)?;
        let event_id = self.event_id.id("EventId", EventId::new)?;
        let charge = (event_id, self.amount.amount_minor("Amount", amounts)?);
        let winning_event_id = self.winning_event_id.id("WinningEventId", EventId::new)?;
        let win = (winning_event_id, self.winning_amount.amount_minor("WinningAmount", amounts)?);
        let annotations = with_round(self.round_id)?;
        Ok(Command::play(user_id, charge, win)?.with_annotations(annotations))
    }
}

impl TransactionRequest<'_> {
    /// The deposit or withdrawal, as `make` makes it.
    pub fn command(&self, amounts: Amounts, make: Make) -> Result<Command, Problem> {
        let transaction = ("TransactionId", self.transaction_id);
        movement(self.user_id, transaction, self.amount, amounts, || with_note(self.note), make)
    }
}

impl FreezeRequest<'_> {
    /// The freezing or unfreezing of the user's wallet, as `make` makes it.
    pub fn command(&self, user_id: UserId, make: fn(UserId, EventId) -> Command) -> Result<Command, Problem> {
        let transaction_id = self.transaction_id.id("TransactionId", EventId::new)?;
        Ok(make(user_id, transaction_id).with_annotations(with_note(self.note)?))
    }
}

impl RollbackRequest<'_> {
    /// The rollback.
    pub fn command(&self) -> Result<Command, Problem> {
        let user_id = self.user_id.id("UserId", UserId::new)?;
        match (self.event_id.is_given(), self.winning_event_id.is_given()) {
            (true, false) => Ok(Command::rollback(user_id, self.event_id.id("EventId", EventId::new)?)),
            (false, true) => {
                Ok(Command::rollback_win(user_id, self.winning_event_id.id("WinningEventId", EventId::new)?))
            }
            (false, false) => Err(Problem::missing("EventId or WinningEventId")),
            (true, true) => Err(Problem::invalid("EventId and WinningEventId cannot be rolled back in one request")),
        }
    }
}

impl UserRequest<'_> {
    /// The command that makes the wallet.
    pub fn command(&self, amounts: Amounts) -> Result<Command, Problem> {
        let user_id = self.user_id.id("UserId", UserId::new)?;
        let opening = self.account_balance;
        let minor = if opening.is_given() { opening.amount_minor("AccountBalance", amounts)? } else { 0 };
        Ok(opening::command(user_id, minor)?)
    }
}

fn movement(
    user_id: Field<'_>,
    (event_name, event_id): (&str, Field<'_>),
    amount: Field<'_>,
    amounts: Amounts,
    annotations: impl FnOnce() -> Result<Annotations, Problem>,
    make: Make,
) -> Result<Command, Problem> {
    let user_id = user_id.id("UserId", UserId::new)?;
    let event_id = event_id.id(event_name, EventId::new)?;
    let amount_minor = amount.amount_minor("Amount", amounts)?;
    let annotations = annotations()?;
    Ok(make(user_id, event_id, amount_minor)?.with_annotations(annotations))
}

fn with_round(round_id: Field<'_>) -> Result<Annotations, Problem> {
    Ok(Annotations { round_id: round_id.optional_id("RoundId", RoundId::new)?, ..Annotations::NONE })
}

fn with_note(text: Field<'_>) -> Result<Annotations, Problem> {
    let text = text.optional_text("Note")?;
    Ok(Annotations { note: note::note("Note", &text.unwrap_or_default())?, ..Annotations::NONE })
}

/// Which moment of a wallet is asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WalletQuery {
    /// An RFC 3339 time: the balance is given as it was then. Write `+` as `%2B`.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-02T03:04:05Z")]
    pub at: Option<Timestamp>,
}

impl WalletQuery {
    pub fn parse(uri: &Uri) -> Result<Self, Problem> {
        let [at] = uri::query(uri, &["at"])?;
        let invalid = || Problem::invalid("at must be an RFC 3339 time, such as 2026-01-02T03:04:05Z; write + as %2B");
        let at = at.map(|text| text.parse().map_err(|_| invalid())).transpose()?;
        Ok(Self { at })
    }
}

/// Which page of a history is asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EntriesQuery {
    /// How many entries to give at the most.
    #[param(value_type = Option<Limit>, inline, example = 50)]
    pub limit: usize,
    /// The `NextBefore` of the page before: only entries older than this one are given.
    #[param(value_type = Option<Id>, example = 2)]
    pub before: Option<EntryId>,
}

impl EntriesQuery {
    pub fn parse(uri: &Uri) -> Result<Self, Problem> {
        let [limit, before] = uri::query(uri, &["limit", "before"])?;
        let limit = page_size(limit.as_deref())?;
        let before = before.map(|text| uri::id(&text, "before", EntryId::new)).transpose()?;
        Ok(Self { limit, before })
    }
}

/// The size of a page, as the parameter `limit` has it.
pub fn page_size(limit: Option<&str>) -> Result<usize, Problem> {
    let out_of_range = || Problem::out_of_range("limit", 1, Page::SIZE_MAX);
    let size = |text: &str| uri::number(text).and_then(Page::size).ok_or_else(out_of_range);
    limit.map_or(Ok(Page::SIZE_DEFAULT), size)
}

/// How the size of a page is described.
pub struct Limit;

impl PartialSchema for Limit {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(Page::SIZE_MAX));
        number.default(Some(json!(Page::SIZE_DEFAULT))).into()
    }
}

impl ToSchema for Limit {}
