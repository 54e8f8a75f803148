//! The JSON REST API: handlers parse a request into a command, submit it, and render the outcome.

mod batch;
mod body;
mod commands;
mod docs;
mod error;
mod feed;
mod host;
mod names;
mod openapi;
mod origin;
mod permitted;
mod plaintext;
mod precheck;
mod reads;
mod request;
mod response;
mod unparsed;
mod uri;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, Request};
use axum::{Router, middleware};
use tokio::time::Instant;
use tower::util::MapResponseLayer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::names::{Names, ReadError, read_object};
pub use self::origin::AllowedHosts;
pub use self::plaintext::plaintext;
use self::precheck::PrecheckLayer;
pub use self::response::{Decimal, EntryAnswer};
pub use self::unparsed::documented;
use crate::access::Access;
use crate::api::feed::FeedOptions;
use crate::api::trace;
use crate::engine::Engine;
use crate::ledger::{Currency, DecimalError};

/// The limits of the REST API.
#[derive(Clone, Copy, Debug)]
pub struct RestOptions {
    /// The largest request body, in bytes.
    pub body_size_max: usize,
    /// The largest body of a batch of commands, in bytes.
    pub batch_size_max: usize,
    /// How long a whole request body may take to arrive.
    pub body_timeout: Duration,
    /// How long a command may wait for its decision, and a read for its answer.
    pub command_timeout: Duration,
    /// Whether an amount that a float all but missed is taken for the one that was meant.
    pub legacy_floats: bool,
    /// How readers of the feed are treated.
    pub feed: FeedOptions,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self {
            body_size_max: 64 * 1024,
            batch_size_max: 1024 * 1024,
            body_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(10),
            legacy_floats: false,
            feed: FeedOptions::default(),
        }
    }
}

/// What every handler shares.
struct RestState {
    engine: Engine,
    access: Access,
    options: RestOptions,
}

impl RestState {
    const fn amounts(&self) -> Amounts {
        Amounts { currency: self.engine.currency, legacy_floats: self.options.legacy_floats }
    }

    /// When a command or a read that comes now must be answered; `None` if that is too far away to be represented.
    fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.options.command_timeout)
    }
}

/// How the amounts of a request are read.
#[derive(Clone, Copy, Debug)]
struct Amounts {
    currency: Currency,
    legacy_floats: bool,
}

impl Amounts {
    /// Reads the text of a JSON number as minor units.
    fn parse_minor(self, text: &str) -> Result<i64, DecimalError> {
        match self.currency.parse_minor(text) {
            Err(DecimalError::TooFine(_)) if self.legacy_floats => self.currency.parse_minor_tolerant(text),
            parsed => parsed,
        }
    }
}

type SharedState = Arc<RestState>;

impl FromRef<SharedState> for RestOptions {
    fn from_ref(state: &SharedState) -> Self {
        state.options
    }
}

/// The whole REST API over `engine` for those who have `access`, with its OpenAPI description and a page to try it,
/// which works under these hosts.
pub fn router(engine: Engine, access: Access, options: RestOptions, hosts: AllowedHosts) -> Router {
    let (router, _) = routes().split_for_parts();
    // Every request clones what its layers hold, and all processors share the count of clones: one of them is enough.
    let known = Arc::new((hosts, access.clone()));
    let refusal = move |request: &Request| {
        let (hosts, access) = &*known;
        host::refusal(request).or_else(|| hosts.refusal(request, access))
    };
    router
        .merge(docs::routes(openapi(engine.currency)))
        .with_state(Arc::new(RestState { engine, access, options }))
        // One layer, not four: each costs every request several allocations.
        .layer((
            middleware::from_fn(trace::trace),
            CatchPanicLayer::custom(error::panicked),
            PrecheckLayer::new(refusal),
            MapResponseLayer::new(error::normalize_error),
        ))
}

/// The OpenAPI 3.1 description of the API over a ledger in this currency, as indented JSON.
#[must_use]
pub fn openapi(currency: Currency) -> String {
    docs::write(&openapi::describe(routes(), currency), currency.decimals())
}

fn routes() -> OpenApiRouter<SharedState> {
    OpenApiRouter::new()
        .routes(routes!(reads::healthcheck))
        .routes(routes!(reads::livez))
        .routes(routes!(reads::readyz))
        .routes(routes!(commands::charge))
        .routes(routes!(commands::win))
        .routes(routes!(commands::play))
        .routes(routes!(commands::rollback))
        .routes(routes!(batch::batch))
        .routes(routes!(commands::create_user))
        .routes(routes!(reads::user))
        .routes(routes!(reads::entries))
        .routes(routes!(reads::event))
        .routes(routes!(commands::freeze))
        .routes(routes!(commands::unfreeze))
        .routes(routes!(commands::deposit))
        .routes(routes!(commands::withdraw))
        .routes(routes!(feed::entries))
        .routes(routes!(feed::stream))
        .routes(routes!(reads::checkpoint))
}
