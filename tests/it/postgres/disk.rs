//! A server whose disk is full: the one of its tables, and the one of its WAL.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::disk::Disk;
use crate::support::health::Health;
use crate::support::ledger::audit;
use crate::support::postgres::{Database, Server, Stop};
use crate::support::process::{Process, wallet};
use crate::support::script::{Caller, callers, load, resend, resend_all};

/// Starts a server, with a database, that has one of its folders on this disk.
fn start_on(disk: &Disk, folder: &str, test: &str) -> Option<(Server, Database)> {
    let mut server = Server::start_own(test, &[])?;
    let database = server.database(test);
    server.stop(Stop::Fast);
    let (from, to) = (server.data().join(folder), disk.path().join(folder));
    let copied = Command::new("cp").arg("--archive").args([&from, &to]).status().unwrap();
    assert!(copied.success(), "with its owner");
    fs::remove_dir_all(&from).unwrap();
    symlink(to, from).unwrap();
    server.start();
    Some((server, database))
}

/// Everything that was acknowledged is there, once, and the ledger is whole.
async fn holds(process: Process, database: &Database, callers: &[Caller], test: &str) {
    let acknowledged = resend_all(&process.client().await, callers).await;
    process.terminate();
    audit(&database.url().parse().unwrap(), None);
    println!("{test}: {acknowledged} commands acknowledged, none lost, none twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_grow_refuses_commands_until_it_can() {
    let test = "a full disk of tables";
    let Some(disk) = Disk::mount(test, 64) else { return };
    let Some((server, database)) = start_on(&disk, "base", test) else { return };
    let process = Process::serve(wallet(), &database.url(), &[]);
    let client = process.client().await;
    let mut health = Health::of(&process).await;
    let mut callers = callers(&client, 9).await;
    let refusals = || server.log().matches("No space left on device").count();
    let (mut rounds, mut times_full) = (0, 0);
    while times_full < 2 {
        rounds += 1;
        assert!(rounds <= 10, "{}", server.log());
        let before = refusals();
        disk.fill_but(0);
        // They play until none of them gets an answer. On a busy machine that may also be because the server is slow.
        callers = load(&client, callers, 0, || ()).await;
        if refusals() > before {
            times_full += 1;
            client.balance(0).await;
        }
        disk.free();
        health.becomes(true).await;
        callers = resend(&client, callers).await;
    }
    holds(process, &database, &callers, test).await;
}

/// PostgreSQL ends if its WAL cannot grow, and may not start again before it can. What was about to be committed is in
/// doubt.
#[tokio::test(flavor = "multi_thread")]
async fn a_wal_that_cannot_grow_leaves_no_commit_in_doubt() {
    let test = "a full disk of the WAL";
    let Some(disk) = Disk::mount(test, 96) else { return };
    let Some((mut server, database)) = start_on(&disk, "pg_wal", test) else { return };
    let process = Process::serve(wallet(), &database.url(), &[]);
    let client = process.client().await;
    let mut health = Health::of(&process).await;
    let mut callers = callers(&client, 9).await;
    for round in 1..=2 {
        let mut admin = database.connect().await;
        let fill = || {
            disk.fill_but(0);
            // Each begins a new file of the WAL, until there is no room for another.
            let switch = async { while sqlx::query("select pg_switch_wal()").execute(&mut admin).await.is_ok() {} };
            tokio::runtime::Handle::current().block_on(switch);
        };
        callers = load(&client, callers, 100, fill).await;
        disk.free();
        // It may have ended, or be about to.
        server.stop(Stop::Kill);
        server.start();
        health.becomes(true).await;
        assert!(server.log().matches("PANIC").count() >= round, "{}", server.log());
        callers = resend(&client, callers).await;
    }
    holds(process, &database, &callers, test).await;
}
