//! A command that is known by its number alone.

use wallet::api::grpc::proto::transact_request::Command;
use wallet::api::grpc::proto::{ChargeRequest, DepositRequest, RollbackRequest, WinRequest, WithdrawRequest};

/// What each caller's wallet begins with: enough for every script.
pub const OPENING: i64 = 1_000_000;

/// One command of a caller's script.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub user: i64,
    pub number: i64,
}

impl Step {
    /// A charge, a win, a deposit, a withdrawal, the rollback of that charge; and again.
    pub fn command(self) -> Command {
        let Self { user: user_id, number } = self;
        match number % 5 {
            0 => Command::Charge(ChargeRequest { user_id, event_id: number, amount_minor: 1 }),
            1 => Command::Win(WinRequest { user_id, winning_event_id: number, amount_minor: 2 }),
            2 => Command::Deposit(DepositRequest { user_id, transaction_id: number, amount_minor: 3 }),
            3 => Command::Withdraw(WithdrawRequest { user_id, transaction_id: number, amount_minor: 1 }),
            _ => Command::Rollback(RollbackRequest { user_id, event_id: number - 4 }),
        }
    }

    pub fn rest(self) -> (&'static str, String) {
        let Self { user, number } = self;
        let with = |id: &str, amount: &str| format!(r#"{{"UserId":{user},"{id}":{number},"Amount":{amount}}}"#);
        match number % 5 {
            0 => ("charge", with("EventId", "0.01")),
            1 => ("win", with("WinningEventId", "0.02")),
            2 => ("deposit", with("TransactionId", "0.03")),
            3 => ("withdraw", with("TransactionId", "0.01")),
            _ => ("rollback", format!(r#"{{"UserId":{user},"EventId":{}}}"#, number - 4)),
        }
    }

    /// The balance that it leaves: of everything before it, and itself, done once.
    pub fn balance(self) -> i64 {
        let Self { number, .. } = self;
        OPENING + number / 5 * 4 + [-1, 1, 4, 3, 4][usize::try_from(number % 5).unwrap()]
    }

    /// Whether it is a charge that a later step gave back: sent again after that, it is refused.
    pub fn is_rolled_back_by(self, sent: i64) -> bool {
        self.number % 5 == 0 && self.number + 4 < sent
    }
}
