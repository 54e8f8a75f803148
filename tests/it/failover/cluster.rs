//! The cluster itself, with clients that only insert rows: it loses none that it acknowledged.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sqlx::Error;

use super::fault::Fault;
use super::writers::Writers;
use crate::support::optional;
use crate::support::patroni::{Cluster, Node, Roles, SUPERUSER, WALLET, connect};

/// The number of the first row that is written under load.
const FIRST: i64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_fails_is_replaced_and_no_acknowledged_row_is_lost() {
    let rounds = optional::rounds("WALLET_FAILOVER_ROUNDS", 1);
    let begun = Instant::now();
    let Some(cluster) = Cluster::start("fail-over").await else { return };
    println!("a wallet would be given {}", cluster.url());
    println!("the cluster is whole after {:.1?}", begun.elapsed());
    Writers::prepare(cluster.whole().await.primary).await;
    let (mut acknowledged, mut first) = (BTreeSet::new(), FIRST);
    let faults = Fault::ALL.into_iter().filter(|fault| fault.is_possible(&cluster)).cycle();
    for (round, fault) in (0..rounds).zip(faults) {
        let (survived, gap) = replace(&cluster, fault, &mut acknowledged, &mut first).await;
        println!("round {round}: {fault:?}: writable after {survived:.1?}, no row acknowledged for {gap:.1?}");
    }
    println!("{rounds} rounds, {} rows acknowledged, none lost, none twice", acknowledged.len());
}

/// Causes a fault under load, and checks all that was ever acknowledged; after what time
/// there were writes again, and how long the clients' longest wait was.
async fn replace(
    cluster: &Cluster,
    fault: Fault,
    acknowledged: &mut BTreeSet<i64>,
    first: &mut i64,
) -> (Duration, Duration) {
    let roles = cluster.whole().await;
    let writers = Writers::start(cluster, *first);
    writers.acknowledge(200).await;
    // The first fault is a kill. What only the primary has is then lost, and nothing else.
    let is_lossy = acknowledged.is_empty() && cluster.has_cables();
    if is_lossy {
        write_what_one_disk_holds(cluster, &roles).await;
    }
    fault.inflict(cluster, &roles).await;
    if is_lossy {
        cluster.heal_standbys(&roles);
    }
    let begun = Instant::now();
    fault.is_survived(cluster, &roles).await;
    let survived = begun.elapsed();
    writers.acknowledge(200).await;
    fault.end(cluster, &roles);
    let whole = cluster.whole().await;
    let ended = writers.end().await;
    acknowledged.extend(&ended.rows);
    let written = rows(whole.primary).await;
    *first = written.last().expect("rows") + 10_000;
    let is_twice = written.windows(2).any(|two| two[0] == two[1]);
    assert!(!is_twice, "{fault:?}: a row is there twice");
    assert_eq!(written[0], FIRST, "the rows of one disk are lost");
    let written: BTreeSet<i64> = written.into_iter().collect();
    let lost: Vec<&i64> = acknowledged.difference(&written).collect();
    assert!(lost.is_empty(), "{fault:?}: {lost:?} are lost\n{}", cluster.logs());
    (survived, ended.gap)
}

/// Writes two rows that only the primary's disk will hold, and then lets somebody end the wait for the standby.
///
/// It is what makes a wallet wait again before it believes in a commit: to its client, a cancelled wait looks like a
/// commit that two disks hold.
async fn write_what_one_disk_holds(cluster: &Cluster, roles: &Roles<'_>) {
    let mut connection = connect(roles.primary.superuser().database(WALLET)).await.expect("the primary is there");
    cluster.cut_standbys(roles);
    let insert = sqlx::query("insert into written values (1)").execute(&mut connection);
    let (written, ()) = tokio::join!(insert, roles.cancel_waiting(SUPERUSER));
    assert_eq!(written.expect("it says that it is done").rows_affected(), 1);
    let insert = sqlx::query("insert into written values (2)").execute(&mut connection);
    let (written, ()) = tokio::join!(insert, roles.terminate_waiting(SUPERUSER));
    assert!(matches!(written, Err(Error::Io(_))), "the connection ends without a word: {written:?}");
    assert_eq!(rows(roles.primary).await[..2], [1, 2], "others see both");
}

/// The numbers of all rows, in order.
async fn rows(primary: &Node) -> Vec<i64> {
    let mut connection = connect(primary.wallet()).await.expect("the primary takes connections");
    let query = sqlx::query_scalar("select number from written order by number");
    query.fetch_all(&mut connection).await.expect("the primary answers")
}
