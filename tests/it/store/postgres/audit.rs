//! The audit while something happens: commits, a server that goes away, checkpoints of another ledger.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use wallet::ledger::{Checkpoints, Finding, LedgerReport};
use wallet::store::{Step, StoreError, postgres};

use super::{open_shards, three_shards, transact};
use crate::support::postgres::{Database, Server, Stop};
use crate::support::store::{at, charge, close, open};

/// What `wallet verify` finds.
pub fn audit(
    database: &Database,
    checkpoints: Option<&Checkpoints>,
) -> Result<Result<LedgerReport, Finding>, StoreError> {
    postgres::audit(&database.url().parse().unwrap(), checkpoints, &mut |_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_written_meanwhile_is_verified() {
    let Some(database) = Database::create("an audit under load") else { return };
    let mut store = open_shards(&database, 2).await;
    transact(&mut store, &(1..=50).map(|number| open(number, 1_000_000)).collect::<Vec<_>>(), at(1));
    let stop = AtomicBool::new(false);
    let (reports, store) = thread::scope(|threads| {
        let writing = threads.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                // New wallets come before and behind those that are there.
                let users = [1 + number % 50, 51 + number % 200, 50 - number % 50];
                let commands = users.map(|user| [open(user, 1_000_000), charge(user, number, 1)]);
                transact(&mut store, &commands.concat(), at(number));
            }
            store
        });
        // What fails is told once the writer has ended.
        let reports: Vec<_> = (0..6).map(|_| audit(&database, None)).collect();
        stop.store(true, Ordering::Relaxed);
        (reports, writing.join().unwrap())
    });
    close(store).await;
    let reports: Vec<LedgerReport> = reports.into_iter().map(|report| report.unwrap().unwrap()).collect();
    assert!(reports.windows(2).any(|two| two[0].heads.entries() < two[1].heads.entries()), "it was written meanwhile");
    let last = reports.last().unwrap();
    let later = audit(&database, Some(&last.checkpoints())).unwrap().unwrap();
    assert!(later.heads.entries() >= last.heads.entries());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_ends_when_the_server_goes_away() {
    let Some(mut server) = Server::start_own("an audit without its server", &[]) else { return };
    let database = server.database("an audit without its server");
    three_shards(&database).await;
    let url = database.url().parse().unwrap();
    let mut server = Some(&mut server);
    let result = postgres::audit(&url, None, &mut |step| {
        let (Step::Verifying { .. }, Some(server)) = (step, server.take()) else { return };
        server.stop(Stop::Kill);
    });
    assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    let result = postgres::audit(&url, None, &mut |_| ());
    assert!(matches!(result, Err(StoreError::Incompatible(_))), "nobody answers: {result:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_of_as_many_shards_as_the_ledger() {
    let Some(database) = Database::create("checkpoints of shards") else { return };
    three_shards(&database).await;
    let report = audit(&database, None).unwrap().unwrap();
    assert_eq!((report.wallets, report.heads.entries(), report.heads.iter().count()), (5, 5 * 19, 3));
    let text = report.checkpoints().to_string();
    audit(&database, Some(&text.parse().unwrap())).unwrap().unwrap();
    let fewer = text.rsplit_once(',').unwrap().0.parse().unwrap();
    let refused = audit(&database, Some(&fewer)).unwrap_err().to_string();
    assert_eq!(refused, "the number of shards differs: 2 in the checkpoint, 3 in the ledger");
    let swapped: Vec<&str> = text.split(',').collect();
    let swapped = [swapped[1], swapped[0], swapped[2]].join(",").parse().unwrap();
    assert!(matches!(audit(&database, Some(&swapped)), Ok(Err(Finding::CheckpointHash { .. }))));
}
