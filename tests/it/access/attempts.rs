//! Failed attempts: limited for each address, and nobody with a valid token is shut out.

use tonic::{Code, Request};
use tonic_types::StatusExt as _;
use wallet::access::Scope;
use wallet::api::grpc::proto::{GetWalletRequest, wallet_service_client::WalletServiceClient};

use super::{Tokens, bearer, with_token};
use crate::support::app::App;

/// Failed attempts that an address has at once.
const BURST: usize = 10;

async fn look_up(app: &App, headers: &[(&str, &str)]) -> (u16, String) {
    let reply = app.request("GET", "/api/v1/users/1", headers, "").await;
    (reply.status, reply.header("wallet-reason").to_owned())
}

#[tokio::test]
async fn who_guesses_is_slowed_and_who_knows_is_not() {
    let tokens = Tokens::new();
    let token = tokens.add("engine-a", Scope::Engine);
    let app = tokens.serve().await;
    let from = ("x-forwarded-for", "192.0.2.7");
    let guess = bearer(&format!("wallet_{}", "0".repeat(64)));
    // An attempt comes back each second, and the machine may be slow: what is refused stays so for no longer.
    let mut limited = None;
    for attempt in 0..20 * BURST {
        let (status, reason) = look_up(&app, &[from, ("authorization", &guess)]).await;
        assert!(attempt >= BURST || status == 401, "{attempt}: {reason}");
        if status == 429 {
            limited = Some(reason);
            break;
        }
    }
    assert_eq!(limited.as_deref(), Some("RATE_LIMITED"));

    let known = bearer(&token);
    assert_eq!(
        look_up(&app, &[from, ("authorization", &known)]).await.1,
        "UNKNOWN_USER",
        "the address is not shut out"
    );
    let other = ("x-forwarded-for", "192.0.2.8");
    assert_eq!(look_up(&app, &[other, ("authorization", &guess)]).await.0, 401, "others have attempts of their own");
    assert_eq!(app.get("/livez").await.status, 200);
}

#[tokio::test]
async fn both_apis_count_together_and_say_when_to_come_again() {
    let tokens = Tokens::new();
    let token = tokens.add("engine-a", Scope::Engine);
    let app = tokens.serve().await;
    let mut client = WalletServiceClient::new(app.channel().await);
    let message = GetWalletRequest { user_id: Some(1), at: None };
    let mut codes = Vec::new();
    for _ in 0..20 * BURST {
        let mut request = Request::new(message);
        request.metadata_mut().insert("x-forwarded-for", "192.0.2.9".parse().unwrap());
        let status = client.get_wallet(request).await.unwrap_err();
        codes.push(status.code());
        if status.code() == Code::ResourceExhausted {
            assert_eq!(status.get_details_error_info().unwrap().reason, "RATE_LIMITED");
            assert!(status.get_details_retry_info().is_some());
            break;
        }
    }
    assert_eq!(codes.last(), Some(&Code::ResourceExhausted), "{codes:?}");
    let reply = app.request("GET", "/api/v1/users/1", &[("x-forwarded-for", "192.0.2.9")], "").await;
    assert!(reply.status == 429 && reply.header("retry-after") == "1" || reply.status == 401, "{reply:?}");
    let status = client.get_wallet(with_token(message, &token)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "a token is taken: {status:?}");
}

#[tokio::test]
async fn what_a_caller_gets_does_not_tell_what_was_wrong() {
    let tokens = Tokens::new();
    let expired = tokens.add_until("old", Scope::Operator, Some(super::MADE));
    let revoked = tokens.add("gone", Scope::Operator);
    tokens.revoke("gone");
    let app = tokens.serve().await;
    let mut replies = Vec::new();
    let unknown = format!("wallet_{}", "ab".repeat(32));
    for (number, value) in [
        "",
        "Bearer",
        "Basic dXNlcjpwYXNz",
        &bearer(&unknown),
        &bearer(&expired),
        &bearer(&revoked),
        &format!("Token {unknown}"),
        "Bearer \u{fc}",
    ]
    .into_iter()
    .enumerate()
    {
        let address = format!("198.51.100.{number}");
        let headers = [("authorization", value), ("x-forwarded-for", address.as_str()), ("x-request-id", "same")];
        let reply = app.request("GET", "/api/v1/users/1", &headers, "").await;
        assert_eq!((reply.status, reply.header("wallet-reason")), (401, "UNAUTHENTICATED"), "{value}");
        replies.push((reply.text().to_owned(), reply.header("www-authenticate").to_owned()));
    }
    let body = r#"{"success":false,"error":"Credentials are missing or not valid"}"#.to_owned();
    assert!(replies.iter().all(|reply| *reply == (body.clone(), "Bearer".to_owned())), "{replies:?}");
}
