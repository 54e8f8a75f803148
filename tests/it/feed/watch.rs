//! `WatchEntries`: from any place on, filtered, and quiet for long.

use std::time::Duration;

use tonic::Code;
use wallet::api::grpc::proto::WatchEntriesRequest;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::ledger::Kind;
use wallet::server::Timeouts;

use super::{app, app_with, charge, from, next, next_id, watch};
use crate::grpc::{assert_status, within};
use crate::support::app::App;
use crate::support::events::Events;

#[tokio::test]
async fn what_is_stored_comes_first_and_then_what_is_committed() {
    let app = app(2).await;
    let mut entries = watch(&app, from("")).await.unwrap();
    let (opening, cursor) = next(&mut entries).await;
    let opening = opening.unwrap();
    assert_eq!((opening.entry_id, opening.user_id, opening.kind, opening.balance_minor), (1, 1, Kind::Open, 1_000));
    assert_eq!(next_id(&mut entries).await.0, 2);
    for event in 1..=3 {
        charge(&app, 2, event).await;
        let (charge, _) = next(&mut entries).await;
        let charge = charge.unwrap();
        assert_eq!((charge.entry_id, charge.event_id, charge.kind), (2 + event, event, Kind::Charge));
    }
    let mut again = watch(&app, from(&cursor)).await.unwrap();
    for entry_id in 2..=5 {
        assert_eq!(next_id(&mut again).await.0, entry_id, "behind the cursor");
    }
}

#[tokio::test]
async fn a_reader_that_begins_now_is_told_where_that_is() {
    let app = app(1).await;
    let mut entries = watch(&app, from("now")).await.unwrap();
    let (nothing, cursor) = next(&mut entries).await;
    assert_eq!(nothing, None);
    charge(&app, 1, 1).await;
    assert_eq!(next_id(&mut entries).await.0, 2);
    drop(entries);
    let mut again = watch(&app, from(&cursor)).await.unwrap();
    assert_eq!(next_id(&mut again).await.0, 2, "it was told before the entry came");
}

#[tokio::test]
async fn an_empty_ledger_has_a_beginning() {
    let app = app(0).await;
    let mut entries = watch(&app, from("now")).await.unwrap();
    let (nothing, cursor) = next(&mut entries).await;
    assert_eq!(nothing, None);
    app.create_user(1, "1").await;
    assert_eq!(next_id(&mut entries).await.0, 1);
    assert_eq!(next_id(&mut watch(&app, from(&cursor)).await.unwrap()).await.0, 1);
}

#[tokio::test]
async fn only_entries_of_a_user_and_of_some_kinds_come() {
    let app = app(3).await;
    let charges = WatchEntriesRequest { user_id: Some(2), kinds: vec![Kind::Charge.code().into()], ..from("") };
    let mut charges = watch(&app, charges).await.unwrap();
    let mut users = watch(&app, WatchEntriesRequest { user_id: Some(2), ..from("") }).await.unwrap();
    let kinds = vec![Kind::Charge.code().into(), Kind::Win.code().into()];
    let mut moves = watch(&app, WatchEntriesRequest { kinds, ..from("") }).await.unwrap();
    for event in 1..=3 {
        charge(&app, event, event).await;
    }
    let win = app.post("/api/v1/win", r#"{"UserId":2,"WinningEventId":1,"Amount":1}"#).await;
    assert_eq!(win.status, 200);
    charge(&app, 2, 9).await;
    for (entries, expected) in
        [(&mut charges, &[5, 8][..]), (&mut users, &[2, 5, 7, 8][..]), (&mut moves, &[4, 5, 6, 7, 8][..])]
    {
        for entry_id in expected {
            assert_eq!(next_id(entries).await.0, *entry_id);
        }
    }
}

#[tokio::test]
async fn a_reader_whose_filter_matches_nothing_moves_on_all_the_same() {
    let app = app_with(1, |settings| settings.feed.sign_of_life_interval = Duration::from_millis(50)).await;
    let mut entries = watch(&app, WatchEntriesRequest { user_id: Some(7), ..from("") }).await.unwrap();
    for event in 1..=20 {
        charge(&app, 1, event).await;
    }
    loop {
        let (nothing, cursor) = next(&mut entries).await;
        assert_eq!(nothing, None);
        if cursor == "v1.21" {
            break;
        }
    }
    app.create_user(7, "0").await;
    loop {
        if let (Some(entry), cursor) = next(&mut entries).await {
            assert_eq!((entry.user_id, cursor.as_str()), (7, "v1.22"));
            break;
        }
    }
}

#[tokio::test]
async fn what_is_not_well_formed_is_refused_at_once() {
    let app = app(1).await;
    for (request, message) in [
        (from("1"), "after is not a cursor that was given out"),
        (from("v1.01"), "after is not a cursor that was given out"),
        (from("v1.2"), "The cursor is beyond the end of the ledger"),
        (WatchEntriesRequest { user_id: Some(-1), ..from("") }, "user_id must be a whole number"),
        (WatchEntriesRequest { kinds: vec![0], ..from("") }, "kinds has 0, which is no kind of entry"),
        (WatchEntriesRequest { kinds: vec![2, 99], ..from("") }, "kinds has 99, which is no kind of entry"),
    ] {
        let status = watch(&app, request).await.unwrap_err();
        assert_status(&status, Code::InvalidArgument, "INVALID_REQUEST", &[]);
        assert!(status.message().starts_with(message), "{status:?}");
    }
}

#[tokio::test]
async fn a_deadline_ends_the_stream() {
    let app = app(1).await;
    let mut client = crate::grpc::client_without_timeout!(app);
    let mut entries = client.watch_entries(within("200m", from(""))).await.unwrap().into_inner();
    assert!(entries.message().await.unwrap().is_some());
    let status = entries.message().await.unwrap_err();
    assert_status(&status, Code::DeadlineExceeded, "DEADLINE", &[]);
}

#[tokio::test]
async fn a_quiet_stream_outlives_every_timeout() {
    let least = Duration::from_millis(100);
    let timeouts = Timeouts { head_timeout: least, idle_timeout: least, write_timeout: least, ..Timeouts::default() };
    let app = App::spawn_with_timeouts(|_| (), timeouts).await;
    app.create_user(1, "10.00").await;
    let mut entries = watch(&app, from("v1.1")).await.unwrap();
    let mut events = Events::open(app.http, "/api/v1/ledger/entries/stream?after=v1.1", &[]).await.unwrap();
    let quiet = tokio::time::timeout(10 * least, entries.message()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    charge(&app, 1, 1).await;
    assert_eq!(next_id(&mut entries).await.0, 2);
    assert_eq!(events.next().await.unwrap().id, "v1.2");
}
