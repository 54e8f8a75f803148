//! A URL of several hosts, of which one is not as it should be.

use sqlx::raw_sql;
use tokio::task::block_in_place;

use super::insist;
use crate::support::client::Reply;
use crate::support::command::PlainCommand;
use crate::support::postgres::{Server, Stop};
use crate::support::process::{Process, run, wallet};

const USER: i64 = 7;

/// A host whose timeline is newer than the primary's, but which has another ledger, is no primary that was promoted:
/// the service goes on with its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_another_ledger_is_left_alone_however_new_it_is() {
    let Some(server) = Server::start_own("a foreign host", &[]) else { return };
    let database = server.database("foreign");
    let mut foreign = Server::standby_of(&server, &[]);
    foreign.promote();
    let (name, url) = (database.name(), database.url_at(foreign.addr()));
    let on_foreign = foreign.database("to command from");
    on_foreign.execute(&format!("drop database \"{name}\""));
    on_foreign.execute(&format!("create database \"{name}\""));
    let (_, stderr, code) = run(&["init", "--database-url", &url, "--currency", "JPY"]);
    assert_eq!(code, Some(0), "{stderr}");
    foreign.stop(Stop::Fast);

    let process = Process::serve(wallet(), &database.url_of(&[foreign.addr(), server.addr()]), &[]);
    let client = process.client().await;
    client.create_wallet(USER, 1_000).await;
    foreign.start();
    let (mut connection, mut connections) = (database.connect().await, 1);
    for event in 1..=3 {
        let end = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'wallet'";
        raw_sql(end).execute(&mut connection).await.unwrap();
        let reply = insist(&client, PlainCommand::charge(USER, event, 1)).await;
        assert!(matches!(reply, Reply::Done { balance, .. } if balance == 1_000 - event), "{reply:?}");
        assert_eq!(client.balance(USER).await, 1_000 - event);
        connections += 1;
        block_in_place(|| process.wait_for_log("connected to write", connections));
    }
    drop(process);
    let (verified, stderr, code) = run(&["verify", "--json", "--database-url", &url]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(verified.contains(r#""Entries":0"#), "{verified}");
}

/// Each of several hosts says for itself why it is of no use.
#[test]
fn hosts_that_all_refuse_are_named_with_their_reasons() {
    let Some(one) = Server::start_own("hosts that refuse", &[]) else { return };
    let database = one.database("refused");
    let other = Server::standby_of(&one, &[]);
    other.promote();
    let hosts = [one.addr(), other.addr()];
    let url = database.url_of(&hosts).replace(database.name(), "nothing");
    for command in ["serve", "verify", "init"] {
        let (out, stderr, code) = run(&[command, "--database-url", &url]);
        assert_eq!((out.as_str(), code, stderr.lines().count()), ("", Some(1), 1), "{command}: {stderr}");
        assert!(stderr.contains("no host takes writes"), "{command}: {stderr}");
        for host in hosts {
            let refused = format!("{host}: error returned from database: database \"nothing\" does not exist");
            assert!(stderr.contains(&refused), "{command}: {stderr}");
        }
    }
}
