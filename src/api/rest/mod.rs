//! The JSON REST API: handlers parse a request into a command, submit it, and render the outcome.

mod body;
mod commands;
mod error;
mod host;
mod openapi;
mod reads;
mod request;
mod response;
mod unparsed;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use axum::{Router, middleware};
use tokio::time::Instant;
use tower::util::MapResponseLayer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{self as swagger, SwaggerUi};

pub use self::unparsed::documented;
use crate::api::trace;
use crate::engine::Engine;

/// Where the OpenAPI description of this API is served.
const OPENAPI_PATH: &str = "/api/v1/openapi.json";
/// Where a page to read it, and to try the API, is served.
const DOCS_PATH: &str = "/docs";

/// The limits of the REST API.
#[derive(Clone, Copy, Debug)]
pub struct RestOptions {
    /// The largest request body, in bytes.
    pub body_size_max: usize,
    /// How long a whole request body may take to arrive.
    pub body_timeout: Duration,
    /// How long a command may wait for its decision.
    pub command_timeout: Duration,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self {
            body_size_max: 64 * 1024,
            body_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(10),
        }
    }
}

/// What every handler shares.
struct RestState {
    engine: Engine,
    options: RestOptions,
}

impl RestState {
    /// When a command that is submitted now must be decided; `None` if that is too far away to be represented.
    fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.options.command_timeout)
    }
}

type SharedState = Arc<RestState>;

impl FromRef<SharedState> for RestOptions {
    fn from_ref(state: &SharedState) -> Self {
        state.options
    }
}

/// The whole REST API over `engine`, with its OpenAPI description and a page to try it.
pub fn router(engine: Engine, options: RestOptions) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .merge(docs())
        .with_state(Arc::new(RestState { engine, options }))
        // One layer, not three: each costs every request several allocations.
        .layer((
            middleware::from_fn(trace::trace),
            CatchPanicLayer::custom(error::panicked),
            host::HostLayer,
            MapResponseLayer::new(error::normalize_error),
        ))
}

/// The page. It loads nothing from other servers.
fn docs() -> SwaggerUi {
    let page = SwaggerUi::new(DOCS_PATH).config(swagger::Config::default().validator_url("none"));
    page.url(OPENAPI_PATH, openapi::describe(routes()))
}

/// The OpenAPI 3.1 description of the API, as indented JSON.
///
/// # Panics
/// Never: the description is plain data.
#[must_use]
pub fn openapi() -> String {
    openapi::describe(routes()).to_pretty_json().expect("the description can be written as JSON")
}

fn routes() -> OpenApiRouter<SharedState> {
    OpenApiRouter::new()
        .routes(routes!(reads::healthcheck))
        .routes(routes!(commands::charge))
        .routes(routes!(commands::win))
        .routes(routes!(commands::rollback))
        .routes(routes!(commands::create_user))
        .routes(routes!(reads::user))
        .routes(routes!(reads::entries))
        .routes(routes!(commands::deposit))
        .routes(routes!(commands::withdraw))
        .routes(routes!(reads::checkpoint))
}
