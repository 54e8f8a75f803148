//! Two wallets on one PostgreSQL behind nginx, as `deploy/compose.postgres.yaml` has them.

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wallet::api::grpc::proto::wallet_service_client::WalletServiceClient;

use super::certificates::Authority;
use super::channel;
use super::proxy::{Files, Kind, Proxy};
use crate::support::client::{Client, Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::http::HttpClient;
use crate::support::optional;
use crate::support::postgres::Database;
use crate::support::process::{Process, wallet};

const CALLERS: i64 = 12;
const CHARGES: i64 = 200;
const OPENING: i64 = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_wallets_is_killed_and_every_call_is_answered() {
    let test = "two wallets behind nginx";
    let Some([nginx]) = optional::programs(test, ["nginx"]) else { return };
    let Some(database) = Database::create(test) else { return };
    let [killed, other] = [(); 2].map(|()| Process::serve(wallet(), &database.url(), &[]));
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("servers");
    let files = Files { server: authority.server(), authority, clients: None };
    let addrs = [&killed, &other].map(|process| (process.http, process.grpc));
    let proxy = Proxy::start(Kind::Nginx, &nginx, dir.path(), &files, &addrs);
    let authority = files.authority.certificate();
    let client = Client {
        http: HttpClient::over_tls(proxy.addr, &authority),
        grpc: WalletServiceClient::new(channel(proxy.addr, &authority, "127.0.0.1").await),
    };
    for user in 0..CALLERS {
        client.create_wallet(user, OPENING).await;
    }
    // The calls are spread over both. One with an id is logged by whoever answers it.
    for id in ["spread-0", "spread-1", "spread-2", "spread-3"] {
        let reply = client.http.request("GET", "/api/v1/users/0", &[("x-request-id", id)], "").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    for process in [&killed, &other] {
        tokio::task::block_in_place(|| process.wait_for_log("spread-", 1));
    }

    let (done, mut answers) = mpsc::unbounded_channel();
    let mut calling = JoinSet::new();
    for user in 0..CALLERS {
        calling.spawn(charges(client.clone(), user, done.clone()));
    }
    for _ in 0..CALLERS * CHARGES / 4 {
        answers.recv().await.expect("the callers call");
    }
    killed.kill();
    let unavailable: i64 = calling.join_all().await.into_iter().sum();
    println!("{} charges done, {unavailable} calls of gRPC sent again", CALLERS * CHARGES);
    for user in 0..CALLERS {
        assert_eq!(client.balance(user).await, OPENING - CHARGES, "user {user}");
    }
    let entries = database.value::<i64>("select count(*) from entry");
    assert_eq!(entries, CALLERS * (CHARGES + 1), "an opening and the charges of each, once");
}

/// Charges a user, by one protocol, and tells of each answer. By REST the proxy itself asks the other wallet, so every
/// answer is a success. A gRPC call that was sent already is answered, and sent again by its caller: how many were.
async fn charges(client: Client, user: i64, done: mpsc::UnboundedSender<()>) -> i64 {
    let protocol = if user % 2 == 0 { Protocol::Rest } else { Protocol::Grpc };
    let mut unavailable = 0;
    for number in 0..CHARGES {
        loop {
            match client.send(protocol, PlainCommand::charge(user, number, 1)).await {
                Reply::Done { balance, .. } => {
                    assert_eq!(balance, OPENING - number - 1, "user {user}, charge {number}");
                    break;
                }
                Reply::Unavailable if protocol == Protocol::Grpc => unavailable += 1,
                reply => panic!("user {user}, charge {number}: {reply:?}"),
            }
        }
        done.send(()).expect("somebody counts");
    }
    unavailable
}
