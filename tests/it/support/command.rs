//! A command as plain numbers, and how each protocol encodes it.

use wallet::api::grpc::proto::transact_request::Command as ProtoCommand;
use wallet::api::grpc::proto::{
    ChargeRequest, CreateWalletRequest, DepositRequest, FreezeWalletRequest, PlayRequest, RollbackRequest,
    UnfreezeWalletRequest, WinRequest, WithdrawRequest, rollback_request,
};
use wallet::ledger::{Action, Command, Kind};

/// A command as plain numbers: also such a one as the ledger's own type cannot hold, with a negative id or amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainCommand {
    /// Of a play, its charge's.
    pub kind: Kind,
    pub user_id: i64,
    /// 0 for a command that has none.
    pub event_id: i64,
    /// 0 for a command that has none.
    pub amount_minor: i64,
    /// Of a play, the event and the amount of its win.
    pub win: Option<(i64, i64)>,
}

/// A command as both protocols carry it.
pub struct Encoded {
    /// The last part of the REST path.
    pub path: String,
    /// The REST request's fields, in order, each with its JSON.
    pub fields: Vec<(&'static str, String)>,
    pub message: Message,
}

/// A gRPC request.
#[derive(Clone, Debug)]
pub enum Message {
    // These have an rpc of their own alone, and are answered by the wallet.
    CreateWallet(CreateWalletRequest),
    FreezeWallet(FreezeWalletRequest),
    UnfreezeWallet(UnfreezeWalletRequest),
    /// Has an rpc of its own, and can be sent on a stream.
    Command(ProtoCommand),
}

impl PlainCommand {
    pub const fn open(user_id: i64, opening_minor: i64) -> Self {
        Self::new(Kind::Open, user_id, 0, opening_minor)
    }

    pub const fn charge(user_id: i64, event_id: i64, amount_minor: i64) -> Self {
        Self::new(Kind::Charge, user_id, event_id, amount_minor)
    }

    pub const fn win(user_id: i64, event_id: i64, amount_minor: i64) -> Self {
        Self::new(Kind::Win, user_id, event_id, amount_minor)
    }

    pub const fn rollback(user_id: i64, event_id: i64) -> Self {
        Self::new(Kind::Rollback, user_id, event_id, 0)
    }

    pub const fn rollback_win(user_id: i64, event_id: i64) -> Self {
        Self::new(Kind::WinRollback, user_id, event_id, 0)
    }

    pub const fn deposit(user_id: i64, event_id: i64, amount_minor: i64) -> Self {
        Self::new(Kind::Deposit, user_id, event_id, amount_minor)
    }

    pub const fn withdraw(user_id: i64, event_id: i64, amount_minor: i64) -> Self {
        Self::new(Kind::Withdrawal, user_id, event_id, amount_minor)
    }

    pub const fn play(user_id: i64, (event_id, amount_minor): (i64, i64), win: (i64, i64)) -> Self {
        Self { win: Some(win), ..Self::charge(user_id, event_id, amount_minor) }
    }

    pub const fn freeze(user_id: i64, event_id: i64) -> Self {
        Self::new(Kind::Freeze, user_id, event_id, 0)
    }

    pub const fn unfreeze(user_id: i64, event_id: i64) -> Self {
        Self::new(Kind::Unfreeze, user_id, event_id, 0)
    }

    const fn new(kind: Kind, user_id: i64, event_id: i64, amount_minor: i64) -> Self {
        Self { kind, user_id, event_id, amount_minor, win: None }
    }

    /// The one place where a new command is encoded; [`Client`](super::client::Client) then only has to call its rpc.
    pub fn encode(self) -> Encoded {
        let Self { kind, user_id, event_id, amount_minor, win } = self;
        let amount = ("Amount", decimal(amount_minor));
        let (user, event, minor) = (Some(user_id), Some(event_id), Some(amount_minor));
        let rollback =
            |event| Message::Command(ProtoCommand::Rollback(RollbackRequest { user_id: user, event: Some(event) }));
        if let Some(win) = win {
            return self.encode_play(win);
        }
        let transaction = || vec![("TransactionId", event_id.to_string())];
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
                let fields = [transaction(), vec![amount]].concat();
                ("deposit", fields, Message::Command(ProtoCommand::Deposit(request)))
            }
            Kind::Withdrawal => {
                let request = WithdrawRequest { user_id: user, transaction_id: event, amount_minor: minor, note: None };
                let fields = [transaction(), vec![amount]].concat();
                ("withdraw", fields, Message::Command(ProtoCommand::Withdraw(request)))
            }
            Kind::Freeze | Kind::Unfreeze => {
                let (transaction_id, note) = (event, None);
                let (name, message) = if kind == Kind::Freeze {
                    ("freeze", Message::FreezeWallet(FreezeWalletRequest { user_id: user, transaction_id, note }))
                } else {
                    ("unfreeze", Message::UnfreezeWallet(UnfreezeWalletRequest { user_id: user, transaction_id, note }))
                };
                return Encoded { path: format!("users/{user_id}/{name}"), fields: transaction(), message };
            }
        };
        Encoded { path: path.to_owned(), fields: [vec![("UserId", user_id.to_string())], fields].concat(), message }
    }

    fn encode_play(self, (winning_event_id, prize_minor): (i64, i64)) -> Encoded {
        let Self { user_id, event_id, amount_minor, .. } = self;
        let request = PlayRequest {
            user_id: Some(user_id),
            event_id: Some(event_id),
            amount_minor: Some(amount_minor),
            winning_event_id: Some(winning_event_id),
            winning_amount_minor: Some(prize_minor),
            round_id: None,
        };
        let fields = vec![
            ("UserId", user_id.to_string()),
            ("EventId", event_id.to_string()),
            ("Amount", decimal(amount_minor)),
            ("WinningEventId", winning_event_id.to_string()),
            ("WinningAmount", decimal(prize_minor)),
        ];
        Encoded { path: "play".to_owned(), fields, message: Message::Command(ProtoCommand::Play(request)) }
    }
}

impl From<Command> for PlainCommand {
    fn from(command: Command) -> Self {
        let (user_id, event_id) = (command.user_id.get(), command.event_id.get());
        match command.action {
            Action::Open { opening, .. } => Self::open(user_id, opening.minor()),
            Action::Charge(amount) => Self::charge(user_id, event_id, amount.minor()),
            Action::Win(amount) => Self::win(user_id, event_id, amount.minor()),
            Action::Deposit(amount) => Self::deposit(user_id, event_id, amount.minor()),
            Action::Withdraw(amount) => Self::withdraw(user_id, event_id, amount.minor()),
            Action::Rollback => Self::rollback(user_id, event_id),
            Action::WinRollback => Self::rollback_win(user_id, event_id),
            Action::Play { stake, winning_event_id, prize } => {
                Self::play(user_id, (event_id, stake.minor()), (winning_event_id.get(), prize.minor()))
            }
            Action::Freeze => Self::freeze(user_id, event_id),
            Action::Unfreeze => Self::unfreeze(user_id, event_id),
        }
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
