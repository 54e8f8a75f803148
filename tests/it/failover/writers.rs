//! Plain clients that write rows and know which of them were acknowledged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio::task::JoinSet;
use tokio::time;

use crate::support::patroni::{Cluster, Node, connect, is_standby};

/// Clients at the same time.
const COUNT: usize = 4;
/// How long a client waits for an answer until it looks for another primary.
const SILENCE: Duration = Duration::from_secs(3);
/// How long it waits when it has asked every host.
const PAUSE: Duration = Duration::from_millis(100);

/// Running clients.
pub struct Writers {
    shared: Arc<Shared>,
    writing: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    /// The next row's number: none is sent twice.
    next: AtomicI64,
    acknowledged: Mutex<Vec<(Instant, i64)>>,
    is_ended: AtomicBool,
}

/// What was acknowledged.
pub struct Acknowledged {
    pub rows: BTreeSet<i64>,
    /// The longest time without an acknowledged row.
    pub gap: Duration,
}

impl Writers {
    /// Makes their table, by the primary.
    pub async fn prepare(primary: &Node) {
        let mut connection = connect(primary.wallet()).await.expect("the primary takes connections");
        // With a key, a row that is there twice could not be seen.
        sqlx::query("create table written (number bigint not null)").execute(&mut connection).await.expect("a table");
    }

    /// Starts them, with numbers from `first` on.
    pub fn start(cluster: &Cluster, first: i64) -> Self {
        let hosts: Vec<PgConnectOptions> = cluster.nodes().iter().map(Node::wallet).collect();
        let shared = Arc::new(Shared { next: first.into(), ..Shared::default() });
        let mut writing = JoinSet::new();
        for _ in 0..COUNT {
            let (hosts, shared) = (hosts.clone(), Arc::clone(&shared));
            writing.spawn(async move { shared.write(&hosts).await });
        }
        Self { shared, writing }
    }

    /// Waits until so many rows were acknowledged from now on.
    pub async fn acknowledge(&self, count: usize) {
        let acknowledged = || self.shared.acknowledged.lock().expect("nobody panicked").len();
        let before = acknowledged();
        while acknowledged() < before + count {
            time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends them.
    pub async fn end(self) -> Acknowledged {
        self.shared.is_ended.store(true, Ordering::Relaxed);
        self.writing.join_all().await;
        let mut acknowledged = self.shared.acknowledged.lock().expect("nobody panicked");
        acknowledged.sort_unstable();
        let gaps = acknowledged.windows(2).map(|two| two[1].0 - two[0].0);
        Acknowledged {
            gap: gaps.max().unwrap_or_default(),
            rows: acknowledged.iter().map(|(_, number)| *number).collect(),
        }
    }
}

impl Shared {
    async fn write(&self, hosts: &[PgConnectOptions]) {
        while !self.is_ended.load(Ordering::Relaxed) {
            for host in hosts {
                let Ok(mut connection) = connect(host.clone()).await else { continue };
                if let Ok(Ok(false)) = time::timeout(SILENCE, is_standby(&mut connection)).await {
                    self.write_by(connection).await;
                }
            }
            time::sleep(PAUSE).await;
        }
    }

    /// Writes row after row until one is not acknowledged.
    async fn write_by(&self, mut connection: PgConnection) {
        while !self.is_ended.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let insert = sqlx::query("insert into written values ($1)").bind(number);
            let Ok(Ok(_)) = time::timeout(SILENCE, insert.execute(&mut connection)).await else { return };
            self.acknowledged.lock().expect("nobody panicked").push((Instant::now(), number));
        }
    }
}
