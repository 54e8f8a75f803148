//! Two wallets on a cluster that fails under them, and callers of both APIs of each who send again what has no answer.

use std::env;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use super::books::Books;
use super::fault::Fault;
use super::load::Load;
use super::table::Table;
use crate::support::client::Client;
use crate::support::optional;
use crate::support::patroni::{Cluster, OWNER, Roles};
use crate::support::process::{Process, wallet};
use crate::support::script::{callers, resend_to_each};

pub const CALLERS: i64 = 12;

/// What happens in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Cluster(Fault),
    /// The standbys hear nothing, a commit's wait for one is cancelled, and the primary is killed: the commit is lost.
    CancelledWait,
    /// The same, and the wait is ended with its connection.
    TerminatedWait,
    WalletKilled,
    WalletStopped,
}

/// The first two are what CI has.
const TROUBLES: [Trouble; 10] = [
    Trouble::CancelledWait,
    Trouble::WalletKilled,
    Trouble::Cluster(Fault::SwitchOver),
    Trouble::Cluster(Fault::Stop),
    Trouble::WalletStopped,
    Trouble::Cluster(Fault::CutOff),
    Trouble::TerminatedWait,
    Trouble::Cluster(Fault::KillPostgres),
    Trouble::Cluster(Fault::CutOffStandby),
    Trouble::Cluster(Fault::Kill),
];

/// Two services on one ledger. They are the same processes to the end, but for one that is killed.
struct Wallets {
    url: String,
    processes: [Process; 2],
}

impl Wallets {
    fn start(url: String) -> Self {
        let processes = [0, 1].map(|_| Process::serve(wallet(), &url, &[]));
        Self { url, processes }
    }

    async fn clients(&self) -> Vec<Client> {
        vec![self.processes[0].client().await, self.processes[1].client().await]
    }

    /// Where they are.
    fn addrs(&self) -> [(SocketAddr, SocketAddr); 2] {
        self.processes.each_ref().map(|process| (process.http, process.grpc))
    }

    /// Kills the first, and starts it again where it was.
    fn restart(&mut self) {
        let [http, grpc] = [self.processes[0].http, self.processes[0].grpc].map(|addr| addr.to_string());
        self.processes[0].signal("KILL");
        self.processes[0].wait();
        self.processes[0] = Process::serve(wallet(), &self.url, &["--http-addr", &http, "--grpc-addr", &grpc]);
    }
}

/// Prints what the nodes logged if the test fails.
struct Watched<'c>(&'c Cluster);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{}", self.0.logs());
        }
    }
}

/// What they logged says more than that a test failed.
impl Drop for Wallets {
    fn drop(&mut self) {
        if thread::panicking() {
            let of_the_store = |line: &&str| line.contains("wallet::store") || line.contains("wallet::engine");
            for process in &self.processes {
                let log = process.log();
                println!("a wallet:\n{}", log.lines().filter(of_the_store).collect::<Vec<_>>().join("\n"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_survives_a_fail_over_and_happens_once() {
    let rounds = optional::rounds("WALLET_FAILOVER_ROUNDS", 2);
    let Some(cluster) = Cluster::start("wallets on a cluster that fails").await else { return };
    let watched = Watched(&cluster);
    let mut wallets = Wallets::start(cluster.url());
    let clients = wallets.clients().await;
    let mut callers = callers(&clients[0], CALLERS).await;
    let mut books = Books::open(&wallets.url, &clients).await;
    let mut table = Table::default();
    let troubles = chosen().into_iter().filter(|trouble| trouble.is_possible(&cluster)).cycle();
    for (round, trouble) in (0..rounds).zip(troubles) {
        let roles = cluster.whole().await;
        let following = books.follow(wallets.addrs(), round);
        let load = Load::start(&clients, callers);
        load.answered(100).await;
        let writable = trouble.happen(&cluster, &roles, &mut wallets, &load).await;
        load.answered(100).await;
        cluster.whole().await;
        let gaps;
        (callers, gaps) = load.end().await;
        resend_to_each(&clients, &mut callers).await;
        books.check(&clients, following, round).await;
        println!("round {round}: {}", table.note(trouble.name(), gaps, writable));
    }
    let acknowledged = callers.iter().map(|caller| caller.acknowledged).sum::<i64>();
    println!("{table}\n{rounds} rounds, {acknowledged} commands acknowledged, none lost, none twice");
    drop(watched);
}

/// The troubles that are to happen: all of them, or those whose names are in the environment.
fn chosen() -> Vec<Trouble> {
    let names = env::var("WALLET_FAILOVER_TROUBLES").unwrap_or_default();
    let is_chosen = |trouble: &Trouble| names.split(';').any(|name| name == trouble.name());
    let chosen: Vec<Trouble> = TROUBLES.into_iter().filter(is_chosen).collect();
    if chosen.is_empty() { TROUBLES.to_vec() } else { chosen }
}

impl Trouble {
    const fn name(self) -> &'static str {
        match self {
            Self::Cluster(Fault::Kill) => "primary killed",
            Self::Cluster(Fault::KillPostgres) => "PostgreSQL killed",
            Self::Cluster(Fault::Stop) => "primary stopped and resumed",
            Self::Cluster(Fault::CutOff) => "primary cut off",
            Self::Cluster(Fault::SwitchOver) => "switched over",
            Self::Cluster(Fault::CutOffStandby) => "standby cut off",
            Self::CancelledWait => "wait cancelled, primary killed",
            Self::TerminatedWait => "wait terminated, primary killed",
            Self::WalletKilled => "wallet killed",
            Self::WalletStopped => "wallet stopped and resumed",
        }
    }

    fn is_possible(self, cluster: &Cluster) -> bool {
        match self {
            Self::Cluster(fault) => fault.is_possible(cluster),
            Self::CancelledWait | Self::TerminatedWait => cluster.has_cables(),
            Self::WalletKilled | Self::WalletStopped => true,
        }
    }

    /// Lets it happen and end; when there was a primary again that takes writes, if there was none.
    async fn happen(self, cluster: &Cluster, roles: &Roles<'_>, wallets: &mut Wallets, load: &Load) -> Option<Instant> {
        let fault = match self {
            Self::Cluster(fault) => fault,
            Self::CancelledWait => {
                cluster.cut_standbys(roles);
                roles.cancel_waiting(OWNER).await;
                Fault::Kill
            }
            Self::TerminatedWait => {
                cluster.cut_standbys(roles);
                roles.terminate_waiting(OWNER).await;
                Fault::Kill
            }
            Self::WalletKilled => {
                wallets.restart();
                return None;
            }
            Self::WalletStopped => {
                wallets.processes[0].signal("STOP");
                load.answered_by(1, 1_000).await;
                wallets.processes[0].signal("CONT");
                return None;
            }
        };
        fault.inflict(cluster, roles).await;
        if self != Self::Cluster(fault) {
            cluster.heal_standbys(roles);
        }
        fault.is_survived(cluster, roles).await;
        let writable = Instant::now();
        load.answered(100).await;
        fault.end(cluster, roles);
        Some(writable)
    }
}
