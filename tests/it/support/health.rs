//! The service's health.

use std::time::{Duration, Instant};

use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::client;
use super::http::HttpClient;
use super::process::Process;

/// The service's health, as both APIs report it.
pub struct Health {
    rest: HttpClient,
    grpc: HealthClient<Channel>,
}

impl Health {
    pub async fn of(process: &Process) -> Self {
        let channel = client::channel(process.grpc).await;
        Self { rest: HttpClient::new(process.http), grpc: HealthClient::new(channel) }
    }

    /// Whether it is up, by REST and by gRPC.
    pub async fn now(&mut self) -> (bool, bool) {
        let reply = self.rest.get("/api/v1/healthcheck").await;
        if reply.status != 200 {
            assert_eq!((reply.status, reply.header("wallet-reason")), (503, "UNAVAILABLE"));
            assert!(!reply.header("retry-after").is_empty());
        }
        let request = HealthCheckRequest { service: "wallet.v1.WalletService".to_owned() };
        let status = self.grpc.check(request).await.unwrap().into_inner().status();
        (reply.status == 200, status == ServingStatus::Serving)
    }

    /// Waits until both APIs report this.
    pub async fn becomes(&mut self, up: bool) {
        let begun = Instant::now();
        while self.now().await != (up, up) {
            assert!(begun.elapsed() < Duration::from_secs(20), "health does not become {up}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
