//! Server reflection, so that a client such as `grpcurl` needs no files.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_reflection::server::Builder;

/// The contract, as the program was made from it.
const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("wallet");

/// Both versions of server reflection. Their streams end when `shutdown` is cancelled.
pub fn router(shutdown: CancellationToken) -> Router {
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that a client without files can also read the details of an error.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    Routes::new(builder().build_v1().expect("the descriptors are valid"))
        // The version that older releases of grpcurl speak.
        .add_service(builder().build_v1alpha().expect("the descriptors are valid"))
        .into_axum_router()
        .reset_fallback()
        .layer(middleware::from_fn_with_state(shutdown, until_shutdown))
}

/// Ends the client's side of a stream at shut-down: a client that leaves its stream open would delay it.
async fn until_shutdown(State(shutdown): State<CancellationToken>, request: Request, next: Next) -> Response {
    let end = shutdown.cancelled_owned();
    let request = request.map(|body: Body| Body::from_stream(body.into_data_stream().take_until(end)));
    next.run(request).await
}
