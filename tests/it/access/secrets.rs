//! No secret in any line of the log, however much is logged.

use std::fs;

use wallet::access::Scope;
use wallet::api::grpc::proto::GetWalletRequest;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;

use super::{Tokens, bearer, with_token};
use crate::support::client::channel;
use crate::support::http::HttpClient;
use crate::support::process::{Process, wallet};

#[tokio::test]
async fn no_token_is_logged_even_at_trace() {
    let tokens = Tokens::new();
    let operator = tokens.add("cashier", Scope::Operator);
    let expired = tokens.add_until("old", Scope::Operator, Some(super::MADE));
    let unknown = format!("wallet_{}", "c0ffee00".repeat(8));
    let path = tokens.path();
    let flags = ["--tokens-file", path.to_str().unwrap(), "--log", "trace"];
    let process = Process::start_with(wallet(), &tokens.folder().join("wallet.db"), &flags);
    let http = HttpClient::new(process.http);
    let mut grpc = WalletServiceClient::new(channel(process.grpc).await);
    for token in [&operator, &expired, &unknown] {
        let authorization = bearer(token);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        http.request("POST", "/api/v1/users", &headers, r#"{"UserId":1,"AccountBalance":1.00}"#).await;
        http.request("POST", "/api/v1/charge", &headers, r#"{"UserId":1,"EventId":1,"Amount":1.00}"#).await;
        http.request("GET", "/nowhere", &headers, "").await;
        let message = GetWalletRequest { user_id: Some(1), at: None };
        let _ = grpc.get_wallet(with_token(message, token)).await;
    }
    // The file is read again, broken: what is wrong with it is said, and nothing of what is in it.
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("scope = \"operator\"", "scope = operator", 1)).unwrap();
    process.signal("HUP");
    let message = GetWalletRequest { user_id: Some(1), at: None };
    grpc.get_wallet(with_token(message, &operator)).await.unwrap();
    let log = process.terminate_and_log();
    assert!(log.contains("\"TRACE\"") && log.contains("\"UNAUTHENTICATED\""), "it is logged in full");
    let hashes = text.lines().filter_map(|line| line.strip_prefix("sha256 = \"")).map(|rest| &rest[8..64]);
    let secrets = [&operator, &expired, &unknown].map(|token| &token["wallet_".len()..]);
    for secret in secrets.into_iter().chain(hashes) {
        for part in [secret, &secret[..24]] {
            let line = log.lines().find(|line| line.contains(part));
            assert_eq!(line, None, "a secret is in the log");
        }
    }
}
