//! Two wallets on a cluster that fails under them, and callers of both APIs of each who send again what has no answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time;

use super::fault::Fault;
use crate::support::client::Client;
use crate::support::fact::Fact;
use crate::support::optional;
use crate::support::patroni::{Cluster, Roles, WALLET};
use crate::support::process::{Process, run, wallet};
use crate::support::script::{Caller, callers, persist, resend_all};

const CALLERS: i64 = 12;

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

const TROUBLES: [Trouble; 10] = [
    Trouble::CancelledWait,
    Trouble::WalletKilled,
    Trouble::Cluster(Fault::Stop),
    Trouble::Cluster(Fault::CutOff),
    Trouble::WalletStopped,
    Trouble::Cluster(Fault::SwitchOver),
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

    /// Kills the first, and starts it again where it was.
    fn restart(&mut self) {
        let [http, grpc] = [self.processes[0].http, self.processes[0].grpc].map(|addr| addr.to_string());
        self.processes[0].signal("KILL");
        self.processes[0].wait();
        self.processes[0] = Process::serve(wallet(), &self.url, &["--http-addr", &http, "--grpc-addr", &grpc]);
    }
}

/// When each service answered.
type Answers = Arc<Mutex<[Vec<Instant>; 2]>>;

/// Callers at work.
struct Load {
    answers: Answers,
    is_ended: Arc<AtomicBool>,
    playing: JoinHandle<Vec<Caller>>,
}

impl Load {
    fn start(clients: &[Client], callers: Vec<Caller>) -> Self {
        let (answers, is_ended) = (Answers::default(), Arc::new(AtomicBool::new(false)));
        let note = Arc::clone(&answers);
        let answered = move |service: usize| note.lock().expect("nobody panicked")[service].push(Instant::now());
        let playing = tokio::spawn(persist(clients.to_vec(), callers, answered, Arc::clone(&is_ended)));
        Self { answers, is_ended, playing }
    }

    /// Waits until each service has given so many answers from now on.
    async fn answered(&self, count: usize) {
        self.answered_by(0, count).await;
        self.answered_by(1, count).await;
    }

    async fn answered_by(&self, service: usize, count: usize) {
        let given = || self.answers.lock().expect("nobody panicked")[service].len();
        let before = given();
        while given() < before + count {
            assert!(!self.playing.is_finished(), "a caller was answered wrongly");
            time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn end(self) -> (Vec<Caller>, [Gap; 2]) {
        self.is_ended.store(true, Ordering::Relaxed);
        let callers = self.playing.await.expect("every answer is right");
        let answers = self.answers.lock().expect("nobody panicked");
        (callers, answers.each_ref().map(|answers| Gap::longest(answers)))
    }
}

/// A time without an answer of one service.
#[derive(Clone, Copy)]
struct Gap {
    length: Duration,
    ended: Instant,
}

impl Gap {
    fn longest(answers: &[Instant]) -> Self {
        let gaps = answers.windows(2).map(|two| Self { length: two[1] - two[0], ended: two[1] });
        gaps.max_by_key(|gap| gap.length).expect("answers")
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the store on PostgreSQL"]
async fn whatever_was_acknowledged_survives_a_fail_over_and_happens_once() {
    let rounds = optional::rounds("WALLET_FAILOVER_ROUNDS", 2);
    let Some(cluster) = Cluster::start("wallets on a cluster that fails").await else { return };
    let mut wallets = Wallets::start(cluster.url());
    let clients = wallets.clients().await;
    let mut callers = callers(&clients[0], CALLERS).await;
    let troubles = TROUBLES.into_iter().filter(|trouble| trouble.is_possible(&cluster)).cycle();
    for (round, trouble) in (0..rounds).zip(troubles) {
        let roles = cluster.whole().await;
        let load = Load::start(&clients, callers);
        load.answered(100).await;
        let writable = trouble.happen(&cluster, &roles, &mut wallets, &load).await;
        load.answered(100).await;
        cluster.whole().await;
        let gaps;
        (callers, gaps) = load.end().await;
        let late = gaps.map(|gap| gap.ended.saturating_duration_since(writable));
        let gaps = gaps.map(|gap| gap.length);
        println!("round {round}: {trouble:?}: no answer for {gaps:.1?}, the last {late:.2?} of it with a primary");
        check(&wallets, &clients, &callers).await;
    }
    let acknowledged = callers.iter().map(|caller| caller.acknowledged).sum::<i64>();
    println!("{rounds} rounds, {acknowledged} commands acknowledged, none lost, none twice");
}

impl Trouble {
    fn is_possible(self, cluster: &Cluster) -> bool {
        match self {
            Self::Cluster(fault) => fault.is_possible(cluster),
            Self::CancelledWait | Self::TerminatedWait => cluster.has_cables(),
            Self::WalletKilled | Self::WalletStopped => true,
        }
    }

    /// Lets it happen and end; when there was a primary that takes writes.
    async fn happen(self, cluster: &Cluster, roles: &Roles<'_>, wallets: &mut Wallets, load: &Load) -> Instant {
        let fault = match self {
            Self::Cluster(fault) => fault,
            Self::CancelledWait => {
                cluster.cut_standbys(roles);
                roles.cancel_waiting(WALLET).await;
                Fault::Kill
            }
            Self::TerminatedWait => {
                cluster.cut_standbys(roles);
                roles.terminate_waiting(WALLET).await;
                Fault::Kill
            }
            Self::WalletKilled => {
                let begun = Instant::now();
                wallets.restart();
                return begun;
            }
            Self::WalletStopped => {
                let begun = Instant::now();
                wallets.processes[0].signal("STOP");
                load.answered_by(1, 1_000).await;
                wallets.processes[0].signal("CONT");
                return begun;
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
        writable
    }
}

/// All that was ever acknowledged is a replay by each wallet, the chains verify, and the feed equals the entries.
async fn check(wallets: &Wallets, clients: &[Client], callers: &[Caller]) {
    for client in clients {
        resend_all(client, callers).await;
    }
    let (_, stderr, code) = run(&["verify", "--database-url", &wallets.url]);
    assert_eq!(code, Some(0), "{stderr}");
    let mut entries = Vec::new();
    for user in 0..CALLERS {
        entries.extend(history(&clients[0], user).await);
    }
    entries.sort_by_key(|fact| fact.entry_id);
    for client in clients {
        assert!(feed(client).await == entries, "the feed differs from the entries");
    }
}

/// All entries of a user, from the pages of its history.
async fn history(client: &Client, user: i64) -> Vec<Fact> {
    let (mut entries, mut before) = (Vec::new(), String::new());
    loop {
        let page = client.http.get(&format!("/api/v1/users/{user}/entries?limit=1000{before}")).await.json();
        entries.extend(page["Entries"].as_array().expect("entries").iter().map(Fact::from));
        let Some(next) = page["NextBefore"].as_i64() else { return entries };
        before = format!("&before={next}");
    }
}

/// All entries, from the pages of the feed.
async fn feed(client: &Client) -> Vec<Fact> {
    let (mut entries, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.http.get(&format!("/api/v1/ledger/entries?limit=1000&after={after}")).await.json();
        let new = page["Entries"].as_array().expect("entries");
        if new.is_empty() {
            return entries;
        }
        entries.extend(new.iter().map(Fact::from));
        page["Next"].as_str().expect("a cursor").clone_into(&mut after);
    }
}
