//! Wallets, their history, and the head of the commit chain.

use prost_types::Timestamp;
use tonic::Code;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{
    CreateWalletRequest, EntryKind, GetCheckpointRequest, GetWalletRequest, ListEntriesRequest,
};
use wallet::ledger::CommitHash;

use super::{USER, app, assert_status, charge};
use crate::support::app::App;

#[tokio::test]
async fn a_wallet_is_made_once_and_seen_as_it_was() {
    let app = App::spawn().await;
    let mut client = WalletServiceClient::new(app.channel().await);
    let request = CreateWalletRequest { user_id: Some(USER), opening_balance_minor: Some(1_000) };
    let made = client.create_wallet(request).await.unwrap().into_inner();
    assert_eq!((made.balance_minor, made.sequence), (1_000, 1));
    assert_eq!(uuid::Uuid::parse_str(&made.wallet_id).unwrap().get_version_num(), 7);
    client.charge(charge(1, 100)).await.unwrap();
    assert_eq!(client.create_wallet(request).await.unwrap().into_inner(), made);
    let other = CreateWalletRequest { opening_balance_minor: Some(1), ..request };
    let conflict = client.create_wallet(other).await.unwrap_err();
    assert_status(&conflict, Code::AlreadyExists, "EVENT_CONFLICT", &[("recorded_amount_minor", "1000")]);

    let get = async |at| client.clone().get_wallet(GetWalletRequest { user_id: Some(USER), at }).await;
    let now = get(None).await.unwrap().into_inner();
    assert_eq!((now.balance_minor, now.sequence, &now.wallet_id), (900, 2, &made.wallet_id));
    let then = get(made.create_time).await.unwrap().into_inner();
    assert_eq!((then.balance_minor, then.sequence), (1_000, 1));
    let before = get(Some(Timestamp { seconds: 1, nanos: 0 })).await.unwrap_err();
    assert_status(&before, Code::NotFound, "UNKNOWN_USER", &[]);
    let wrong = get(Some(Timestamp { seconds: 1, nanos: -1 })).await.unwrap_err();
    assert_status(&wrong, Code::InvalidArgument, "INVALID_REQUEST", &[]);
}

#[tokio::test]
async fn a_history_is_listed_page_by_page() {
    let (_app, mut client) = app().await;
    for event in 1..=5 {
        client.charge(charge(event, 1)).await.unwrap();
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListEntriesRequest { user_id: Some(USER), page_size: Some(2), page_token: Some(page_token) };
        let page = client.list_entries(request).await.unwrap().into_inner();
        listed.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let rows: Vec<_> = listed.iter().map(|entry| (entry.sequence, entry.kind(), entry.event_id)).collect();
    let charges = (1..=5).rev().map(|event| (event + 1, EntryKind::Charge, event));
    assert_eq!(rows, charges.chain([(1, EntryKind::Open, 0)]).collect::<Vec<_>>());
    assert_eq!((listed[0].amount_minor, listed[0].balance_after_minor, listed[0].user_id), (1, 995, USER));
    for (page_size, page_token) in [(-1, ""), (1001, ""), (i32::MAX, ""), (1, "x"), (1, "-1")] {
        let request = ListEntriesRequest {
            user_id: Some(USER),
            page_size: Some(page_size),
            page_token: Some(page_token.to_owned()),
        };
        assert_status(&client.list_entries(request).await.unwrap_err(), Code::InvalidArgument, "INVALID_REQUEST", &[]);
    }
    for page_size in [None, Some(0), Some(1000)] {
        let request = ListEntriesRequest { user_id: Some(USER), page_size, page_token: None };
        assert_eq!(client.list_entries(request).await.unwrap().into_inner().entries.len(), 6, "{page_size:?}");
    }
    let unknown = ListEntriesRequest { user_id: Some(5), page_size: Some(0), page_token: Some(String::new()) };
    assert_status(&client.list_entries(unknown).await.unwrap_err(), Code::NotFound, "UNKNOWN_USER", &[]);
}

#[tokio::test]
async fn an_empty_ledgers_checkpoint_is_genesis() {
    let app = App::spawn().await;
    let mut client = WalletServiceClient::new(app.channel().await);
    let checkpoint = client.get_checkpoint(GetCheckpointRequest {}).await.unwrap().into_inner();
    assert_eq!((checkpoint.commit_id, checkpoint.entry_id, checkpoint.create_time), (0, 0, None));
    assert_eq!(checkpoint.hash, CommitHash::genesis("EUR".parse().unwrap()).0);
    assert!(checkpoint.text.starts_with("0:"), "{checkpoint:?}");
}
