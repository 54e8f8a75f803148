//! Three PostgreSQL nodes under Patroni as `deploy/patroni/` has them, with an etcd: to be killed, stopped, cut off and
//! switched over.

mod etcd;
mod guard;
mod network;
mod node;

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{join_all, select_all};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use tokio::time;

use self::etcd::Etcd;
use self::guard::Guard;
use self::network::Network;
use self::node::Programs;
use super::optional;
use super::postgres::Installation;

pub use self::node::{Node, OWNER, SUPERUSER, WALLET};

/// The first version of Patroni that is safe with etcd. In earlier ones, a primary that was stopped for longer than
/// `ttl` and goes on could overwrite the key of the one that had replaced it. What that one had acknowledged was lost.
const SAFE: [u32; 3] = [3, 0, 3];
/// Far longer than anything that the cluster does by itself.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long a node that does not answer is waited for.
const SILENCE: Duration = Duration::from_secs(2);
/// Between two looks at what changes by itself.
const PAUSE: Duration = Duration::from_millis(20);

/// A running cluster, ended when dropped.
pub struct Cluster {
    nodes: Vec<Node>,
    network: Network,
    _etcd: Etcd,
    _guard: Guard,
}

/// The nodes of a whole cluster, by what they do.
pub struct Roles<'a> {
    pub primary: &'a Node,
    /// What is acknowledged is on this one's disk, too.
    pub synchronous: &'a Node,
}

impl Cluster {
    /// Starts it, and returns when it is whole and has an empty database for the wallet.
    ///
    /// `None`, after saying so, where it cannot be started.
    pub async fn start(test: &str) -> Option<Self> {
        let [patroni, etcd] = optional::programs(test, ["patroni", "etcd"])?;
        if !is_safe(&patroni) {
            optional::skip(test, &format!("needs Patroni {} or later", SAFE.map(|part| part.to_string()).join(".")));
            return None;
        }
        let postgres = Installation::find(test)?;
        let as_user = postgres.as_user(test)?;
        let guard = Guard::start();
        let dir = guard.folder();
        postgres.own(dir);
        let programs = Programs { patroni, postgres, as_user };
        let network = Network::new();
        let etcd = Etcd::start(&etcd, &network, dir);
        let nodes = (1..=3).map(|number| Node::new(&programs, &network, etcd.addr, dir, number)).collect();
        let cluster = Self { nodes, network, _etcd: etcd, _guard: guard };
        for node in &cluster.nodes {
            node.start();
        }
        cluster.prepare().await;
        Some(cluster)
    }

    /// A wallet's URL: the hosts in a list, and which of them is the primary is for the wallet to find out.
    pub fn url(&self) -> String {
        let hosts = self.nodes.iter().map(Node::postgres).map(|(addr, port)| format!("{addr}:{port}"));
        format!("postgres://{OWNER}:{OWNER}@{}/{WALLET}", hosts.collect::<Vec<_>>().join(","))
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Whether a node can be cut off.
    pub const fn has_cables(&self) -> bool {
        self.network.has_cables()
    }

    /// Cuts a node off from everything, without a word to anybody.
    pub fn cut(&self, node: &Node) {
        self.network.cut(&node.name);
    }

    /// Connects it again.
    pub fn heal(&self, node: &Node) {
        self.network.heal(&node.name);
    }

    /// Cuts both standbys off. Were it the synchronous one alone, the other would have commits that the new primary
    /// never had, and would first have to be rewound.
    pub fn cut_standbys(&self, roles: &Roles<'_>) {
        self.standbys(roles).for_each(|node| self.cut(node));
    }

    /// Connects them again.
    pub fn heal_standbys(&self, roles: &Roles<'_>) {
        self.standbys(roles).for_each(|node| self.heal(node));
    }

    fn standbys(&self, roles: &Roles<'_>) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.name != roles.primary.name)
    }

    /// Kills everything on a node: it is gone, as a machine without power is. Where there are cables, not even what its
    /// kernel would still have sent goes out.
    pub fn kill(&self, node: &Node) {
        if self.has_cables() {
            self.cut(node);
        }
        node.kill();
    }

    /// Starts a node that was killed: it finds its place in the cluster.
    pub fn start_again(&self, node: &Node) {
        if self.has_cables() {
            self.heal(node);
        }
        node.start();
    }

    /// Waits until there is one primary, with a synchronous standby and another one, and every node runs.
    pub async fn whole(&self) -> Roles<'_> {
        wait(
            "a whole cluster",
            || self.logs(),
            async || {
                let mut members = self.members().await;
                members.sort_by_key(|member| member["role"].as_str().map(ToOwned::to_owned));
                let is = |at: usize, role: &str| members.get(at).is_some_and(|member: &Value| member["role"] == role);
                let state = |member: &Value| matches!(member["state"].as_str(), Some("running" | "streaming"));
                if !(members.len() == 3 && is(0, "leader") && is(1, "replica") && is(2, "sync_standby")) {
                    return None;
                }
                let timeline = &members[0]["timeline"];
                let follows = members.iter().all(|member| state(member) && member["timeline"] == *timeline);
                let node = |member: &Value| self.nodes.iter().find(|node| member["name"] == node.name.as_str());
                let roles = Roles { primary: node(&members[0])?, synchronous: node(&members[2])? };
                // What Patroni knows may be some seconds old.
                (follows && self.streams(&roles).await).then_some(roles)
            },
        )
        .await
    }

    /// Waits until one of these nodes takes a write; which that is.
    pub async fn writable<'a>(&self, nodes: impl Iterator<Item = &'a Node>) -> &'a Node {
        let nodes = nodes.map(|node| {
            let trying = async move {
                while write(node).await.is_err() {
                    time::sleep(PAUSE).await;
                }
                node
            };
            trying.boxed()
        });
        let waited = time::timeout(TIMEOUT, select_all(nodes)).await;
        waited.unwrap_or_else(|_| panic!("no node takes writes:\n{}", self.logs())).0
    }

    /// What all nodes logged, for a failure.
    pub fn logs(&self) -> String {
        let logs = self.nodes.iter().map(|node| {
            let log = node.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(80)..].join("\n");
            format!("{}:\n{last}\n", node.name)
        });
        logs.collect()
    }

    /// Makes the wallet's database and its owner, and a table for the probe of [`Cluster::writable`].
    async fn prepare(&self) {
        let roles = self.whole().await;
        let mut connection = connect(roles.primary.superuser()).await.expect("the primary takes connections");
        for sql in [
            format!("create role {OWNER} login password '{OWNER}'"),
            format!("create database {WALLET} owner {OWNER}"),
            "create table probe (probed_at timestamptz not null default now())".to_owned(),
        ] {
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the database is prepared");
        }
    }

    /// What Patroni tells of its members, from the first node that answers.
    async fn members(&self) -> Vec<Value> {
        let asked = self.nodes.iter().map(|node| async {
            let reply = time::timeout(SILENCE, node.http.try_request("GET", "/cluster", &[], "")).await.ok()??;
            serde_json::from_slice::<Value>(&reply.body).ok()?["members"].as_array().cloned()
        });
        join_all(asked).await.into_iter().flatten().next().unwrap_or_default()
    }

    /// Whether the primary knows both standbys, and one of them as synchronous.
    async fn streams(&self, roles: &Roles<'_>) -> bool {
        let query = "select count(*) filter (where sync_state = 'sync' and application_name = $1), count(*) \
                     from pg_stat_replication where state = 'streaming' and not pg_is_in_recovery()";
        let ask = async {
            let mut connection = connect(roles.primary.superuser()).await?;
            sqlx::query_as(query).bind(&roles.synchronous.name).fetch_one(&mut connection).await
        };
        matches!(time::timeout(SILENCE, ask).await, Ok(Ok((1_i64, 2_i64))))
    }
}

impl Roles<'_> {
    /// Lets the synchronous standby become the primary, as for maintenance, and returns when Patroni has begun.
    ///
    /// # Panics
    /// If Patroni does not do it.
    pub async fn switch_over(&self) {
        let body = json!({"leader": self.primary.name, "candidate": self.synchronous.name}).to_string();
        let login = [("authorization", "Basic cGF0cm9uaTpjaGFuZ2UtbWUtcmVzdGFwaQ==")];
        let reply = self.primary.http.request("POST", "/switchover", &login, body).await;
        assert!(matches!(reply.status, 200 | 202), "{reply:?}");
    }

    /// Cancels a statement of this user that waits for the standby, which must not hear of it: cut it off before.
    pub async fn cancel_waiting(&self, user: &str) {
        self.signal_waiting(user, "pg_cancel_backend").await;
    }

    /// Ends the connection of such a statement.
    pub async fn terminate_waiting(&self, user: &str) {
        self.signal_waiting(user, "pg_terminate_backend").await;
    }

    async fn signal_waiting(&self, user: &str, function: &str) {
        let query = format!(
            "select {function}(pid) from pg_stat_activity where wait_event = 'SyncRep' and usename = '{user}' limit 1"
        );
        let mut connection = connect(self.primary.superuser()).await.expect("the primary takes connections");
        wait(
            "a commit that waits for its standby",
            || self.primary.log(),
            async || {
                let signalled = sqlx::query_scalar(AssertSqlSafe(query.clone())).fetch_optional(&mut connection).await;
                signalled.expect("the primary answers").filter(|done: &bool| *done)
            },
        )
        .await;
    }
}

/// Looks again and again until there is something to see.
///
/// # Panics
/// If there is nothing for far too long.
async fn wait<T>(what: &str, logs: impl Fn() -> String, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waited = time::timeout(TIMEOUT, async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            time::sleep(PAUSE).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("there is not {what}:\n{}", logs()))
}

/// Connects, unless the node is silent.
pub async fn connect(options: PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let options = options.disable_statement_logging();
    let connecting = time::timeout(SILENCE, PgConnection::connect_with(&options));
    connecting.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// Writes a row by this node as soon as it is a primary, and returns when that is acknowledged.
async fn write(node: &Node) -> Result<(), sqlx::Error> {
    let mut connection = connect(node.superuser()).await?;
    while is_standby(&mut connection).await? {
        time::sleep(PAUSE).await;
    }
    sqlx::query("insert into probe default values").execute(&mut connection).await?;
    Ok(())
}

/// Whether the other end takes no writes.
pub async fn is_standby(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select pg_is_in_recovery()").fetch_one(connection).await
}

/// Whether this Patroni is not too old.
fn is_safe(patroni: &Path) -> bool {
    let output = Command::new(patroni).arg("--version").output().expect("Patroni starts");
    let version = String::from_utf8_lossy(&output.stdout);
    let parts = version.split_whitespace().next_back().unwrap_or_default().split('.');
    parts.map_while(|part| part.parse::<u32>().ok()).ge(SAFE)
}
