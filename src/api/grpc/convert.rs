//! Proto to ledger and back.

use std::collections::HashMap;

use prost_types::Timestamp as Moment;

use super::proto::{
    Applied, ChargeRequest, ChargeResponse, Checkpoint, CreateWalletRequest, DepositRequest, DepositResponse, Entry,
    EntryKind, Event, FreezeWalletRequest, PlayRequest, PlayResponse, Refused, RollbackRequest, RollbackResponse,
    TransactRequest, TransactResponse, UnfreezeWalletRequest, Wallet, WinRequest, WinResponse, WithdrawRequest,
    WithdrawResponse, rollback_request, transact_request, transact_response,
};
use crate::api::note::note;
use crate::api::opening;
use crate::api::reason::{Detail, Problem};
use crate::ledger::{
    self, Annotations, Command, EventId, EventKey, Heads, Kind, Outcome, Refusal, RoundId, Timestamp, UserId,
};

impl TryFrom<ChargeRequest> for Command {
    type Error = Problem;

    fn try_from(request: ChargeRequest) -> Result<Self, Problem> {
        let ChargeRequest { user_id, event_id, amount_minor, round_id } = request;
        movement(user_id, ("event_id", event_id), amount_minor, || of_round(round_id), Self::charge)
    }
}

impl TryFrom<WinRequest> for Command {
    type Error = Problem;

    fn try_from(request: WinRequest) -> Result<Self, Problem> {
        let WinRequest { user_id, winning_event_id, amount_minor, round_id } = request;
        movement(user_id, ("winning_event_id", winning_event_id), amount_minor, || of_round(round_id), Self::win)
    }
}

impl TryFrom<PlayRequest> for Command {
    type Error = Problem;

    fn try_from(request: PlayRequest) -> Result<Self, Problem> {
        let user_id = user(request.user_id)?;
        let charge = (event("event_id", request.event_id)?, given("amount_minor", request.amount_minor)?);
        let winning_event_id = event("winning_event_id", request.winning_event_id)?;
        let win = (winning_event_id, given("winning_amount_minor", request.winning_amount_minor)?);
        let annotations = of_round(request.round_id)?;
        Ok(Self::play(user_id, charge, win)?.with_annotations(annotations))
    }
}

impl TryFrom<DepositRequest> for Command {
    type Error = Problem;

    fn try_from(request: DepositRequest) -> Result<Self, Problem> {
        let DepositRequest { user_id, transaction_id, amount_minor, note } = request;
        let transaction = ("transaction_id", transaction_id);
        movement(user_id, transaction, amount_minor, || with_note(note.as_deref()), Self::deposit)
    }
}

impl TryFrom<WithdrawRequest> for Command {
    type Error = Problem;

    fn try_from(request: WithdrawRequest) -> Result<Self, Problem> {
        let WithdrawRequest { user_id, transaction_id, amount_minor, note } = request;
        let transaction = ("transaction_id", transaction_id);
        movement(user_id, transaction, amount_minor, || with_note(note.as_deref()), Self::withdraw)
    }
}

impl TryFrom<FreezeWalletRequest> for Command {
    type Error = Problem;

    fn try_from(request: FreezeWalletRequest) -> Result<Self, Problem> {
        let FreezeWalletRequest { user_id, transaction_id, note } = request;
        let (user_id, transaction_id) = (user(user_id)?, event("transaction_id", transaction_id)?);
        Ok(Self::freeze(user_id, transaction_id).with_annotations(with_note(note.as_deref())?))
    }
}

impl TryFrom<UnfreezeWalletRequest> for Command {
    type Error = Problem;

    fn try_from(request: UnfreezeWalletRequest) -> Result<Self, Problem> {
        let UnfreezeWalletRequest { user_id, transaction_id, note } = request;
        let (user_id, transaction_id) = (user(user_id)?, event("transaction_id", transaction_id)?);
        Ok(Self::unfreeze(user_id, transaction_id).with_annotations(with_note(note.as_deref())?))
    }
}

impl TryFrom<RollbackRequest> for Command {
    type Error = Problem;

    fn try_from(request: RollbackRequest) -> Result<Self, Problem> {
        use rollback_request::Event;
        let user_id = user(request.user_id)?;
        match request.event {
            Some(Event::EventId(id)) => Ok(Self::rollback(user_id, event("event_id", Some(id))?)),
            Some(Event::WinningEventId(id)) => Ok(Self::rollback_win(user_id, event("winning_event_id", Some(id))?)),
            None => Err(Problem::missing("event_id or winning_event_id")),
        }
    }
}

impl TryFrom<TransactRequest> for Command {
    type Error = Problem;

    fn try_from(request: TransactRequest) -> Result<Self, Problem> {
        use transact_request::Command;
        match request.command {
            Some(Command::Charge(request)) => request.try_into(),
            Some(Command::Win(request)) => request.try_into(),
            Some(Command::Rollback(request)) => request.try_into(),
            Some(Command::Deposit(request)) => request.try_into(),
            Some(Command::Withdraw(request)) => request.try_into(),
            Some(Command::Play(request)) => request.try_into(),
            None => Err(Problem::missing("command")),
        }
    }
}

impl TryFrom<CreateWalletRequest> for Command {
    type Error = Problem;

    fn try_from(request: CreateWalletRequest) -> Result<Self, Problem> {
        Ok(opening::command(user(request.user_id)?, request.opening_balance_minor.unwrap_or(0))?)
    }
}

fn movement(
    user_id: Option<i64>,
    (event_name, event_id): (&str, Option<i64>),
    amount_minor: Option<i64>,
    annotations: impl FnOnce() -> Result<Annotations, Problem>,
    make: fn(UserId, EventId, i64) -> Result<Command, Refusal>,
) -> Result<Command, Problem> {
    let (user_id, event_id) = (user(user_id)?, event(event_name, event_id)?);
    let amount_minor = given("amount_minor", amount_minor)?;
    let annotations = annotations()?;
    Ok(make(user_id, event_id, amount_minor)?.with_annotations(annotations))
}

fn with_note(text: Option<&str>) -> Result<Annotations, Problem> {
    let note = text.map_or(Ok(None), |text| note("note", text))?;
    Ok(Annotations { note, ..Annotations::NONE })
}

fn of_round(round_id: Option<i64>) -> Result<Annotations, Problem> {
    let round_id = round_id.map(|id| RoundId::new(id).ok_or_else(|| Problem::invalid_id("round_id"))).transpose()?;
    Ok(Annotations { round_id, ..Annotations::NONE })
}

/// The user with this id.
pub fn user(user_id: Option<i64>) -> Result<UserId, Problem> {
    UserId::new(given("user_id", user_id)?).ok_or_else(|| Problem::invalid_id("user_id"))
}

fn event(name: &str, event_id: Option<i64>) -> Result<EventId, Problem> {
    EventId::new(given(name, event_id)?).ok_or_else(|| Problem::invalid_id(name))
}

/// The event that a request names.
pub fn event_key(user_id: Option<i64>, event_id: Option<i64>) -> Result<EventKey, Problem> {
    Ok(EventKey { user_id: user(user_id)?, event_id: event("event_id", event_id)? })
}

/// A field that must be given: one that an engine forgot must not be taken for 0.
fn given(name: &str, field: Option<i64>) -> Result<i64, Problem> {
    field.ok_or_else(|| Problem::missing(name))
}

/// The time in a `google.protobuf.Timestamp`. Nanoseconds finer than a microsecond are cut off.
pub fn timestamp(at: Moment) -> Result<Timestamp, Problem> {
    let microseconds = i64::from(at.nanos).checked_div(1_000).filter(|_| (0..1_000_000_000).contains(&at.nanos));
    at.seconds
        .checked_mul(1_000_000)
        .zip(microseconds)
        .and_then(|(whole, part)| whole.checked_add(part))
        .map(Timestamp::from_microseconds)
        .ok_or_else(|| Problem::invalid("at is not a valid timestamp"))
}

fn moment(timestamp: Timestamp) -> Moment {
    let microseconds = timestamp.microseconds();
    let nanos = i32::try_from(microseconds.rem_euclid(1_000_000) * 1_000).expect("less than a second");
    Moment { seconds: microseconds.div_euclid(1_000_000), nanos }
}

/// What a command did, or why it was not done.
pub fn applied(outcome: &Outcome) -> Result<Applied, Problem> {
    let (receipt, replayed, current_balance) = match outcome {
        Outcome::Applied(receipt) => (receipt, false, receipt.balance()),
        Outcome::Replayed { receipt, current_balance } => (receipt, true, *current_balance),
        Outcome::Refused(refusal) => return Err((*refusal).into()),
    };
    Ok(Applied {
        user_id: receipt.entry.user_id.get(),
        balance_minor: receipt.balance().minor(),
        replayed,
        current_balance_minor: current_balance.minor(),
        entry_id: receipt.entry.entry_id.get(),
        sequence: receipt.entry.sequence,
        applied: receipt.effect.is_applied(),
    })
}

/// What a command did, in the message of its own call, or why it was not done.
pub fn response<A: From<Applied>>(outcome: &Outcome) -> Result<A, Problem> {
    applied(outcome).map(A::from)
}

/// What a play did, or why it was not done.
pub fn played(outcome: &Outcome) -> Result<PlayResponse, Problem> {
    let Applied { user_id, balance_minor, replayed, current_balance_minor, entry_id, sequence, .. } = applied(outcome)?;
    let charge_entry_id = match outcome {
        Outcome::Applied(receipt) | Outcome::Replayed { receipt, .. } => receipt.charge_entry_id(),
        Outcome::Refused(_) => None,
    };
    let charge_entry_id = charge_entry_id.expect("a play has a charge").get();
    Ok(PlayResponse { user_id, balance_minor, replayed, current_balance_minor, entry_id, sequence, charge_entry_id })
}

/// The wallet as its command left it, or why that was not done.
pub fn wallet(outcome: &Outcome<ledger::Wallet>) -> Result<Wallet, Problem> {
    match outcome {
        Outcome::Applied(wallet) | Outcome::Replayed { receipt: wallet, .. } => Ok((*wallet).into()),
        Outcome::Refused(refusal) => Err((*refusal).into()),
    }
}

/// The responses that say what [`Applied`] says, each in a message of its own.
macro_rules! responses {
    ($($response:ident { $($more:ident)? }),*) => {$(
        impl From<Applied> for $response {
            fn from(applied: Applied) -> Self {
                let Applied { user_id, balance_minor, replayed, current_balance_minor, .. } = applied;
                let Applied { entry_id, sequence, .. } = applied;
                Self {
                    user_id, balance_minor, replayed, current_balance_minor, entry_id, sequence,
                    $($more: applied.$more)?
                }
            }
        }
    )*};
}

responses! { ChargeResponse {}, WinResponse {}, DepositResponse {}, WithdrawResponse {}, RollbackResponse { applied } }

/// More about a refusal, as `ErrorInfo` and `Refused` carry it.
pub fn metadata(detail: Option<Detail>) -> HashMap<String, String> {
    detail.map(Detail::metadata).into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

impl From<Result<Applied, Problem>> for TransactResponse {
    fn from(result: Result<Applied, Problem>) -> Self {
        let outcome = match result {
            Ok(applied) => transact_response::Outcome::Applied(applied),
            Err(Problem { reason, message, detail }) => {
                let (reason, metadata) = (reason.name().to_owned(), metadata(detail));
                transact_response::Outcome::Refused(Refused { reason, message, metadata })
            }
        };
        Self { outcome: Some(outcome) }
    }
}

impl From<ledger::Wallet> for Wallet {
    fn from(wallet: ledger::Wallet) -> Self {
        let ledger::Wallet { user_id, wallet_id, balance, sequence, created_at, frozen } = wallet;
        Self {
            user_id: user_id.get(),
            wallet_id: wallet_id.to_string(),
            balance_minor: balance.minor(),
            sequence,
            create_time: Some(moment(created_at)),
            frozen,
        }
    }
}

impl From<&ledger::Event> for Event {
    fn from(event: &ledger::Event) -> Self {
        let entry = |kind| event.entry(kind).map(Entry::from);
        Self {
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

impl From<&ledger::Entry> for Entry {
    fn from(entry: &ledger::Entry) -> Self {
        Self {
            entry_id: entry.entry_id.get(),
            user_id: entry.user_id.get(),
            sequence: entry.sequence,
            kind: EntryKind::from(entry.kind).into(),
            event_id: entry.event_id.get(),
            amount_minor: entry.amount.minor(),
            balance_after_minor: entry.balance_after.minor(),
            create_time: Some(moment(entry.created_at)),
            round_id: entry.annotations.round_id.map(RoundId::get),
            note: entry.annotations.note.as_ref().map(ToString::to_string),
            caller: entry.annotations.caller.as_ref().map(ToString::to_string),
        }
    }
}

impl From<Kind> for EntryKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Open => Self::Open,
            Kind::Charge => Self::Charge,
            Kind::Win => Self::Win,
            Kind::Rollback => Self::Rollback,
            Kind::Deposit => Self::Deposit,
            Kind::Withdrawal => Self::Withdrawal,
            Kind::WinRollback => Self::WinRollback,
            Kind::Freeze => Self::Freeze,
            Kind::Unfreeze => Self::Unfreeze,
        }
    }
}

impl From<Heads> for Checkpoint {
    fn from(heads: Heads) -> Self {
        Self {
            commit_id: heads.commits(),
            entry_id: heads.entries(),
            hash: heads.hash().0.to_vec(),
            create_time: (heads.commits() > 0).then(|| moment(heads.created_at())),
            text: heads.checkpoints().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::reason::Reason;

    #[test]
    fn times_go_there_and_back() {
        for microseconds in [0, 1, -1, 1_767_323_045_000_006, -62_135_596_800_000_000] {
            let timestamp_of = Timestamp::from_microseconds(microseconds);
            assert_eq!(timestamp(moment(timestamp_of)), Ok(timestamp_of), "{microseconds}");
        }
        assert_eq!(timestamp(Moment { seconds: 1, nanos: 1_999 }), Ok(Timestamp::from_microseconds(1_000_001)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for (seconds, nanos) in [(0, -1), (0, 1_000_000_000), (i64::MAX, 0), (i64::MIN, 0)] {
            assert!(timestamp(Moment { seconds, nanos }).is_err(), "{seconds} {nanos}");
        }
    }

    #[test]
    fn the_kinds_have_the_same_numbers_at_both_ends() {
        for kind in Kind::ALL {
            assert_eq!(i32::from(EntryKind::from(kind)), i32::from(kind.code()));
        }
    }

    #[test]
    fn a_field_that_is_missing_is_named_and_never_taken_for_0() {
        let charge = ChargeRequest { user_id: Some(0), event_id: Some(0), amount_minor: Some(0), round_id: None };
        assert!(Command::try_from(charge).is_ok());
        let message = |request: ChargeRequest| Command::try_from(request).unwrap_err().message;
        let missing = |name: &str| format!("{name} is missing from the request");
        assert_eq!(message(ChargeRequest { user_id: None, ..charge }), missing("user_id"));
        assert_eq!(message(ChargeRequest { event_id: None, ..charge }), missing("event_id"));
        assert_eq!(message(ChargeRequest { amount_minor: None, ..charge }), missing("amount_minor"));
        let rollback = RollbackRequest { user_id: Some(0), event: None };
        assert_eq!(Command::try_from(rollback).unwrap_err().message, missing("event_id or winning_event_id"));
    }

    #[test]
    fn what_is_not_well_formed_is_refused_before_an_amount_that_is_negative() {
        let charge = ChargeRequest { user_id: Some(0), event_id: Some(0), amount_minor: Some(-1), round_id: Some(-1) };
        let reason = |request: ChargeRequest| Command::try_from(request).unwrap_err().reason;
        assert_eq!(reason(charge), Reason::InvalidRequest);
        assert_eq!(reason(ChargeRequest { round_id: None, ..charge }), Reason::NegativeAmount);
    }

    #[test]
    fn a_stream_request_without_a_command_is_invalid() {
        let problem = Command::try_from(TransactRequest { command: None }).unwrap_err();
        assert_eq!(problem.message, "command is missing from the request");
    }
}
