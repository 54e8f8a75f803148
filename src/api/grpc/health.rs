//! `grpc.health.v1`, tied to whether the ledger can commit.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthApi, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

use super::proto::wallet_service_server::WalletServiceServer;
use super::service::Service;
use crate::engine::Health;

/// The services whose health is told; the empty name is the whole server.
const NAMES: [&str; 2] = ["", <WalletServiceServer<Service> as NamedService>::NAME];

/// The health service, which follows `health` until `shutdown` is cancelled.
pub async fn service(mut health: watch::Receiver<Health>, shutdown: CancellationToken) -> HealthServer<impl HealthApi> {
    let (mut reporter, server) = health_reporter();
    let now = *health.borrow_and_update();
    tell(&reporter, now).await;
    tokio::spawn(async move {
        while let Some(Ok(())) = shutdown.run_until_cancelled(health.changed()).await {
            let now = *health.borrow_and_update();
            tell(&reporter, now).await;
        }
        // Whoever watches learns that this server goes, and then its stream ends, or it would hold up the shut-down.
        tell(&reporter, Health::NotServing).await;
        for name in NAMES {
            reporter.clear_service_status(name).await;
        }
    });
    server
}

async fn tell(reporter: &HealthReporter, health: Health) {
    let status = match health {
        Health::Serving => ServingStatus::Serving,
        Health::NotServing => ServingStatus::NotServing,
    };
    for name in NAMES {
        reporter.set_service_status(name, status).await;
    }
}
