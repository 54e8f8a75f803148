//! Charges, wins and rollbacks, and the details of their refusals.

use futures::future::join_all;
use tonic::Code;
use wallet::api::grpc::proto::rollback_request::Event;
use wallet::api::grpc::proto::{
    ChargeRequest, CreateWalletRequest, GetCheckpointRequest, GetWalletRequest, ListEntriesRequest, RollbackRequest,
    WinRequest,
};

use super::{USER, app, assert_status, balance, charge};

#[tokio::test]
async fn a_game_is_played() {
    let (_app, mut client) = app().await;
    let first = client.charge(charge(321_123, 100)).await.unwrap().into_inner();
    assert_eq!((first.user_id, first.balance_minor, first.replayed), (USER, 900, false));
    assert_eq!((first.current_balance_minor, first.entry_id, first.sequence), (900, 2, 2));
    let win = WinRequest {
        user_id: Some(USER),
        winning_event_id: Some(312_123_321),
        amount_minor: Some(1_000),
        round_id: None,
    };
    assert_eq!(client.win(win).await.unwrap().into_inner().balance_minor, 1_900);
    let again = client.charge(charge(321_123, 100)).await.unwrap().into_inner();
    assert_eq!((again.balance_minor, again.replayed, again.current_balance_minor), (900, true, 1_900));
    assert_eq!((again.entry_id, again.sequence), (first.entry_id, first.sequence));

    let rollback = RollbackRequest { user_id: Some(USER), event: Some(Event::EventId(321_123)) };
    let undone = client.rollback(rollback).await.unwrap().into_inner();
    assert_eq!((undone.balance_minor, undone.applied, undone.replayed), (2_000, true, false));
    let unknown = client
        .rollback(RollbackRequest { user_id: Some(USER), event: Some(Event::EventId(9)) })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((unknown.balance_minor, unknown.applied), (2_000, false));

    let win = RollbackRequest { user_id: Some(USER), event: Some(Event::WinningEventId(312_123_321)) };
    let undone = client.rollback(win).await.unwrap().into_inner();
    assert_eq!((undone.balance_minor, undone.applied, undone.replayed), (1_000, true, false));

    let checkpoint = client.get_checkpoint(GetCheckpointRequest {}).await.unwrap().into_inner();
    assert_eq!((checkpoint.commit_id, checkpoint.entry_id, checkpoint.hash.len()), (6, 6, 32));
    assert!(checkpoint.create_time.is_some());
}

#[tokio::test]
async fn a_refusal_tells_what_a_caller_may_want_to_know() {
    let (_app, mut client) = app().await;
    client.charge(charge(1, 100)).await.unwrap();
    let low = client.charge(charge(2, 901)).await.unwrap_err();
    assert_status(&low, Code::FailedPrecondition, "BALANCE_TOO_LOW", &[("balance_minor", "900")]);
    assert_eq!(low.message(), "Account balance is too low");
    let conflict = client.charge(charge(1, 7)).await.unwrap_err();
    assert_status(&conflict, Code::AlreadyExists, "EVENT_CONFLICT", &[("recorded_amount_minor", "100")]);
    let malformed = client.charge(charge(-1, -1)).await.unwrap_err();
    assert_status(&malformed, Code::InvalidArgument, "INVALID_REQUEST", &[]);
    assert_eq!(malformed.message(), "event_id must be a whole number from 0 to 9223372036854775807");
    assert_eq!(balance(&client).await, 900);
}

#[tokio::test]
async fn equal_charges_at_once_move_money_once() {
    let (_app, client) = app().await;
    let answers = join_all((0..64).map(|_| {
        let mut client = client.clone();
        async move { client.charge(charge(1, 100)).await.unwrap().into_inner() }
    }))
    .await;
    assert!(answers.iter().all(|answer| answer.balance_minor == 900));
    assert_eq!(answers.iter().filter(|answer| answer.replayed).count(), 63);
    assert_eq!(balance(&client).await, 900);
}

#[tokio::test]
async fn a_field_that_is_missing_is_refused_and_named_and_its_event_is_not_used_up() {
    let (_app, mut client) = app().await;
    let forgotten = client.charge(ChargeRequest { amount_minor: None, ..charge(1, 100) }).await.unwrap_err();
    assert_status(&forgotten, Code::InvalidArgument, "INVALID_REQUEST", &[]);
    assert_eq!(forgotten.message(), "amount_minor is missing from the request");
    let nothing = client.rollback(RollbackRequest { user_id: Some(USER), event: None }).await.unwrap_err();
    assert_eq!(nothing.message(), "event_id or winning_event_id is missing from the request");
    let nobody = client.get_wallet(GetWalletRequest { user_id: None, at: None }).await.unwrap_err();
    assert_eq!(nobody.message(), "user_id is missing from the request");
    let nobody = client.create_wallet(CreateWalletRequest::default()).await.unwrap_err();
    assert_eq!(nobody.message(), "user_id is missing from the request");
    let nobody = client.list_entries(ListEntriesRequest::default()).await.unwrap_err();
    assert_eq!(nobody.message(), "user_id is missing from the request");
    assert_eq!(client.charge(charge(1, 100)).await.unwrap().into_inner().balance_minor, 900);
    let zero = client.charge(charge(2, 0)).await.unwrap().into_inner();
    assert_eq!((zero.balance_minor, zero.replayed), (900, false), "0 is an amount");
}

#[tokio::test]
async fn an_entry_has_the_round_of_its_command() {
    let (_app, mut client) = app().await;
    client.charge(ChargeRequest { round_id: Some(77), ..charge(1, 100) }).await.unwrap();
    let bad = client.charge(ChargeRequest { round_id: Some(-1), ..charge(2, 100) }).await.unwrap_err();
    assert_eq!(bad.message(), "round_id must be a whole number from 0 to 9223372036854775807");
    let request = ListEntriesRequest { user_id: Some(USER), ..ListEntriesRequest::default() };
    let entries = client.list_entries(request).await.unwrap().into_inner().entries;
    let rounds: Vec<_> = entries.iter().map(|entry| (entry.round_id, &entry.note, &entry.caller)).collect();
    assert_eq!(rounds, [(Some(77), &None, &None), (None, &None, &None)]);
}
