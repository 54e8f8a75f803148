//! A server's host that vanishes, seen by its clients, and what comes of the bytes on the way.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use super::cuts::{Table, insert, numbers};

/// Long enough for an answer that should not come to be noticed. A test does not fail because it is too short.
const A_WHILE: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_silent_and_arrives_later() {
    let Some(table) = Table::create("a network that is held") else { return };
    let (mut waiting, mut given_up) = (table.connect().await, table.connect().await);
    let sent = table.cutter.messages();
    table.cutter.hold();
    let mut insert_1 = Box::pin(insert(&mut waiting, 1));
    timeout(A_WHILE, &mut insert_1).await.expect_err("no answer comes");
    timeout(A_WHILE, insert(&mut given_up, 2)).await.expect_err("no answer comes");
    drop(given_up);
    let url = table.database.url_at(table.cutter.addr());
    let mut connecting = Box::pin(PgConnection::connect(&url));
    timeout(A_WHILE, &mut connecting).await.expect_err("nobody greets");
    // The proxy has taken a message of each, and holds it.
    assert_eq!(table.cutter.messages(), sent + 2);

    table.cutter.resume();
    insert_1.await.expect("it arrives late");
    let mut connection = connecting.await.expect("it is greeted late");
    // The insert that nobody waits for commits all the same.
    while numbers(&mut connection).await != [1, 2] {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_never_arrives_and_its_connection_stays_open() {
    let Some(table) = Table::create("a network that loses") else { return };
    let mut lost = table.connect().await;
    table.cutter.hold();
    timeout(A_WHILE, insert(&mut lost, 1)).await.expect_err("no answer comes");
    table.cutter.resume_without_these();
    timeout(A_WHILE, insert(&mut lost, 2)).await.expect_err("no answer comes");

    let mut connection = table.connect().await;
    insert(&mut connection, 3).await.unwrap();
    assert_eq!(numbers(&mut connection).await, [3]);
    let sessions = "select count(*) from pg_stat_activity where datname = current_database() and state = 'idle'";
    let mut looking = table.database.connect().await;
    let sessions: i64 = sqlx::query_scalar(sessions).fetch_one(&mut looking).await.unwrap();
    assert_eq!(sessions, 2, "the server knows nothing of its client's end");
}
