//! The feed from outside: every entry once, in order, by each door, whatever is cut off.

pub mod crash;
mod events;
mod limits;
mod pages;
mod stop;
mod watch;

use tonic::transport::Channel;
use tonic::{Status, Streaming};
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;
use wallet::api::grpc::proto::{WatchEntriesRequest, WatchEntriesResponse};

use crate::support::app::App;
use crate::support::fact::Fact;

type WalletClient = WalletServiceClient<Channel>;

/// A service with so many users, each of whom has 10.00: entries 1, 2, 3, ….
async fn app(users: i64) -> App {
    app_with(users, |_| ()).await
}

async fn app_with(users: i64, change: impl FnOnce(&mut wallet::config::Settings)) -> App {
    let app = App::spawn_with(change).await;
    for user_id in 1..=users {
        app.create_user(user_id, "10.00").await;
    }
    app
}

/// Takes one cent from a user.
async fn charge(app: &App, user_id: i64, event_id: i64) {
    let body = format!(r#"{{"UserId":{user_id},"EventId":{event_id},"Amount":0.01}}"#);
    let reply = app.post("/api/v1/charge", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// What a watcher asks for.
fn from(after: &str) -> WatchEntriesRequest {
    WatchEntriesRequest { after: Some(after.to_owned()), user_id: None, kinds: Vec::new() }
}

async fn watch(app: &App, request: WatchEntriesRequest) -> Result<Streaming<WatchEntriesResponse>, Status> {
    let mut client = WalletClient::new(app.channel().await);
    Ok(client.watch_entries(request).await?.into_inner())
}

/// The next response's entry, if it has one, and its cursor.
async fn next(entries: &mut Streaming<WatchEntriesResponse>) -> (Option<Fact>, String) {
    let WatchEntriesResponse { entry, cursor } = entries.message().await.expect("a response").expect("no end");
    (entry.as_ref().map(Fact::from), cursor)
}

/// The next response's entry id and cursor.
async fn next_id(entries: &mut Streaming<WatchEntriesResponse>) -> (i64, String) {
    let (entry, cursor) = next(entries).await;
    (entry.expect("an entry").entry_id, cursor)
}
