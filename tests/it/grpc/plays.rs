//! Plays, freezing, events and notes.

use tonic::Code;
use wallet::api::grpc::proto::transact_request::Command;
use wallet::api::grpc::proto::transact_response::Outcome;
use wallet::api::grpc::proto::{
    DepositRequest, EntryKind, Event, FreezeWalletRequest, GetEventRequest, ListEntriesRequest, PlayRequest,
    TransactRequest, UnfreezeWalletRequest, WinRequest, WithdrawRequest,
};

use super::{USER, app, assert_status, balance, charge};

fn play(event: i64, stake: i64, prize: i64) -> PlayRequest {
    PlayRequest {
        user_id: Some(USER),
        event_id: Some(event),
        amount_minor: Some(stake),
        winning_event_id: Some(event),
        winning_amount_minor: Some(prize),
        round_id: Some(7),
    }
}

#[tokio::test]
async fn a_play_is_answered_by_its_win_and_names_its_charge() {
    let (_app, mut client) = app().await;
    let first = client.play(play(1, 100, 30)).await.unwrap().into_inner();
    assert_eq!(
        (first.user_id, first.balance_minor, first.replayed, first.current_balance_minor),
        (USER, 930, false, 930)
    );
    assert_eq!((first.charge_entry_id, first.entry_id, first.sequence), (2, 3, 3));
    client.charge(charge(9, 30)).await.unwrap();
    let again = client.play(play(1, 100, 30)).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.balance_minor, again.current_balance_minor), (true, 930, 900));
    assert_eq!((again.charge_entry_id, again.entry_id), (2, 3));
    let low = client.play(play(2, 901, 901)).await.unwrap_err();
    assert_status(&low, Code::FailedPrecondition, "BALANCE_TOO_LOW", &[("balance_minor", "900")]);
    let conflict = client.play(play(1, 100, 31)).await.unwrap_err();
    assert_status(&conflict, Code::AlreadyExists, "EVENT_CONFLICT", &[("recorded_amount_minor", "30")]);
    assert_eq!(balance(&client).await, 900);
}

#[tokio::test]
async fn a_play_that_a_win_began_is_answered_by_the_balance_after_both() {
    let (_app, mut client) = app().await;
    let win = WinRequest { user_id: Some(USER), winning_event_id: Some(1), amount_minor: Some(30), round_id: None };
    client.win(win).await.unwrap();
    let played = client.play(play(1, 100, 30)).await.unwrap().into_inner();
    assert_eq!((played.balance_minor, played.current_balance_minor, played.replayed), (930, 930, false));
    assert_eq!((played.entry_id, played.sequence, played.charge_entry_id), (2, 2, 3));
    let again = client.play(play(1, 100, 30)).await.unwrap().into_inner();
    assert_eq!((again.balance_minor, again.replayed), (930, true));
}

#[tokio::test]
async fn every_field_of_a_play_must_be_given() {
    let (_app, mut client) = app().await;
    let whole = play(1, 1, 1);
    for (request, name) in [
        (PlayRequest { user_id: None, ..whole }, "user_id"),
        (PlayRequest { event_id: None, ..whole }, "event_id"),
        (PlayRequest { amount_minor: None, ..whole }, "amount_minor"),
        (PlayRequest { winning_event_id: None, ..whole }, "winning_event_id"),
        (PlayRequest { winning_amount_minor: None, ..whole }, "winning_amount_minor"),
    ] {
        let missing = client.play(request).await.unwrap_err();
        assert_status(&missing, Code::InvalidArgument, "INVALID_REQUEST", &[]);
        assert_eq!(missing.message(), format!("{name} is missing from the request"));
    }
    assert_eq!(balance(&client).await, 1_000);
}

#[tokio::test]
async fn a_stream_carries_plays() {
    let (_app, mut client) = app().await;
    let requests = [play(1, 100, 30), play(2, 5_000, 9_000), play(1, 100, 30)];
    let requests = requests.map(|play| TransactRequest { command: Some(Command::Play(play)) });
    let mut answers = client.transact(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut next = async || answers.message().await.unwrap().unwrap().outcome.unwrap();
    let Outcome::Applied(first) = next().await else { panic!() };
    assert_eq!((first.balance_minor, first.entry_id, first.replayed, first.applied), (930, 3, false, true));
    let Outcome::Refused(refused) = next().await else { panic!() };
    assert_eq!((refused.reason.as_str(), refused.metadata["balance_minor"].as_str()), ("BALANCE_TOO_LOW", "930"));
    let Outcome::Applied(again) = next().await else { panic!() };
    assert_eq!((again.balance_minor, again.entry_id, again.replayed), (930, 3, true));
}

#[tokio::test]
async fn a_wallet_is_frozen_and_unfrozen() {
    let (_app, mut client) = app().await;
    let (user_id, transaction_id) = (Some(USER), Some(1));
    let freeze = FreezeWalletRequest { user_id, transaction_id, note: Some("stolen".to_owned()) };
    let frozen = client.freeze_wallet(freeze.clone()).await.unwrap().into_inner();
    assert_eq!((frozen.user_id, frozen.balance_minor, frozen.sequence, frozen.frozen), (USER, 1_000, 2, true));
    let refused = client.charge(charge(1, 1)).await.unwrap_err();
    assert_status(&refused, Code::FailedPrecondition, "FROZEN", &[]);
    assert_eq!(refused.message(), "Account is frozen");
    let unfreeze = UnfreezeWalletRequest { user_id, transaction_id, note: None };
    let thawed = client.unfreeze_wallet(unfreeze).await.unwrap().into_inner();
    assert_eq!((thawed.frozen, thawed.sequence, &thawed.wallet_id), (false, 3, &frozen.wallet_id));
    assert_eq!(thawed.create_time, frozen.create_time);
    client.charge(charge(1, 1)).await.unwrap();
    assert_eq!(client.freeze_wallet(freeze.clone()).await.unwrap().into_inner(), frozen, "a replay");
    let missing = client.freeze_wallet(FreezeWalletRequest { transaction_id: None, ..freeze }).await.unwrap_err();
    assert_eq!(missing.message(), "transaction_id is missing from the request");
}

#[tokio::test]
async fn an_event_is_looked_up() {
    let (_app, mut client) = app().await;
    client.play(play(1, 100, 30)).await.unwrap();
    let asked = |user_id, event_id| GetEventRequest { user_id: Some(user_id), event_id: Some(event_id) };
    let event = client.get_event(asked(USER, 1)).await.unwrap().into_inner();
    let Event { user_id: USER, event_id: 1, charge: Some(charge), win: Some(win), .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!((charge.kind(), charge.amount_minor, charge.round_id), (EntryKind::Charge, 100, Some(7)));
    assert_eq!((win.kind(), win.amount_minor, win.entry_id), (EntryKind::Win, 30, charge.entry_id + 1));
    assert_eq!((event.deposit, event.withdrawal, event.rollback, event.win_rollback), (None, None, None, None));
    let unknown = client.get_event(asked(USER, 2)).await.unwrap_err();
    assert_status(&unknown, Code::NotFound, "UNKNOWN_EVENT", &[]);
    let unknown = client.get_event(asked(5, 1)).await.unwrap_err();
    assert_status(&unknown, Code::NotFound, "UNKNOWN_USER", &[]);
    let missing = client.get_event(GetEventRequest { event_id: None, ..asked(USER, 1) }).await.unwrap_err();
    assert_eq!(missing.message(), "event_id is missing from the request");
}

#[tokio::test]
async fn a_note_is_kept_or_refused() {
    let (_app, mut client) = app().await;
    let note = |text: &str| Some(text.to_owned());
    let deposit =
        DepositRequest {
            user_id: Some(USER), transaction_id: Some(1), amount_minor: Some(5), note: note("Bonus été")
        };
    client.deposit(deposit.clone()).await.unwrap();
    let withdraw =
        WithdrawRequest { user_id: Some(USER), transaction_id: Some(1), amount_minor: Some(5), note: note("") };
    client.withdraw(withdraw).await.unwrap();
    let list = ListEntriesRequest { user_id: Some(USER), page_size: None, page_token: None };
    let entries = client.list_entries(list).await.unwrap().into_inner().entries;
    assert_eq!((entries[0].note.as_deref(), entries[1].note.as_deref()), (None, Some("Bonus été")));
    for text in ["a\nb", &"x".repeat(201)] {
        let refused = client.deposit(DepositRequest { note: note(text), ..deposit.clone() }).await.unwrap_err();
        assert_status(&refused, Code::InvalidArgument, "INVALID_REQUEST", &[]);
        assert_eq!(refused.message(), "note must have at most 200 characters, no control characters");
    }
}
