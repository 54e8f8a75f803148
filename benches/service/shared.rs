//! The program on PostgreSQL: the same servers that `pgbench` charges, each with a database of the ledger's own.

use std::time::Duration;

use super::drive;
use super::measure::Measure;
use super::peers::Peers;
use super::process::{LedgerUrl, Program};
use super::sample::Sample;
use super::service::Service;

/// Services whose ledgers are on PostgreSQL.
#[derive(Default)]
pub struct Shared {
    plain: Option<Service>,
    /// Another process on the same ledger.
    second: Option<Service>,
    /// On a server with a synchronous standby.
    replicated: Option<Service>,
}

impl Shared {
    /// Starts what `measures` need, if PostgreSQL is there.
    pub async fn start(peers: &Peers, measures: &[Measure]) -> Self {
        let needs = |needed: fn(&Measure) -> bool| measures.iter().any(needed);
        let mut shared = Self::default();
        let needs_two = needs(|measure| matches!(measure, Measure::TwoPostgresServices(_)));
        if needs_two || needs(|measure| matches!(measure, Measure::PostgresService { standby: false, .. })) {
            shared.plain = Self::open(peers, false).await;
        }
        if let Some(plain) = shared.plain.as_ref().filter(|_| needs_two) {
            shared.second = Some(Service::start(Program::Present, plain.ledger().clone(), &plain.wallets, None));
        }
        if needs(|measure| matches!(measure, Measure::PostgresService { standby: true, .. })) {
            shared.replicated = Self::open(peers, true).await;
        }
        shared
    }

    async fn open(peers: &Peers, standby: bool) -> Option<Service> {
        let url = peers.ledger_url(standby)?;
        Some(Service::start_new(Program::Present, LedgerUrl::Postgres(url), None).await)
    }

    /// The one process, on a server with or without a standby.
    pub const fn one(&self, standby: bool) -> Option<&Service> {
        if standby { self.replicated.as_ref() } else { self.plain.as_ref() }
    }

    /// Charges over both processes of the one ledger, with so many charges in flight over each.
    pub async fn transact_over_both(&self, in_flight: usize, time: Duration) -> Option<Sample> {
        Some(drive::transact_over_both(self.plain.as_ref()?, self.second.as_ref()?, in_flight, time).await)
    }

    /// Ends all, and proves that each ledger is right.
    pub async fn finish(self) {
        self.second.into_iter().for_each(Service::end);
        for service in [self.plain, self.replicated].into_iter().flatten() {
            service.finish().await;
        }
    }
}
