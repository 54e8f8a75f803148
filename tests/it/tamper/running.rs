//! Larger ledgers, which are read in many pages, and one that grows while it is verified.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use wallet::ledger::Command;
use wallet::store::{Step, sqlite};

use super::{altered, found, verify};
use crate::support::store::{at, charge, close, open, open_sqlite, transact};

/// A ledger of two users and ten thousand entries in commits of 7, which nobody serves.
async fn large() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.db");
    let mut store = open_sqlite(&path).await;
    transact(&mut store, &[open(1, 1_000_000), open(2, 1_000_000)], at(1)).unwrap();
    let charges: Vec<Command> = (0..9_998).map(|number| charge(number % 2 + 1, number, 1)).collect();
    for (commit, batch) in (2..).zip(charges.chunks(7)) {
        transact(&mut store, batch, at(commit)).unwrap();
    }
    close(store).await;
    (dir, path)
}

#[tokio::test]
async fn the_first_of_several_findings_is_named_wherever_pages_end() {
    let (_dir, database) = large().await;
    let mut last = None;
    let mut progress = |step| last = Some(step);
    let report = sqlite::audit_in_steps(&database, None, &mut progress).unwrap().unwrap();
    assert_eq!((report.head.last_entry_id.get(), last), (10_000, Some(Step::Verifying { done: 10_000, of: 10_000 })));
    for removed in [2_047, 2_048, 2_049, 4_096, 9_999] {
        let (report, code) = verify(&altered(&database, &format!("delete from entry where entry_id = {removed}")));
        assert_eq!((found(&report), code), (format!("ENTRY_ORDER EntryId {}", removed + 1), Some(2)), "{report}");
    }
    let several = "update entry set amount = 2 where entry_id in (3000, 5000, 9000); delete from entry
         where entry_id = 7000; update ledger_commit set hash = zeroblob(32) where commit_id = 800";
    for _ in 0..10 {
        let (report, _) = verify(&altered(&database, several));
        assert_eq!(found(&report), "BALANCE EntryId 3000 UserId 2", "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_verified_while_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.db");
    let mut store = open_sqlite(&path).await;
    transact(&mut store, &[open(1, 1_000_000_000), open(2, 1_000_000_000)], at(1)).unwrap();
    let stopped = AtomicBool::new(false);
    let (written, verified) = std::thread::scope(|threads| {
        let writing = threads.spawn(|| {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                let batch: Vec<Command> =
                    (number..number + 100).map(|number| charge(number % 2 + 1, number, 1)).collect();
                number += 100;
                transact(&mut store, &batch, at(number)).unwrap();
            }
            number + 2
        });
        let mut verified = Vec::new();
        while verified.len() < 20 {
            let report = sqlite::audit(&path, None).unwrap().unwrap();
            verified.push(report.head.last_entry_id.get());
        }
        stopped.store(true, Ordering::Relaxed);
        (writing.join().unwrap(), verified)
    });
    close(store).await;
    assert!(verified.is_sorted() && verified[0] < verified[19], "it grew in between: {verified:?}");
    assert_eq!(sqlite::audit(&path, None).unwrap().unwrap().head.last_entry_id.get(), written);
    println!("verified 20 times while it grew from {} to {} entries", verified[0], verified[19]);
}
