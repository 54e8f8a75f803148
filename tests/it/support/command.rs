//! A command as plain numbers, and how each protocol encodes it.

use wallet::api::grpc::proto::transact_request::Command as ProtoCommand;
use wallet::api::grpc::proto::{
    ChargeRequest, CreateWalletRequest, DepositRequest, RollbackRequest, WinRequest, WithdrawRequest, rollback_request,
};
use wallet::ledger::{Action, Command, Kind};

/// A command as plain numbers: also such a one as the ledger's own type cannot hold, with a negative id or amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainCommand {
    pub kind: Kind,
    pub user_id: i64,
    /// 0 for a command that has none.
    pub event_id: i64,
    /// 0 for a command that has none.
    pub amount_minor: i64,
}

/// A command as both protocols carry it.
pub struct Encoded {
    /// The last part of the REST path.
    pub path: &'static str,
    /// The REST request's fields, in order, each with its JSON.
    pub fields: Vec<(&'static str, String)>,
    pub message: Message,
}

/// A gRPC request.
#[derive(Clone, Debug)]
pub enum Message {
    /// Has an rpc of its own alone.
    CreateWallet(CreateWalletRequest),
    /// Has an rpc of its own, and can be sent on a stream.
    Command(ProtoCommand),
}

impl PlainCommand {
    pub const fn open(user_id: i64, opening_minor: i64) -> Self {
        Self { kind: Kind::Open, user_id, event_id: 0, amount_minor: opening_minor }
    }

    pub const fn charge(user_id: i64, event_id: i64, amount_minor: i64) -> Self {
        Self { kind: Kind::Charge, user_id, event_id, amount_minor }
    }

    pub const fn win(user_id: i64, event_id: i64, amount_minor: i64) -> Self {
        Self { kind: Kind::Win, user_id, event_id, amount_minor }
    }

    pub const fn rollback(user_id: i64, event_id: i64) -> Self {
        Self { kind: Kind::Rollback, user_id, event_id, amount_minor: 0 }
    }

    pub const fn rollback_win(user_id: i64, event_id: i64) -> Self {
        Self { kind: Kind::WinRollback, user_id, event_id, amount_minor: 0 }
    }

    pub const fn deposit(user_id: i64, event_id: i64, amount_minor: i64) -> Self {
        Self { kind: Kind::Deposit, user_id, event_id, amount_minor }
    }

    pub const fn withdraw(user_id: i64, event_id: i64, amount_minor: i64) -> Self {
        Self { kind: Kind::Withdrawal, user_id, event_id, amount_minor }
    }

    /// The one place where a new command is encoded; [`Client`](super::client::Client) then only has to call its rpc.
    pub fn encode(self) -> Encoded {
        let Self { kind, user_id, event_id, amount_minor } = self;
        let amount = ("Amount", decimal(amount_minor));
        let (user, event, minor) = (Some(user_id), Some(event_id), Some(amount_minor));
        let rollback =
            |event| Message::Command(ProtoCommand::Rollback(RollbackRequest { user_id: user, event: Some(event) }));
        let (path, fields, message) = match kind {
            Kind::Open => {
                let request = CreateWalletRequest { user_id: user, opening_balance_minor: minor };
                ("users", vec![("AccountBalance", decimal(amount_minor))], Message::CreateWallet(request))
            }
            Kind::Charge => {
                let request = ChargeRequest { user_id: user, event_id: event, amount_minor: minor, round_id: None };
                let fields = vec![("EventId", event_id.to_string()), amount];
                ("charge", fields, Message::Command(ProtoCommand::Charge(request)))
            }
            Kind::Win => {
                let request =
                    WinRequest { user_id: user, winning_event_id: event, amount_minor: minor, round_id: None };
                let fields = vec![("WinningEventId", event_id.to_string()), amount];
                ("win", fields, Message::Command(ProtoCommand::Win(request)))
            }
            Kind::Rollback => {
                let fields = vec![("EventId", event_id.to_string())];
                ("rollback", fields, rollback(rollback_request::Event::EventId(event_id)))
            }
            Kind::WinRollback => {
                let fields = vec![("WinningEventId", event_id.to_string())];
                ("rollback", fields, rollback(rollback_request::Event::WinningEventId(event_id)))
            }
            Kind::Deposit => {
                let request = DepositRequest { user_id: user, transaction_id: event, amount_minor: minor, note: None };
                let fields = vec![("TransactionId", event_id.to_string()), amount];
                ("deposit", fields, Message::Command(ProtoCommand::Deposit(request)))
            }
            Kind::Withdrawal => {
                let request = WithdrawRequest { user_id: user, transaction_id: event, amount_minor: minor, note: None };
                let fields = vec![("TransactionId", event_id.to_string()), amount];
                ("withdraw", fields, Message::Command(ProtoCommand::Withdraw(request)))
            }
            Kind::Freeze | Kind::Unfreeze => panic!("no command writes a {kind:?}"),
        };
        Encoded { path, fields: [vec![("UserId", user_id.to_string())], fields].concat(), message }
    }
}

impl From<Command> for PlainCommand {
    fn from(command: Command) -> Self {
        let amount_minor = match command.action {
            Action::Open { opening: amount, .. }
            | Action::Charge(amount)
            | Action::Win(amount)
            | Action::Deposit(amount)
            | Action::Withdraw(amount) => amount.minor(),
            Action::Rollback | Action::WinRollback => 0,
        };
        let (user_id, event_id) = (command.user_id.get(), command.event_id.get());
        Self { kind: command.action.kind(), user_id, event_id, amount_minor }
    }
}

impl Encoded {
    /// The REST request's body.
    pub fn json(&self) -> String {
        let fields: Vec<String> = self.fields.iter().map(|(name, json)| format!(r#""{name}":{json}"#)).collect();
        format!("{{{}}}", fields.join(","))
    }
}

/// Minor units with two decimals, as the REST API writes euros; not by the ledger's own formatter, which is under test.
fn decimal(minor: i64) -> String {
    let (sign, minor) = (if minor < 0 { "-" } else { "" }, minor.unsigned_abs());
    format!("{sign}{}.{:02}", minor / 100, minor % 100)
}
