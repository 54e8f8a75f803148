//! The gRPC API from outside: every rpc, every refusal with its details, deadlines, streams, health and reflection.

mod commands;
mod deadlines;
mod health;
mod messages;
mod plays;
mod reflection;
mod transact;
mod transport;
mod wallets;

use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{ChargeRequest, GetWalletRequest};

use crate::support::app::App;

pub const USER: i64 = 123_123;

pub type WalletClient = WalletServiceClient<Channel>;

/// A service with a user who has 10.00, and a client of it.
pub async fn app() -> (App, WalletClient) {
    app_with(|_| ()).await
}

pub async fn app_with(change: impl FnOnce(&mut wallet::config::Settings)) -> (App, WalletClient) {
    let app = App::spawn_with(change).await;
    app.create_user(USER, "10.00").await;
    let client = WalletServiceClient::new(app.channel().await);
    (app, client)
}

pub fn charge(event_id: i64, amount_minor: i64) -> ChargeRequest {
    ChargeRequest { user_id: Some(USER), event_id: Some(event_id), amount_minor: Some(amount_minor), round_id: None }
}

pub async fn balance(client: &WalletClient) -> i64 {
    let request = GetWalletRequest { user_id: Some(USER), at: None };
    client.clone().get_wallet(request).await.unwrap().into_inner().balance_minor
}

/// Asserts a status: its code, and the reason and metadata of its `ErrorInfo`.
#[track_caller]
pub fn assert_status(status: &Status, code: Code, reason: &str, metadata: &[(&str, &str)]) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "wallet.v1"), "{status:?}");
    let expected = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    assert_eq!(info.metadata, expected);
}

/// A request with a time-out that only the server looks at: tonic's own client would act on it first.
pub fn within<T>(timeout: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    request
}

/// A client that waits for the server, whatever deadline its call has.
macro_rules! client_without_timeout {
    ($app:expr) => {{
        let http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .http2_only(true)
            .build_http::<tonic::body::Body>();
        WalletServiceClient::with_origin(http, format!("http://{}", $app.grpc).parse().unwrap())
    }};
}
pub(super) use client_without_timeout;
