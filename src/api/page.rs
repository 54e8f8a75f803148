//! The headers of what a browser shows: pages, and the files that they load.

use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

/// What a page may load and do: its own files, and calls to its own origin. Nothing runs that is written into the page
/// itself, no other page may frame it, and it submits no form.
///
/// The style sheet of Swagger UI has small images in it, as `data:` URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// No crate in the tree has this name.
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Each header of a page.
const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    // What `frame-ancestors` says, for browsers that do not know that.
    (X_FRAME_OPTIONS, "DENY"),
];

/// Gives an answer the headers of a page.
///
/// A page that moves something calls the API with `fetch`. For a form, `no-referrer` makes browsers hide the origin,
/// and the call would be refused.
pub fn protect(mut response: Response) -> Response {
    let headers = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    response
}
