//! What callers send: each body, and the command it asks for.
//!
//! Fields are read in their documented order, so that the first that is wrong is the one that is named.

use serde::Deserialize;
use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::body::Field;
use super::response::{Decimal, Id};
use crate::api::reason::Problem;
use crate::engine::Page;
use crate::ledger::{Command, Currency, EventId, Refusal, UserId, WalletId};

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
}

/// A charge that is to be undone.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({"UserId": 123_123, "EventId": 321_123}))]
pub struct RollbackRequest<'a> {
    /// Whose wallet.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    user_id: Field<'a>,
    /// The event of the charge.
    #[serde(borrow, default)]
    #[schema(value_type = Id, required = true)]
    event_id: Field<'a>,
}

/// Money that comes in or goes out on the operator's word.
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
    pub fn command(&self, currency: Currency) -> Result<Command, Problem> {
        movement(self.user_id, ("EventId", self.event_id), self.amount, currency, Command::charge)
    }
}

impl WinRequest<'_> {
    /// The win.
    pub fn command(&self, currency: Currency) -> Result<Command, Problem> {
        movement(self.user_id, ("WinningEventId", self.winning_event_id), self.amount, currency, Command::win)
    }
}

impl TransactionRequest<'_> {
    /// The deposit or withdrawal, as `make` makes it.
    pub fn command(&self, currency: Currency, make: Make) -> Result<Command, Problem> {
        movement(self.user_id, ("TransactionId", self.transaction_id), self.amount, currency, make)
    }
}

impl RollbackRequest<'_> {
    /// The rollback.
    pub fn command(&self) -> Result<Command, Problem> {
        let user_id = self.user_id.id("UserId", UserId::new)?;
        Ok(Command::rollback(user_id, self.event_id.id("EventId", EventId::new)?))
    }
}

impl UserRequest<'_> {
    /// The opening of the user's wallet, which gets this id if it is made now.
    pub fn command(&self, currency: Currency, wallet_id: WalletId) -> Result<Command, Problem> {
        let user_id = self.user_id.id("UserId", UserId::new)?;
        let opening = self.account_balance;
        let minor = if opening.is_given() { opening.amount_minor("AccountBalance", currency)? } else { 0 };
        Ok(Command::open(user_id, wallet_id, minor)?)
    }
}

fn movement(
    user_id: Field<'_>,
    (event_name, event_id): (&str, Field<'_>),
    amount: Field<'_>,
    currency: Currency,
    make: Make,
) -> Result<Command, Problem> {
    let user_id = user_id.id("UserId", UserId::new)?;
    let event_id = event_id.id(event_name, EventId::new)?;
    let amount_minor = amount.amount_minor("Amount", currency)?;
    Ok(make(user_id, event_id, amount_minor)?)
}

/// Which moment of a wallet is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WalletQuery {
    /// A moment (RFC 3339): the balance is given as it was then. A `+` in it must be sent as `%2B`.
    #[param(format = DateTime, example = "2026-01-02T03:04:05Z")]
    pub at: Option<String>,
}

/// Which page of a history is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EntriesQuery {
    /// How many entries to give at the most; above 1000 means 1000.
    #[param(value_type = Option<Limit>, inline, example = 50)]
    pub limit: Option<String>,
    /// The `NextBefore` of the page before: only entries older than this one are given.
    #[param(value_type = Option<Id>, example = 2)]
    pub before: Option<String>,
}

/// How the size of a page is described.
struct Limit;

impl PartialSchema for Limit {
    /// Without a format: the number may pass any integer type, as more than a page holds means a whole page.
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        number.default(Some(json!(Page::SIZE_DEFAULT))).into()
    }
}

impl ToSchema for Limit {}
