//! Every scenario by each protocol: the same outcome.

use serde_json::{Value, json};
use tonic::Response;
use wallet::api::grpc::proto::{Entry, GetEventRequest, WatchEntriesRequest};
use wallet::api::reason::Reason;
use wallet::ledger::Balance;

use crate::support::app::App;
use crate::support::client::{Client, Protocol, Reply};
use crate::support::command::{Message, PlainCommand};

/// What a scenario asks for.
#[derive(Clone, Copy, Debug)]
enum Call {
    Command(PlainCommand),
    Wallet(i64),
}

/// A reply without its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Done { balance: i64, replayed: bool, applied: bool },
    Refused(Reason),
}

impl PartialEq<Expected> for Reply {
    fn eq(&self, expected: &Expected) -> bool {
        match (self, *expected) {
            (Self::Done { balance, replayed, applied }, Expected::Done { balance: b, replayed: r, applied: a }) => {
                (*balance, *replayed, *applied) == (b, r, a)
            }
            (reply, Expected::Refused(reason)) => reply.reason() == Some(reason),
            (_, Expected::Done { .. }) => false,
        }
    }
}

/// Each call and the reply that every protocol must give.
#[expect(clippy::too_many_lines, reason = "it is one table")]
fn scenario() -> Vec<(Call, Expected)> {
    use Reason::{
        BalanceLimit, BalanceTooLow, EventConflict, Frozen, InvalidRequest, NegativeAmount, RolledBack, UnknownUser,
    };
    let open = |user, minor| Call::Command(PlainCommand::open(user, minor));
    let charge = |user, event, minor| Call::Command(PlainCommand::charge(user, event, minor));
    let win = |user, event, minor| Call::Command(PlainCommand::win(user, event, minor));
    let deposit = |user, id, minor| Call::Command(PlainCommand::deposit(user, id, minor));
    let withdraw = |user, id, minor| Call::Command(PlainCommand::withdraw(user, id, minor));
    let rollback = |user, event| Call::Command(PlainCommand::rollback(user, event));
    let play = |user, charge, win| Call::Command(PlainCommand::play(user, charge, win));
    let freeze = |user, id| Call::Command(PlainCommand::freeze(user, id));
    let unfreeze = |user, id| Call::Command(PlainCommand::unfreeze(user, id));
    let rollback_win = |user, event| Call::Command(PlainCommand::rollback_win(user, event));
    let done = |balance| Expected::Done { balance, replayed: false, applied: true };
    let replayed = |balance| Expected::Done { balance, replayed: true, applied: true };
    let not_applied = |balance| Expected::Done { balance, replayed: false, applied: false };
    let again_not_applied = |balance| Expected::Done { balance, replayed: true, applied: false };
    let max = Balance::MAX.minor();
    vec![
        (charge(1, 1, 1), Expected::Refused(UnknownUser)),
        (Call::Wallet(1), Expected::Refused(UnknownUser)),
        (charge(1, 1, -1), Expected::Refused(NegativeAmount)),
        (win(1, 1, -1), Expected::Refused(NegativeAmount)),
        (open(1, -1), Expected::Refused(NegativeAmount)),
        (charge(-1, 1, -1), Expected::Refused(InvalidRequest)),
        (open(1, 1000), done(1000)),
        (open(1, 999), Expected::Refused(EventConflict)),
        (charge(1, 1, 1001), Expected::Refused(BalanceTooLow)),
        (charge(1, 1, 1000), done(0)),
        (charge(1, 1, 1000), replayed(0)),
        (charge(1, 1, 999), Expected::Refused(EventConflict)),
        (win(1, 1, 5), done(5)),
        (win(1, 1, 5), replayed(5)),
        (win(1, 1, 6), Expected::Refused(EventConflict)),
        (win(1, 2, max), Expected::Refused(BalanceLimit)),
        (deposit(1, 1, 20), done(25)),
        (deposit(1, 1, 20), replayed(25)),
        (withdraw(1, 1, 26), Expected::Refused(BalanceTooLow)),
        (withdraw(1, 1, 15), done(10)),
        (rollback(1, 1), done(1010)),
        (rollback(1, 1), replayed(1010)),
        (charge(1, 1, 1000), Expected::Refused(RolledBack)),
        (rollback(1, 9), not_applied(1010)),
        (charge(1, 9, 1), Expected::Refused(RolledBack)),
        (charge(1, 0, 10), done(1000)),
        (charge(1, i64::MAX, 0), done(1000)),
        (Call::Wallet(1), done(1000)),
        (rollback_win(-1, 1), Expected::Refused(InvalidRequest)),
        (rollback_win(2, 1), Expected::Refused(UnknownUser)),
        (rollback_win(1, 1), done(995)),
        (rollback_win(1, 1), replayed(995)),
        (win(1, 1, 5), Expected::Refused(RolledBack)),
        (win(1, 1, 6), Expected::Refused(RolledBack)),
        (rollback_win(1, 9), not_applied(995)),
        (rollback_win(1, 9), again_not_applied(995)),
        (win(1, 9, 1), Expected::Refused(RolledBack)),
        (win(1, 3, 100), done(1095)),
        (withdraw(1, 3, 1000), done(95)),
        (rollback_win(1, 3), Expected::Refused(BalanceTooLow)),
        (win(1, 3, 100), replayed(1095)),
        (deposit(1, 3, 5), done(100)),
        (rollback_win(1, 3), done(0)),
        (charge(1, 3, 1), Expected::Refused(BalanceTooLow)),
        (Call::Wallet(1), done(0)),
        (play(2, (1, 1), (1, 1)), Expected::Refused(UnknownUser)),
        (play(1, (1, -1), (1, 1)), Expected::Refused(NegativeAmount)),
        (play(1, (1, 1), (1, -1)), Expected::Refused(NegativeAmount)),
        (play(1, (20, 1), (20, 500)), Expected::Refused(BalanceTooLow)),
        (play(1, (20, 0), (20, 500)), done(500)),
        (play(1, (20, 0), (20, 500)), replayed(500)),
        (play(1, (20, 1), (20, 500)), Expected::Refused(EventConflict)),
        (play(1, (21, 100), (21, max)), Expected::Refused(BalanceLimit)),
        (Call::Wallet(1), done(500)),
        (charge(1, 21, 100), done(400)),
        (play(1, (21, 100), (21, 50)), done(450)),
        (play(1, (21, 100), (21, 50)), replayed(450)),
        (win(1, 21, 50), replayed(450)),
        (win(1, 22, 5), done(455)),
        (play(1, (22, 55), (22, 5)), done(400)),
        (play(1, (22, 55), (22, 5)), replayed(400)),
        (rollback_win(1, 22), done(395)),
        (play(1, (23, 1), (22, 5)), Expected::Refused(RolledBack)),
        (Call::Wallet(1), done(395)),
        (charge(1, 24, 95), done(300)),
        (freeze(2, 1), Expected::Refused(UnknownUser)),
        (freeze(1, -1), Expected::Refused(InvalidRequest)),
        (freeze(1, 1), done(300)),
        (charge(1, 25, 1), Expected::Refused(Frozen)),
        (charge(1, 24, 95), replayed(300)),
        (charge(1, 24, 9), Expected::Refused(EventConflict)),
        (charge(1, 22, 9999), Expected::Refused(EventConflict)),
        (play(1, (25, 1), (25, 1)), Expected::Refused(Frozen)),
        (play(1, (24, 95), (24, 10)), done(310)),
        (withdraw(1, 25, 1), Expected::Refused(Frozen)),
        (rollback_win(1, 24), Expected::Refused(Frozen)),
        (rollback_win(1, 99), Expected::Refused(Frozen)),
        (deposit(1, 25, 5), done(315)),
        (win(1, 25, 5), done(320)),
        (rollback(1, 24), done(415)),
        (rollback(1, 99), not_applied(415)),
        (Call::Wallet(1), done(415)),
        (unfreeze(1, 1), done(415)),
        (charge(1, 25, 15), done(400)),
    ]
}

/// Makes a call. What a stream does not carry goes by its own rpc.
async fn reply(client: &Client, protocol: Protocol, call: Call) -> Reply {
    match call {
        Call::Command(command) => match (protocol, command.encode().message) {
            (Protocol::Stream, Message::Command(_)) | (Protocol::Rest | Protocol::Grpc, _) => {
                client.send(protocol, command).await
            }
            (Protocol::Stream, _) => client.send(Protocol::Grpc, command).await,
        },
        Call::Wallet(user_id) => client.wallet(protocol, user_id).await,
    }
}

#[tokio::test]
async fn both_apis_give_the_same_outcome() {
    let apps = [App::spawn().await, App::spawn().await, App::spawn().await];
    let [rest, grpc, stream] = [apps[0].client().await, apps[1].client().await, apps[2].client().await];
    for (call, expected) in scenario() {
        let by_rest = reply(&rest, Protocol::Rest, call).await;
        let by_grpc = reply(&grpc, Protocol::Grpc, call).await;
        let by_stream = reply(&stream, Protocol::Stream, call).await;
        assert_eq!(by_rest, expected, "{call:?} by REST");
        assert_eq!(by_grpc, expected, "{call:?} by gRPC");
        assert_eq!(by_stream, by_grpc, "{call:?} by stream");
        // Each API names a malformed field as its own format spells it.
        if by_rest.reason() != Some(Reason::InvalidRequest) {
            assert_eq!(by_grpc, by_rest, "{call:?} by gRPC");
        }
    }
}

#[tokio::test]
async fn both_apis_know_the_same_events() {
    an_event_sent_to_one_api_is_known_to_the_other(&App::spawn().await.client().await).await;
}

/// Every scenario by REST, and what was done once more by gRPC. The ledger must be empty.
pub async fn an_event_sent_to_one_api_is_known_to_the_other(client: &Client) {
    for (call, expected) in scenario() {
        let by_rest = reply(client, Protocol::Rest, call).await;
        assert_eq!(by_rest, expected, "{call:?}");
        // A command that was done by REST is a replay by gRPC, with the same answer.
        let (Reply::Done { balance, applied, .. }, Call::Command(command)) = (by_rest, call) else { continue };
        if let Message::Command(_) = command.encode().message {
            let replay = Reply::Done { balance, replayed: true, applied };
            for protocol in [Protocol::Grpc, Protocol::Stream] {
                assert_eq!(client.send(protocol, command).await, replay, "{call:?} by {protocol:?}");
            }
        }
    }
}

/// What a batch of this one command answers; `None` for a command that no batch carries.
async fn by_batch(app: &App, command: PlainCommand) -> Option<Value> {
    let encoded = command.encode();
    let Message::Command(_) = encoded.message else { return None };
    let (first, rest) = encoded.path.split_at(1);
    let body = format!(r#"{{"Commands":[{{"{}{rest}":{}}}]}}"#, first.to_uppercase(), encoded.json());
    let reply = app.post("/api/v1/batch", &body).await;
    assert_eq!(reply.status, 200, "{body}");
    Some(reply.json()["Results"][0].clone())
}

#[tokio::test]
async fn a_batch_has_the_same_outcome() {
    let apps = [App::spawn().await, App::spawn().await];
    let (client, batched) = (apps[0].client().await, apps[1].client().await);
    for (call, expected) in scenario() {
        let Call::Command(command) = call else { continue };
        let single = reply(&client, Protocol::Rest, call).await;
        assert_eq!(single, expected, "{call:?}");
        let Some(result) = by_batch(&apps[1], command).await else {
            reply(&batched, Protocol::Rest, call).await;
            continue;
        };
        match single {
            Reply::Refused { reason, message, .. } => {
                let refused = json!({"success": false, "error": message, "Reason": reason.name()});
                assert_eq!(result, refused, "{call:?}");
            }
            Reply::Done { applied, .. } => {
                assert_eq!(result["success"], true, "{call:?}: {result}");
                assert!(result.get("Applied").is_none_or(|shown| *shown == applied), "{call:?}: {result}");
            }
            Reply::Unavailable | Reply::Unanswered => panic!("{call:?}: {single:?}"),
        }
    }
    assert_eq!(client.balance(1).await, batched.balance(1).await);
}

/// An entry as gRPC shows it, written as REST writes it.
fn as_rest(entry: &Entry) -> Value {
    // Not by the ledger's own formatter, which is under test.
    let decimal = |minor: i64| -> Value {
        serde_json::from_str(&format!("{}.{:02}", minor / 100, minor % 100)).expect("a number")
    };
    json!({
        "EntryId": entry.entry_id, "UserId": entry.user_id, "Sequence": entry.sequence,
        "Kind": entry.kind().as_str_name().trim_start_matches("ENTRY_KIND_").to_lowercase(), "EventId": entry.event_id,
        "Amount": decimal(entry.amount_minor), "BalanceAfter": decimal(entry.balance_after_minor),
        "RoundId": entry.round_id, "Note": entry.note, "Caller": entry.caller,
    })
}

#[tokio::test]
async fn what_is_read_is_the_same() {
    let app = App::spawn().await;
    let client = app.client().await;
    for (call, _) in scenario() {
        reply(&client, Protocol::Rest, call).await;
    }
    let without_time = |entry: &Value| {
        let mut entry = entry.clone();
        entry.as_object_mut().and_then(|fields| fields.remove("CreatedAt")).expect("a time");
        entry
    };
    let mut grpc = client.grpc.clone();
    // The feed.
    let page = app.get("/api/v1/ledger/entries?limit=1000").await.json();
    let by_rest: Vec<Value> = page["Entries"].as_array().unwrap().iter().map(without_time).collect();
    let mut watched = grpc.watch_entries(WatchEntriesRequest::default()).await.unwrap().into_inner();
    let (mut by_grpc, mut cursor) = (Vec::new(), String::new());
    while by_grpc.len() < by_rest.len() {
        let response = watched.message().await.unwrap().unwrap();
        by_grpc.extend(response.entry.as_ref().map(as_rest));
        cursor = response.cursor;
    }
    assert_eq!((by_rest, page["Next"].as_str().unwrap()), (by_grpc, cursor.as_str()));
    // Each event.
    for event_id in 0..30 {
        let request = GetEventRequest { user_id: Some(1), event_id: Some(event_id) };
        let (by_grpc, by_rest) =
            (grpc.get_event(request).await, app.get(&format!("/api/v1/users/1/events/{event_id}")).await);
        let Ok(by_grpc) = by_grpc.map(Response::into_inner) else {
            assert_eq!(by_rest.header("wallet-reason"), "UNKNOWN_EVENT", "{event_id}");
            continue;
        };
        let by_rest = by_rest.json();
        for (name, entry) in [
            ("Charge", by_grpc.charge),
            ("Win", by_grpc.win),
            ("Deposit", by_grpc.deposit),
            ("Withdrawal", by_grpc.withdrawal),
            ("Rollback", by_grpc.rollback),
            ("WinRollback", by_grpc.win_rollback),
        ] {
            let shown = Some(&by_rest[name]).filter(|shown| !shown.is_null()).map(without_time);
            assert_eq!(shown, entry.as_ref().map(as_rest), "{event_id} {name}");
        }
    }
}
