//! What happens to a node.

use crate::support::patroni::{Cluster, Node, Roles};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The node is gone, as a machine without power is. It comes back later.
    Kill,
    /// PostgreSQL alone is killed, and its connections end. Patroni lives, and sees it.
    KillPostgres,
    /// Everything on the node stops where it is, and goes on when another node is the primary.
    Stop,
    /// The node runs, and nobody hears of it. It is connected again when another node is the primary.
    CutOff,
    /// The operator wants another primary.
    SwitchOver,
    /// The synchronous standby runs, and nobody hears of it: the primary stays what it is, and must find another one.
    CutOffStandby,
}

impl Fault {
    pub const ALL: [Self; 6] =
        [Self::Kill, Self::Stop, Self::CutOff, Self::SwitchOver, Self::KillPostgres, Self::CutOffStandby];

    /// Whether it can happen here.
    pub const fn is_possible(self, cluster: &Cluster) -> bool {
        !matches!(self, Self::CutOff | Self::CutOffStandby) || cluster.has_cables()
    }

    /// Does it to a whole cluster.
    pub async fn inflict(self, cluster: &Cluster, roles: &Roles<'_>) {
        match self {
            Self::Kill => cluster.kill(roles.primary),
            Self::KillPostgres => roles.primary.kill_postgres(),
            Self::Stop => roles.primary.stop(),
            Self::CutOff => cluster.cut(roles.primary),
            Self::SwitchOver => roles.switch_over().await,
            Self::CutOffStandby => cluster.cut(roles.synchronous),
        }
    }

    /// Waits until a node takes writes again: another one, if it happened to the primary.
    pub async fn is_survived<'a>(self, cluster: &'a Cluster, roles: &Roles<'_>) -> &'a Node {
        let may = |node: &&Node| (node.name == roles.primary.name) == (self == Self::CutOffStandby);
        cluster.writable(cluster.nodes().iter().filter(may)).await
    }

    /// Lets the node that it happened to come back.
    pub fn end(self, cluster: &Cluster, roles: &Roles<'_>) {
        match self {
            Self::Kill => cluster.start_again(roles.primary),
            Self::Stop => roles.primary.resume(),
            Self::CutOff => cluster.heal(roles.primary),
            Self::CutOffStandby => cluster.heal(roles.synchronous),
            // Patroni lives, and starts PostgreSQL again.
            Self::KillPostgres | Self::SwitchOver => (),
        }
    }
}
