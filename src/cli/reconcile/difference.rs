//! In what a statement and the ledger may differ.

use serde::Serialize;

use super::statement::StatementLine;
use crate::api::rest::Decimal;
use crate::ledger::{Amount, Currency, Entry, EntryId, EntryKey, Timestamp};

/// What is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The file has an event that the ledger has not.
    MissingInLedger,
    /// The ledger has an event of the span that the file has not.
    MissingInFile,
    /// Both have the event, with different amounts.
    Amount,
    /// The file has an event that is in the ledger, but not in the span.
    OutsideSpan,
    /// The file had the event before.
    Duplicate,
}

impl DifferenceKind {
    /// Each of them, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::MissingInLedger, Self::MissingInFile, Self::Amount, Self::OutsideSpan, Self::Duplicate];

    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MissingInLedger => "missing_in_ledger",
            Self::MissingInFile => "missing_in_file",
            Self::Amount => "amount",
            Self::OutsideSpan => "outside_span",
            Self::Duplicate => "duplicate",
        }
    }

    /// What it is, for a person.
    pub const fn words(self) -> &'static str {
        match self {
            Self::MissingInLedger => "missing in the ledger",
            Self::MissingInFile => "missing in the file",
            Self::Amount => "another amount",
            Self::OutsideSpan => "outside the span",
            Self::Duplicate => "twice in the file",
        }
    }
}

/// What the ledger has of an event.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    pub entry_id: EntryId,
    pub amount: Amount,
    pub created_at: Timestamp,
}

impl From<&Entry> for Recorded {
    fn from(&Entry { entry_id, amount, created_at, .. }: &Entry) -> Self {
        Self { entry_id, amount, created_at }
    }
}

/// One event in which the file and the ledger differ.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    pub what: DifferenceKind,
    pub key: EntryKey,
    /// The line and the amount of the file, if it has the event.
    pub told: Option<(u64, Amount)>,
    /// What the ledger has, if it has the event.
    pub recorded: Option<Recorded>,
}

impl Difference {
    /// A line of the file that differs from what the ledger has.
    pub const fn of_line(what: DifferenceKind, told: StatementLine, recorded: Option<Recorded>) -> Self {
        Self { what, key: told.key, told: Some((told.line, told.amount)), recorded }
    }

    /// An entry that the file has not.
    pub fn of_entry(entry: &Entry) -> Self {
        Self { what: DifferenceKind::MissingInFile, key: entry.key(), told: None, recorded: Some(entry.into()) }
    }

    /// The line of JSON that tells it.
    pub fn answer(&self, currency: Currency) -> DifferenceAnswer {
        let Self { what, key, told, recorded } = self;
        let money = |amount: Amount| Decimal::new(currency, amount.minor());
        DifferenceAnswer {
            difference: what.name(),
            line: told.map(|(line, _)| line),
            user_id: key.user_id.get(),
            kind: key.kind.name(),
            event_id: key.event_id.get(),
            file_amount: told.map(|(_, amount)| money(amount)),
            ledger_amount: recorded.map(|recorded| money(recorded.amount)),
            entry_id: recorded.map(|recorded| recorded.entry_id.get()),
            created_at: recorded.map(|recorded| recorded.created_at.to_string()),
        }
    }
}

/// A difference, in the terms of the REST API.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DifferenceAnswer {
    difference: &'static str,
    line: Option<u64>,
    user_id: i64,
    kind: &'static str,
    event_id: i64,
    file_amount: Option<Decimal>,
    ledger_amount: Option<Decimal>,
    entry_id: Option<i64>,
    created_at: Option<String>,
}
