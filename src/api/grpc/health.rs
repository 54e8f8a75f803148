//! `grpc.health.v1`, tied to whether the ledger can commit.

use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthApi, HealthServer};
use tonic_health::server::{HealthReporter, health_reporter};

use super::proto::wallet_service_server::WalletServiceServer;
use super::service::Service;
use crate::engine::{Health, HealthWatch};

/// The services whose health is reported; the empty name is the whole server.
const NAMES: [&str; 2] = ["", <WalletServiceServer<Service> as NamedService>::NAME];

/// The health service, which follows `health` until `shutdown` is cancelled.
pub async fn service(mut health: HealthWatch, shutdown: CancellationToken) -> HealthServer<impl HealthApi> {
    let (mut reporter, server) = health_reporter();
    let mut known = health.now();
    report(&reporter, known).await;
    tokio::spawn(async move {
        while let Some(Some(now)) = shutdown.run_until_cancelled(health.change(known)).await {
            report(&reporter, now).await;
            known = now;
        }
        // Clients that watch learn that this server stops. Then their streams end, or they would delay the shut-down.
        report(&reporter, Health::NotServing).await;
        for name in NAMES {
            reporter.clear_service_status(name).await;
        }
    });
    server
}

async fn report(reporter: &HealthReporter, health: Health) {
    let status = match health {
        Health::Serving => ServingStatus::Serving,
        Health::NotServing => ServingStatus::NotServing,
    };
    for name in NAMES {
        reporter.set_service_status(name, status).await;
    }
}
