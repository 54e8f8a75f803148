//! The head of the commit chain.

use serde_json::json;

use super::{USER, assert_ok};
use crate::support::app::App;

#[tokio::test]
async fn a_checkpoint_is_the_head_of_the_chain() {
    let app = App::spawn().await;
    let zeros = "0".repeat(64);
    let empty = app.get("/api/v1/ledger/checkpoint").await;
    assert_ok(&empty, &format!(r#"{{"success":true,"CommitId":0,"EntryId":0,"Hash":"{zeros}"}}"#));
    app.create_user(USER, "10").await;
    let head = app.get("/api/v1/ledger/checkpoint").await.json();
    assert_eq!((&head["CommitId"], &head["EntryId"]), (&json!(1), &json!(1)));
    let hash = head["Hash"].as_str().unwrap();
    assert!(hash.len() == 64 && hash != zeros && hash.bytes().all(|byte| b"0123456789abcdef".contains(&byte)));
}
