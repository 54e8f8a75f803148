//! The head of the commit chain.

use serde_json::json;
use wallet::api::grpc::proto::GetCheckpointRequest;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::ledger::{Checkpoint, CommitHash};

use super::{USER, assert_ok};
use crate::support::app::App;

#[tokio::test]
async fn a_checkpoint_is_the_head_of_the_chain() {
    let app = App::spawn().await;
    let genesis = CommitHash::genesis("EUR".parse().unwrap()).to_string();
    let empty = app.get("/api/v1/ledger/checkpoint").await;
    let body = format!(r#"{{"success":true,"Checkpoint":"0:{genesis}","CommitId":0,"EntryId":0,"Hash":"{genesis}"}}"#);
    assert_ok(&empty, &body);
    app.create_user(USER, "10").await;
    let head = app.get("/api/v1/ledger/checkpoint").await.json();
    assert_eq!((&head["CommitId"], &head["EntryId"]), (&json!(1), &json!(1)));
    let hash = head["Hash"].as_str().unwrap();
    assert!(hash.len() == 64 && hash != genesis && hash.bytes().all(|byte| b"0123456789abcdef".contains(&byte)));
    assert_eq!(head["Checkpoint"], format!("1:{hash}"));
    // The text is what `--checkpoint` is parsed from, and what gRPC gives as well.
    let checkpoint: Checkpoint = head["Checkpoint"].as_str().unwrap().parse().unwrap();
    let mut client = WalletServiceClient::new(app.channel().await);
    let by_grpc = client.get_checkpoint(GetCheckpointRequest {}).await.unwrap().into_inner();
    assert_eq!(by_grpc.text, checkpoint.to_string());
}
