//! The tables of `docs/semantics.md`: each row through both APIs and by stream.

use wallet::api::reason::Reason;

use crate::support::app::App;
use crate::support::client::{Client, Protocol, Reply};
use crate::support::command::{Message, PlainCommand};

const SEMANTICS: &str = include_str!("../../docs/semantics.md");
/// What each wallet holds at first, in minor units.
const OPENING: i64 = 1_000;

/// A row of a table.
#[derive(Debug)]
struct Case {
    before: Vec<&'static str>,
    command: &'static str,
    outcome: &'static str,
    balance: i64,
}

fn cases() -> Vec<Case> {
    let rows = SEMANTICS.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case "));
    let case = |row: &'static str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, _, before, command, outcome, balance, _] = cells[..] else { panic!("not five columns: {row}") };
        let code = |text: &'static str| text.trim_matches('`');
        Case {
            before: before.split(", ").filter(|text| !text.is_empty()).map(code).collect(),
            command: code(command),
            outcome: code(outcome),
            balance: minor(balance),
        }
    };
    rows.map(case).collect()
}

/// The minor units of an amount with two decimals.
fn minor(amount: &str) -> i64 {
    let (whole, cents) = amount.split_once('.').unwrap_or_else(|| panic!("{amount} has no decimals"));
    assert_eq!(cents.len(), 2, "{amount}");
    format!("{whole}{cents}").parse().unwrap()
}

fn command(user_id: i64, text: &str) -> PlainCommand {
    let id = |text: &str| text.parse::<i64>().unwrap();
    match text.split(' ').collect::<Vec<_>>()[..] {
        ["charge", event, amount] => PlainCommand::charge(user_id, id(event), minor(amount)),
        ["win", event, amount] => PlainCommand::win(user_id, id(event), minor(amount)),
        ["play", event, stake, winning_event, prize] => {
            PlainCommand::play(user_id, (id(event), minor(stake)), (id(winning_event), minor(prize)))
        }
        ["rollback", "charge", event] => PlainCommand::rollback(user_id, id(event)),
        ["rollback", "win", event] => PlainCommand::rollback_win(user_id, id(event)),
        ["deposit", transaction, amount] => PlainCommand::deposit(user_id, id(transaction), minor(amount)),
        ["withdraw", transaction, amount] => PlainCommand::withdraw(user_id, id(transaction), minor(amount)),
        ["freeze", transaction] => PlainCommand::freeze(user_id, id(transaction)),
        ["unfreeze", transaction] => PlainCommand::unfreeze(user_id, id(transaction)),
        _ => panic!("{text} is no command"),
    }
}

/// Sends a command. What a stream does not carry goes by its own rpc.
async fn send(client: &Client, protocol: Protocol, command: PlainCommand) -> Reply {
    let is_carried = matches!(command.encode().message, Message::Command(_));
    client.send(if is_carried || protocol == Protocol::Rest { protocol } else { Protocol::Grpc }, command).await
}

/// An outcome, as the tables name it.
fn named(reply: &Reply) -> &'static str {
    match reply {
        Reply::Done { replayed: false, applied: true, .. } => "applied",
        Reply::Done { replayed: true, applied: true, .. } => "replayed",
        Reply::Done { replayed: false, applied: false, .. } => "barred",
        Reply::Done { replayed: true, applied: false, .. } => "barred before",
        refused => refused.reason().map_or("unanswered", Reason::name),
    }
}

#[tokio::test]
async fn every_case_has_the_outcome_that_is_documented() {
    let app = App::spawn().await;
    let client = app.client().await;
    let cases = cases();
    let mut user_id = 0;
    for case in &cases {
        for protocol in [Protocol::Rest, Protocol::Grpc, Protocol::Stream] {
            user_id += 1;
            client.create_wallet(user_id, OPENING).await;
            for text in &case.before {
                send(&client, protocol, command(user_id, text)).await;
            }
            let reply = send(&client, protocol, command(user_id, case.command)).await;
            assert_eq!(named(&reply), case.outcome, "{case:?} by {protocol:?}: {reply:?}");
            assert_eq!(client.balance(user_id).await, case.balance, "{case:?} by {protocol:?}");
        }
    }
    assert!(cases.len() > 60, "the tables are read: {}", cases.len());
}
