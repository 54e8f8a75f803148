//! Servers that are stopped, killed and paused, and what is left of them and of databases.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::time::timeout;

use crate::support::postgres::{Database, Installation, Pair, Server, Stop};

/// Set for the process that is killed while it has a server.
const HOLD: &str = "WALLET_TEST_HOLD_A_SERVER";

/// Long enough for an answer that should not come to be noticed. A test does not fail because it is too short.
const A_WHILE: Duration = Duration::from_millis(300);

#[test]
fn databases_are_empty_and_apart_and_gone_once_they_are_dropped() {
    let Some(first) = Database::create("a database") else { return };
    let Some(second) = Database::create("a database") else { return };
    first.execute("create table t (n int); insert into t values (1)");
    assert_eq!(second.value::<i64>("select count(*) from pg_tables where tablename = 't'"), 0);
    let named = format!("select count(*) from pg_database where datname = '{}'", first.name());
    assert_eq!(second.value::<i64>(&named), 1);
    drop(first);
    assert_eq!(second.value::<i64>(&named), 0);
}

#[tokio::test]
async fn a_database_is_dropped_with_a_connection_to_it() {
    let Some(database) = Database::create("a database in use") else { return };
    let mut connection = database.connect().await;
    drop(database);
    connection.execute("select 1").await.expect_err("the database is gone");
}

#[test]
fn a_server_that_stopped_starts_again_with_what_was_committed() {
    let Some(mut server) = Server::start_own("a server that is stopped", &[("work_mem", "5MB")]) else { return };
    let database = server.database("stopped");
    database.execute("create table t (n int)");
    let (url, addr) = (database.url(), server.addr());
    for (n, how) in (1_i64..).zip([Stop::Fast, Stop::Immediate, Stop::Kill]) {
        database.execute(&format!("insert into t values ({n})"));
        server.stop(how);
        assert!(TcpStream::connect(addr).is_err(), "{how:?}");
        server.start();
        assert_eq!((server.addr(), database.url()), (addr, url.clone()));
        assert_eq!(database.value::<i64>("select count(*) from t"), n, "{how:?}");
    }
    assert_eq!(server.log().matches("automatic recovery in progress").count(), 2);
    assert_eq!(database.value::<String>("show work_mem"), "5MB");
    assert_eq!(database.value::<String>("show fsync"), "on");
    let data = server.data();
    assert!(data.is_dir());
    drop(server);
    assert!(!data.parent().unwrap().exists());
    assert!(TcpStream::connect(addr).is_err());
}

#[tokio::test]
async fn a_paused_server_is_silent_until_it_goes_on() {
    let Some(mut server) = Server::start_own("a server that is paused", &[]) else { return };
    let database = server.database("paused");
    let mut connection = database.connect().await;
    server.pause();
    {
        let mut query = connection.execute("select 1");
        timeout(A_WHILE, &mut query).await.expect_err("nobody answers");
        timeout(A_WHILE, database.connect()).await.expect_err("nobody greets");
        server.resume();
        query.await.expect("an answer");
    }
    // What is paused can be stopped and dropped as well.
    server.pause();
    server.stop(Stop::Kill);
    server.start();
    server.pause();
}

#[test]
fn a_server_ends_with_the_process_that_started_it() {
    let test = "a server of a process";
    if env::var_os(HOLD).is_some() {
        let server = Server::start_own(test, &[]).expect("it was found");
        println!("\nserver {} {}", server.addr(), server.data().display());
        // Until it is killed.
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    if Installation::find(test).is_none() {
        return;
    }
    let name = "postgres_support::servers::a_server_ends_with_the_process_that_started_it";
    let mut tests = Command::new(env::current_exe().unwrap());
    tests.args(["--exact", name, "--nocapture"]).env(HOLD, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = tests.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said = lines.find_map(|line| line.strip_prefix("server ").map(ToOwned::to_owned)).expect("it starts one");
    let (addr, data) = said.split_once(' ').unwrap();
    let mut connection = TcpStream::connect(addr.parse::<SocketAddr>().unwrap()).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    // The server's end closes it.
    let _ = connection.read(&mut [0]);
    while Path::new(data).parent().unwrap().exists() {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(TcpStream::connect(addr.parse::<SocketAddr>().unwrap()).is_err());
    assert!(fs::metadata(data).is_err());
}

#[tokio::test]
async fn a_primary_answers_with_its_standby_and_the_standby_has_it_all() {
    let Some(mut pair) = Pair::start("a primary with a standby") else { return };
    let database = pair.primary.database("pair");
    database.execute("create table t (n int)");
    let mut connection = database.connect().await;

    pair.standby.stop(Stop::Kill);
    {
        let mut insert = connection.execute("insert into t values (1)");
        timeout(A_WHILE, &mut insert).await.expect_err("it waits for the standby");
        pair.standby.start();
        insert.await.expect("the standby has it");
    }

    pair.primary.stop(Stop::Kill);
    pair.standby.promote();
    let promoted = database.url_at(pair.standby.addr());
    let mut connection = PgConnection::connect(&promoted).await.unwrap();
    connection.execute("insert into t values (2)").await.expect("it takes writes");
    let count: i64 = sqlx::query_scalar("select count(*) from t").fetch_one(&mut connection).await.unwrap();
    assert_eq!(count, 2);
}
