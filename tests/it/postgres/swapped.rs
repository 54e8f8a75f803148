//! A database that is not any more what it was when its ledger was opened.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};

use crate::support::client::{Client, Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::http::HttpClient;
use crate::support::ledger::audit;
use crate::support::postgres::{Database, Server};
use crate::support::process::{Process, run, wallet};

/// Exchanges the names of two databases, and ends every connection to them.
async fn swap(server: &Server, one: &Database, other: &Database) {
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    let (one, other) = (one.name(), other.name());
    let ended =
        format!("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname in ('{one}', '{other}')");
    for sql in [
        format!("alter database \"{one}\" allow_connections false"),
        ended,
        format!("alter database \"{one}\" rename to swapped"),
        format!("alter database \"{other}\" rename to \"{one}\""),
        format!("alter database swapped rename to \"{other}\""),
        format!("alter database \"{other}\" allow_connections true"),
    ] {
        raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
}

async fn charge(client: &Client, protocol: Protocol, event: i64) -> Reply {
    client.send(protocol, PlainCommand::charge(7, event, 1)).await
}

/// Sends a charge again until its outcome is known.
async fn insist(client: &Client, event: i64) -> Reply {
    super::insist(client, PlainCommand::charge(7, event, 1)).await
}

/// Nothing is written to what is there now, and nobody is told that something is wrong with the command.
async fn nothing_is_done(process: &Process, client: &Client) {
    for _ in 0..3 {
        for protocol in [Protocol::Rest, Protocol::Grpc] {
            let reply = charge(client, protocol, 9).await;
            assert!(reply.is_unknown(), "{reply:?}");
        }
    }
    let (_, stderr, code) = run(&["healthcheck", "--http-addr", &process.http.to_string()]);
    assert_eq!(code, Some(1), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ledger_by_the_same_name_is_left_alone() {
    let Some(server) = Server::start_own("another ledger", &[]) else { return };
    for flags in [["--currency", "JPY"], ["--shards", "3"]] {
        let (served, other) = (server.database("served"), server.database("other"));
        let (_, stderr, code) = run(&[&["init", "--database-url", &other.url()], flags.as_slice()].concat());
        assert_eq!(code, Some(0), "{stderr}");
        let (_, stderr, code) = run(&["init", "--database-url", &served.url(), "--shards", "1"]);
        assert_eq!(code, Some(0), "{stderr}");
        let process = Process::serve(wallet(), &served.url(), &[]);
        let client = process.client().await;
        client.create_wallet(7, 100).await;
        swap(&server, &served, &other).await;
        nothing_is_done(&process, &client).await;
        assert_eq!(served.value::<i64>("select count(*) from entry"), 0, "{flags:?}");
        swap(&server, &served, &other).await;
        assert_eq!(insist(&client, 10).await, Reply::done(99), "it goes on when its ledger is there again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_of_the_ledger_is_neither_written_to_nor_read() {
    let Some(server) = Server::start_own("an older state", &[]) else { return };
    let served = server.database("served");
    let process = Process::serve(wallet(), &served.url(), &[]);
    let client = process.client().await;
    client.create_wallet(7, 100).await;
    assert_eq!(charge(&client, Protocol::Grpc, 1).await, Reply::done(99));
    process.terminate();
    let older = served.copy("older");
    let process = Process::serve(wallet(), &served.url(), &[]);
    let client = process.client().await;
    assert_eq!(charge(&client, Protocol::Grpc, 2).await, Reply::done(98));
    swap(&server, &served, &older).await;
    nothing_is_done(&process, &client).await;
    assert!(process.log().contains("is gone: an older state of the database was restored"), "{}", process.log());
    let http = HttpClient::new(process.http);
    for path in ["/api/v1/users/7", "/api/v1/users/7/entries", "/api/v1/ledger/checkpoint", "/api/v1/ledger/entries"] {
        let reply = http.get(path).await;
        assert_eq!((reply.status, reply.header("wallet-reason")), (503, "UNAVAILABLE"), "{path}: {}", reply.text());
    }
    swap(&server, &served, &older).await;
    assert_eq!(insist(&client, 3).await, Reply::done(97), "it goes on when the ledger is whole again");
    process.terminate();
    audit(&served.url().parse().unwrap(), None);
}
