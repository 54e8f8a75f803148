//! Proto to ledger and back.

use prost_types::Timestamp as Moment;

use super::proto::{
    Applied, ChargeRequest, ChargeResponse, Checkpoint, CreateWalletRequest, DepositRequest, DepositResponse, Entry,
    EntryKind, Refused, RollbackRequest, RollbackResponse, TransactRequest, TransactResponse, Wallet, WinRequest,
    WinResponse, WithdrawRequest, WithdrawResponse, transact_request, transact_response,
};
use crate::api::reason::Problem;
use crate::ledger::{self, Command, Commit, EventId, Kind, Outcome, Receipt, Refusal, Timestamp, UserId, WalletId};

impl TryFrom<ChargeRequest> for Command {
    type Error = Problem;

    fn try_from(request: ChargeRequest) -> Result<Self, Problem> {
        let ChargeRequest { user_id, event_id, amount_minor } = request;
        movement(user_id, ("event_id", event_id), amount_minor, Self::charge)
    }
}

impl TryFrom<WinRequest> for Command {
    type Error = Problem;

    fn try_from(request: WinRequest) -> Result<Self, Problem> {
        let WinRequest { user_id, winning_event_id, amount_minor } = request;
        movement(user_id, ("winning_event_id", winning_event_id), amount_minor, Self::win)
    }
}

impl TryFrom<DepositRequest> for Command {
    type Error = Problem;

    fn try_from(request: DepositRequest) -> Result<Self, Problem> {
        let DepositRequest { user_id, transaction_id, amount_minor } = request;
        movement(user_id, ("transaction_id", transaction_id), amount_minor, Self::deposit)
    }
}

impl TryFrom<WithdrawRequest> for Command {
    type Error = Problem;

    fn try_from(request: WithdrawRequest) -> Result<Self, Problem> {
        let WithdrawRequest { user_id, transaction_id, amount_minor } = request;
        movement(user_id, ("transaction_id", transaction_id), amount_minor, Self::withdraw)
    }
}

impl TryFrom<RollbackRequest> for Command {
    type Error = Problem;

    fn try_from(RollbackRequest { user_id, event_id }: RollbackRequest) -> Result<Self, Problem> {
        Ok(Self::rollback(user(user_id)?, event("event_id", event_id)?))
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
            None => Err(Problem::invalid("command is missing from the request")),
        }
    }
}

/// The opening of a wallet, which gets this id if it is made now.
pub fn opening(request: &CreateWalletRequest, wallet_id: WalletId) -> Result<Command, Problem> {
    Ok(Command::open(user(request.user_id)?, wallet_id, request.opening_balance_minor)?)
}

fn movement(
    user_id: i64,
    (event_name, event_id): (&str, i64),
    amount_minor: i64,
    make: fn(UserId, EventId, i64) -> Result<Command, Refusal>,
) -> Result<Command, Problem> {
    Ok(make(user(user_id)?, event(event_name, event_id)?, amount_minor)?)
}

/// The user with this id.
pub fn user(user_id: i64) -> Result<UserId, Problem> {
    UserId::new(user_id).ok_or_else(|| Problem::invalid_id("user_id"))
}

fn event(name: &str, event_id: i64) -> Result<EventId, Problem> {
    EventId::new(event_id).ok_or_else(|| Problem::invalid_id(name))
}

/// The moment that a `google.protobuf.Timestamp` holds; what is finer than a microsecond is cut off.
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
    let (Receipt { entry, applied, .. }, replayed, current_balance) = match outcome {
        Outcome::Applied(receipt) => (receipt, false, receipt.entry.balance_after),
        Outcome::Replayed { receipt, current_balance } => (receipt, true, *current_balance),
        Outcome::Refused(refusal) => return Err((*refusal).into()),
    };
    Ok(Applied {
        user_id: entry.user_id.get(),
        balance_minor: entry.balance_after.minor(),
        replayed,
        current_balance_minor: current_balance.minor(),
        entry_id: entry.entry_id.get(),
        sequence: entry.sequence,
        applied: *applied,
    })
}

/// The wallet as it was opened, or why it was not.
pub fn opened(outcome: &Outcome) -> Result<Wallet, Problem> {
    let Receipt { entry, wallet_id, .. } = match outcome {
        Outcome::Applied(receipt) | Outcome::Replayed { receipt, .. } => receipt,
        Outcome::Refused(refusal) => return Err((*refusal).into()),
    };
    let wallet_id = wallet_id.expect("the receipt of an opening names its wallet");
    Ok(Wallet {
        user_id: entry.user_id.get(),
        wallet_id: wallet_id.to_string(),
        balance_minor: entry.balance_after.minor(),
        sequence: entry.sequence,
        create_time: Some(moment(entry.created_at)),
    })
}

/// The responses that say what [`Applied`] says, each in a message of its own.
macro_rules! responses {
    ($($response:ident { $($more:ident)? }),*) => {$(
        impl From<Applied> for $response {
            fn from(applied: Applied) -> Self {
                let Applied { user_id, balance_minor, replayed, current_balance_minor, entry_id, sequence, .. } = applied;
                Self {
                    user_id, balance_minor, replayed, current_balance_minor, entry_id, sequence,
                    $($more: applied.$more)?
                }
            }
        }
    )*};
}

responses! { ChargeResponse {}, WinResponse {}, DepositResponse {}, WithdrawResponse {}, RollbackResponse { applied } }

impl From<Result<Applied, Problem>> for TransactResponse {
    fn from(result: Result<Applied, Problem>) -> Self {
        let outcome = match result {
            Ok(applied) => transact_response::Outcome::Applied(applied),
            Err(Problem { reason, message, .. }) => {
                transact_response::Outcome::Refused(Refused { reason: reason.name().to_owned(), message: message })
            }
        };
        Self { outcome: Some(outcome) }
    }
}

impl From<ledger::Wallet> for Wallet {
    fn from(wallet: ledger::Wallet) -> Self {
        let ledger::Wallet { user_id, wallet_id, balance, sequence, created_at } = wallet;
        Self {
            user_id: user_id.get(),
            wallet_id: wallet_id.to_string(),
            balance_minor: balance.minor(),
            sequence,
            create_time: Some(moment(created_at)),
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
        }
    }
}

impl From<Commit> for Checkpoint {
    fn from(Commit { commit_id, last_entry_id, hash, created_at }: Commit) -> Self {
        let create_time = (commit_id > 0).then(|| moment(created_at));
        Self { commit_id, entry_id: last_entry_id.get(), hash: hash.0.to_vec(), create_time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_go_there_and_back() {
        for microseconds in [0, 1, -1, 1_767_323_045_000_006, -62_135_596_800_000_000] {
            let timestamp_of = Timestamp::from_microseconds(microseconds);
            assert_eq!(timestamp(moment(timestamp_of)), Ok(timestamp_of), "{microseconds}");
        }
        assert_eq!(timestamp(Moment { seconds: 1, nanos: 1_999 }), Ok(Timestamp::from_microseconds(1_000_001)));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
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
    fn a_stream_request_without_a_command_is_invalid() {
        let problem = Command::try_from(TransactRequest { command: None }).unwrap_err();
        assert_eq!(problem.message, "command is missing from the request");
    }
}
