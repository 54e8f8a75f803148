//! The typed gRPC door: methods parse a request into a command, submit it, and render the outcome.

mod convert;
mod deadline;
mod health;
mod service;
mod status;
mod transact;

use axum::{Router, middleware};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower_http::catch_panic::CatchPanicLayer;

use self::proto::wallet_service_server::WalletServiceServer;
use self::service::Service;
use crate::api::trace;
use crate::engine::Engine;

/// The contract's messages, client and server, made from `proto/wallet.proto`.
#[allow(clippy::pedantic, rustdoc::bare_urls, reason = "made from the contract, which has the documentation")]
pub mod proto {
    tonic::include_proto!("wallet.v1");
}

/// The contract as it is reflected to clients that have no files.
const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("wallet");

/// What the gRPC door takes.
#[derive(Clone, Copy, Debug)]
pub struct GrpcOptions {
    /// The largest request message, in bytes.
    pub message_size_max: usize,
    /// Commands of one `Transact` stream that may be read but not yet answered; the stream is read no further then.
    pub stream_in_flight_max: usize,
}

impl Default for GrpcOptions {
    fn default() -> Self {
        Self { message_size_max: 64 * 1024, stream_in_flight_max: 4 * 1024 }
    }
}

/// The whole gRPC service over `engine`, with health and server reflection. Streams end when `shutdown` is cancelled.
///
/// # Panics
/// Never: the descriptors are made with the program.
pub async fn router(engine: Engine, options: GrpcOptions, shutdown: CancellationToken) -> Router {
    let health = health::service(engine.health(), shutdown.clone()).await;
    let wallet = WalletServiceServer::new(Service::new(engine, options, shutdown))
        .max_decoding_message_size(options.message_size_max);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that a client without files can also read the details of an error.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    Routes::new(wallet)
        .add_service(health)
        .add_service(reflection().build_v1().expect("the descriptors are valid"))
        // The version that grpcurl spoke for years.
        .add_service(reflection().build_v1alpha().expect("the descriptors are valid"))
        .into_axum_router()
        .layer(middleware::map_response(status::shaped))
        .layer(CatchPanicLayer::custom(status::panicked))
        .layer(middleware::from_fn(trace::trace))
}
