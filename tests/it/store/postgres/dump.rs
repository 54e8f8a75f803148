//! A copy that PostgreSQL's own tools make of a ledger in use, and what a checkpoint proves about it.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::task::block_in_place;

use super::audit::audit;
use super::{open_shards, transact};
use crate::support::postgres::{Database, Installation};
use crate::support::store::{at, charge, close, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_a_ledger_in_use_is_verified_with_an_earlier_checkpoint() {
    let Some(database) = Database::create("a dump") else { return };
    let Some(copy) = Database::create("a restored dump") else { return };
    let Some(postgres) = Installation::find("a dump") else { return };
    let mut store = open_shards(&database, 1).await;
    transact(&mut store, &[open(7, 1_000_000)], at(1));
    for number in 1..20 {
        transact(&mut store, &[charge(7, number, 1)], at(number));
    }
    let checkpoints = audit(&database, None).unwrap().unwrap().checkpoints();
    let stop = AtomicBool::new(false);
    let (dumped, store) = thread::scope(|threads| {
        let charging = threads.spawn(|| {
            let mut number = 1_000;
            while !stop.load(Ordering::Relaxed) {
                transact(&mut store, &[charge(7, number, 1)], at(number));
                number += 1;
            }
            store
        });
        let dumped = postgres.command("pg_dump").args(["--format=custom", "-d", &database.url()]).output();
        stop.store(true, Ordering::Relaxed);
        (dumped.unwrap(), charging.join().unwrap())
    });
    close(store).await;
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let restored = block_in_place(|| {
        let mut restore = postgres.command("pg_restore");
        restore
            .args(["--exit-on-error", "--no-acl", "--no-owner", "-d", &copy.url()])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = restore.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&dumped.stdout).unwrap();
        child.wait_with_output().unwrap()
    });
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let report = audit(&copy, Some(&checkpoints)).unwrap().unwrap();
    assert!(report.heads.entries() >= 20, "{report}");
    copy.execute(
        "set session_replication_role = replica; delete from ledger_commit where commit_id > 5;
         delete from entry where entry_id > (select max(last_entry_id) from ledger_commit)",
    );
    let entries: i64 = copy.value("select max(entry_id) from entry");
    copy.execute(&format!(
        "update wallet set last_entry_id = {entries}, sequence = {entries},
         balance = (select balance_after from entry where entry_id = {entries})"
    ));
    audit(&copy, None).unwrap().unwrap();
    let cut_off = audit(&copy, Some(&checkpoints)).unwrap().unwrap_err();
    assert_eq!(cut_off.name(), "CHECKPOINT_MISSING", "an end that was cut off is found by the checkpoint alone");
}
