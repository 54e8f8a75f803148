//! The typed gRPC API: methods parse a request into a command, submit it, and render the outcome.

mod convert;
mod deadline;
mod health;
mod identify;
mod read;
mod reflection;
mod request_body;
mod service;
mod side_streams;
mod status;
mod transact;
mod watch;

use std::time::Duration;

use axum::{Router, middleware};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::util::{MapRequestLayer, MapResponseLayer};
use tower_http::catch_panic::CatchPanicLayer;

use self::identify::IdentifyLayer;
use self::proto::wallet_service_server::WalletServiceServer;
pub use self::read::UnreadableEntry;
use self::service::Service;
pub use self::side_streams::ConnectionStreams;
use crate::access::Access;
use crate::api::feed::FeedOptions;
use crate::api::trace;
use crate::engine::Engine;

/// The contract's messages, client and server, made from `proto/wallet.proto`.
#[allow(clippy::pedantic, rustdoc::bare_urls, reason = "made from the contract, which has the documentation")]
pub mod proto {
    tonic::include_proto!("wallet.v1");
}

/// The metadata of a feed in which clients read the ledger's currency, by its ISO 4217 code.
pub const WALLET_CURRENCY: &str = "wallet-currency";

/// The limits of the gRPC API.
#[derive(Clone, Copy, Debug)]
pub struct GrpcOptions {
    /// The largest request message, in bytes.
    pub message_size_max: usize,
    /// Commands of one `Transact` stream that may be read but not yet answered; the stream is read no further then.
    pub stream_in_flight_max: usize,
    /// `Transact` streams at the same time, on all connections; one more is refused. This and the limit above bound the
    /// memory that clients can use which do not read their answers.
    pub streams_max: usize,
    /// `Watch` streams of the health service at the same time, on all connections; one more is refused.
    pub watches_max: usize,
    /// Whether the service describes itself to whoever asks.
    pub reflection: bool,
    /// Reflection streams at the same time, on all connections; one more is refused.
    pub reflections_max: usize,
    /// How long the one message of a call may take to arrive, and a message of a reflection stream that has begun. A
    /// stream of commands may take its time.
    pub message_timeout: Duration,
    /// How long a reflection stream may be silent between its messages.
    pub idle_timeout: Duration,
    /// How readers of the feed are treated.
    pub feed: FeedOptions,
}

impl Default for GrpcOptions {
    fn default() -> Self {
        Self {
            message_size_max: 64 * 1024,
            stream_in_flight_max: 2 * 1024,
            streams_max: 512,
            watches_max: 1_024,
            reflection: true,
            reflections_max: 64,
            message_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            feed: FeedOptions::default(),
        }
    }
}

/// The whole gRPC service over `engine` for those who have `access`, with health and server reflection, which are open
/// to all. Streams end when `shutdown` is cancelled.
///
/// # Panics
/// Never: the descriptors are made with the program.
pub fn router(engine: Engine, access: Access, options: GrpcOptions, shutdown: CancellationToken) -> Router {
    let health = health::service(engine.health.clone(), options, shutdown.clone());
    let reflection = options.reflection.then(|| reflection::router(options, shutdown.clone()));
    let identify = IdentifyLayer::new(&access);
    let wallet = WalletServiceServer::new(Service::new(engine, access, options, shutdown))
        .max_decoding_message_size(options.message_size_max);
    Routes::new(wallet)
        .add_service(health)
        .into_axum_router()
        .merge(reflection.unwrap_or_default())
        // One layer, not five: each costs every request several allocations.
        .layer((
            middleware::from_fn(trace::trace),
            CatchPanicLayer::custom(status::panicked),
            middleware::from_fn(status::of_grpc_only),
            MapResponseLayer::new(status::normalize_error),
            identify,
            MapRequestLayer::new(move |request| request_body::with_limits(request, options)),
        ))
}
