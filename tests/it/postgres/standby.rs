//! A primary whose commits wait for a standby: what the standby does not have is not told, also if the wait is broken
//! off.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use sqlx::{Connection as _, PgConnection};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, block_in_place};

use crate::support::app::App;
use crate::support::client::{Client, Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::ledger::audit;
use crate::support::postgres::{Database, Pair, Stop};
use crate::support::script::{callers, load, resend, resend_all};

const USER: i64 = 7;

/// How long a command may wait. Long enough for the store to give a server up, and to ask again.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(4);

/// A service of both servers.
async fn serve(pair: &Pair, database: &Database) -> (App, Client) {
    let url = database.url_of(&[pair.primary.addr(), pair.standby.addr()]);
    let app = App::spawn_with(|settings| {
        settings.database.url = url.parse().expect("a URL");
        settings.command_timeout_ms = u32::try_from(COMMAND_TIMEOUT.as_millis()).expect("milliseconds").into();
    })
    .await;
    let client = app.client().await;
    (app, client)
}

/// Breaks off the wait of a commit for the standby, once one waits, and returns when nobody waits whom that met.
async fn break_off(database: &Database, how: &str) {
    let mut connection = database.connect().await;
    let waits = "select pid from pg_stat_activity where wait_event = 'SyncRep' and application_name = 'wallet' limit 1";
    let waiting: i32 = loop {
        let found = sqlx::query_scalar(waits).fetch_optional(&mut connection).await.expect("it answers");
        if let Some(pid) = found {
            break pid;
        }
    };
    let call = format!("select {how}({waiting})");
    let done: bool =
        sqlx::query_scalar(sqlx::AssertSqlSafe(call)).fetch_one(&mut connection).await.expect("it answers");
    assert!(done, "{how}");
}

/// Waits until everybody sees this event's entry on the primary, replicated or not.
async fn becomes_visible(database: &Database, event: i64) {
    let mut connection = database.connect().await;
    let count = "select count(*) from entry where event_id = $1";
    while sqlx::query_scalar::<_, i64>(count).bind(event).fetch_one(&mut connection).await.expect("it answers") == 0 {}
}

fn charge(client: &Client, protocol: Protocol, event: i64) -> JoinHandle<Reply> {
    let client = client.clone();
    tokio::spawn(async move { client.send(protocol, PlainCommand::charge(USER, event, 100)).await })
}

/// Sends a charge again until its outcome is known.
async fn insist(client: &Client, event: i64) -> Reply {
    super::insist(client, PlainCommand::charge(USER, event, 100)).await
}

/// Breaks off every wait for the standby, again and again.
async fn break_off_all(database: &Database, how: &str) {
    let mut connection = database.connect().await;
    let call =
        format!("select {how}(pid) from pg_stat_activity where wait_event = 'SyncRep' and pid <> pg_backend_pid()");
    loop {
        sqlx::raw_sql(sqlx::AssertSqlSafe(call.clone())).execute(&mut connection).await.expect("it answers");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Nothing of the charge of this event is told, while the standby does not have it: no answer to it, to a replay, to a
/// look at the wallet, its entries, the event or the checkpoint, and no entry in the feed. Whoever waits for the
/// standby to find out is broken off as well.
async fn nothing_is_told(database: &Database, how: &str, app: &App, client: &Client, event: i64) {
    let paths = [
        format!("/api/v1/users/{USER}"),
        format!("/api/v1/users/{USER}/entries"),
        format!("/api/v1/users/{USER}/events/{event}"),
        String::from("/api/v1/ledger/entries"),
        String::from("/api/v1/ledger/checkpoint"),
    ];
    let asked = [Protocol::Rest, Protocol::Grpc].map(|protocol| charge(client, protocol, event));
    let told = async {
        let told = (join_all(asked).await, join_all(paths.iter().map(|path| app.get(path))).await);
        // The service takes itself out of rotation, however often its waits are broken off.
        while app.get("/api/v1/healthcheck").await.status == 200 {}
        told
    };
    let (answers, replies) = tokio::select! {
        told = told => told,
        () = break_off_all(database, how) => unreachable!("it goes on for ever"),
    };
    for answer in answers {
        is_not_told(&answer.expect("no panic"));
    }
    for (path, reply) in paths.iter().zip(replies) {
        assert_eq!(reply.status, 503, "{path}: {}", reply.text());
    }
}

fn is_not_told(answer: &Reply) {
    assert!(answer.is_unknown() || answer.reason().is_some(), "{answer:?} is not replicated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_wait_is_broken_off_is_told_when_the_standby_has_it() {
    let Some(mut pair) = Pair::start("a wait for a standby") else { return };
    let database = pair.primary.database("broken off");
    let (app, client) = serve(&pair, &database).await;
    client.create_wallet(USER, 1_000).await;
    let mut balance = 1_000;
    for (event, how) in (1..).zip(["pg_cancel_backend", "pg_terminate_backend"]) {
        pair.standby.pause();
        let sent = charge(&client, Protocol::Grpc, event);
        break_off(&database, how).await;
        becomes_visible(&database, event).await;
        is_not_told(&sent.await.expect("no panic"));
        nothing_is_told(&database, how, &app, &client, event).await;
        pair.standby.resume();
        balance -= 100;
        assert_eq!(insist(&client, event).await, Reply::replayed(balance), "{how}: it is there, once");
        assert_eq!(client.balance(USER).await, balance);
    }
    drop(app);
    audit(&database.url().parse().unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_wait_for_a_standby_neither_use_up_the_server_nor_stop_others() {
    let Some(mut pair) = Pair::start("reads that wait for a standby") else { return };
    let database = pair.primary.database("waiting reads");
    let (app, client) = serve(&pair, &database).await;
    client.create_wallet(USER, 1_000).await;
    client.create_wallet(USER + 1, 1_000).await;
    pair.standby.pause();
    let sent = charge(&client, Protocol::Rest, 1);
    break_off(&database, "pg_terminate_backend").await;
    becomes_visible(&database, 1).await;
    let path = format!("/api/v1/users/{USER}");
    for _ in 0..2 {
        for reply in join_all((0..50).map(|_| app.get(&path))).await {
            assert_eq!(reply.status, 503, "{}", reply.text());
        }
        let waiting: i64 = database.value("select count(*) from pg_stat_activity where wait_event = 'SyncRep'");
        assert!(waiting <= 2, "{waiting} wait: one for all reads, and the writer");
        assert_eq!(app.get(&format!("/api/v1/users/{}", USER + 1)).await.status, 200, "what the standby has is told");
    }
    is_not_told(&sent.await.expect("no panic"));
    pair.standby.resume();
    assert_eq!(insist(&client, 1).await, Reply::replayed(900));
    assert_eq!(app.get(&path).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_primary_alone_had_is_lost_with_it_and_was_never_told() {
    for how in ["pg_cancel_backend", "pg_terminate_backend"] {
        let Some(mut pair) = Pair::start("a primary that is lost") else { return };
        let database = pair.primary.database("lost");
        let (app, client) = serve(&pair, &database).await;
        client.create_wallet(USER, 1_000).await;
        assert_eq!(insist(&client, 1).await, Reply::done(900));
        pair.standby.stop(Stop::Kill);
        let sent = charge(&client, Protocol::Rest, 2);
        break_off(&database, how).await;
        becomes_visible(&database, 2).await;
        is_not_told(&sent.await.expect("no panic"));
        nothing_is_told(&database, how, &app, &client, 2).await;
        pair.primary.stop(Stop::Kill);
        block_in_place(|| {
            pair.standby.start();
            pair.standby.promote();
        });
        assert_eq!(insist(&client, 3).await, Reply::done(800), "{how}: it serves on, without what was not told");
        assert_eq!(insist(&client, 2).await, Reply::done(700), "{how}: nothing of it is left");
        assert_eq!(insist(&client, 1).await, Reply::replayed(900), "{how}");
        assert_eq!(charges(&database, pair.standby.addr()).await, [1, 3, 2], "{how}");
        drop(app);
        audit(&database.url_at(pair.standby.addr()).parse().unwrap(), None);
    }
}

/// The events of all charges, in their order.
async fn charges(database: &Database, server: SocketAddr) -> Vec<i64> {
    let mut connection = PgConnection::connect(&database.url_at(server)).await.expect("a connection");
    let select = "select event_id from entry where kind = 2 order by entry_id";
    sqlx::query_scalar(select).fetch_all(&mut connection).await.expect("it answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_is_there_once_after_the_primary_is_lost_under_load() {
    let Some(mut pair) = Pair::start("a primary that is lost under load") else { return };
    let database = pair.primary.database("load");
    let (app, client) = serve(&pair, &database).await;
    client.create_wallet(USER, 1_000).await;
    let callers = callers(&client, 6).await;
    // Most callers notice nothing: so the service is stopped as well, once it takes writes again.
    let callers = load(&client, callers, 1_500, || {
        pair.primary.stop(Stop::Kill);
        pair.standby.promote();
        assert_eq!(Handle::current().block_on(insist(&client, 1)), Reply::done(900));
        app.begin_stop();
    })
    .await;
    let (app, client) = serve(&pair, &database).await;
    let callers = resend(&client, callers).await;
    let acknowledged = resend_all(&client, &callers).await;
    assert!(acknowledged >= 1_500);
    println!("{acknowledged} commands acknowledged: none lost, none twice");
    drop(app);
    audit(&database.url_at(pair.standby.addr()).parse().unwrap(), None);
}
