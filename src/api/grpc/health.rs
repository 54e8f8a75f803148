//! `grpc.health.v1`, tied to whether the ledger can commit.

use std::pin::Pin;

use futures::{Stream, StreamExt as _, future, stream};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthApi, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::GrpcOptions;
use super::proto::wallet_service_server::WalletServiceServer;
use super::service::Service;
use super::side_streams::StreamLimit;
use crate::api::reason::{Problem, Reason};
use crate::engine::{Health, HealthWatch};

/// The services whose health is reported; the empty name is the whole server.
const NAMES: [&str; 2] = ["", <WalletServiceServer<Service> as NamedService>::NAME];

/// The health service, which follows `health` until `shutdown` is cancelled.
pub fn service(health: HealthWatch, options: GrpcOptions, shutdown: CancellationToken) -> HealthServer<impl HealthApi> {
    let (sender, status) = watch::channel(status(health.now()));
    tokio::spawn(follow(health, sender, shutdown.clone()));
    HealthServer::new(HealthService { status, watches: StreamLimit::new(options.watches_max), shutdown })
        .max_decoding_message_size(options.message_size_max)
}

/// Reports every change. At shut-down clients that watch learn that this server stops. Then their streams end, or they
/// would delay the shut-down.
async fn follow(mut health: HealthWatch, sender: watch::Sender<ServingStatus>, shutdown: CancellationToken) {
    let mut known = health.now();
    loop {
        let now = status(known);
        sender.send_if_modified(|status| std::mem::replace(status, now) != now);
        match shutdown.run_until_cancelled(health.change(known)).await {
            Some(Some(changed)) => known = changed,
            Some(None) | None => break,
        }
    }
    let last = ServingStatus::NotServing;
    sender.send_if_modified(|status| std::mem::replace(status, last) != last);
}

const fn status(health: Health) -> ServingStatus {
    match health {
        Health::Serving => ServingStatus::Serving,
        Health::NotServing => ServingStatus::NotServing,
    }
}

struct HealthService {
    status: watch::Receiver<ServingStatus>,
    watches: StreamLimit,
    shutdown: CancellationToken,
}

#[tonic::async_trait]
impl HealthApi for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !NAMES.contains(&request.get_ref().service.as_str()) {
            let message = "No such service".to_owned();
            return Err(Problem { message, ..Problem::from(Reason::NotFound) }.into());
        }
        Ok(Response::new(response(*self.status.borrow())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let statuses = if NAMES.contains(&request.get_ref().service.as_str()) {
            WatchStream::new(self.status.clone()).left_stream()
        } else {
            // It says when the service becomes known, and none ever does.
            let end = self.shutdown.clone().cancelled_owned();
            let unknown = stream::once(future::ready(ServingStatus::ServiceUnknown));
            unknown.chain(stream::pending().take_until(end)).right_stream()
        };
        let statuses = self.watches.admit(request.extensions(), statuses)?;
        Ok(Response::new(Box::pin(statuses.map(|status| Ok(response(status))))))
    }
}

const fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}
