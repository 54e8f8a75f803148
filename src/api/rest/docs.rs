//! The OpenAPI description as text, and a page to read it and to try the API.

use std::borrow::Cow;
use std::io::{self, Write};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use tower::util::MapResponseLayer;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui as swagger;

use super::response;
use super::uri::NoQuery;
use crate::api::page;

/// Where the description is served. The page's script names it as well.
const OPENAPI_PATH: &str = "/api/v1/openapi.json";

/// The routes of the description and of the page. The page loads nothing from other servers.
pub fn routes<S: Clone + Send + Sync + 'static>(description: String) -> Router<S> {
    let description = Bytes::from(description);
    let describe = async move |_: NoQuery| response::json(StatusCode::OK, description);
    let page = async || content("text/html; charset=utf-8", include_str!("docs/index.html"));
    let script = async || content("text/javascript; charset=utf-8", include_str!("docs/initializer.js"));
    Router::new()
        .route(OPENAPI_PATH, get(describe))
        .route("/docs", get(async || Redirect::to("/docs/")))
        .route("/docs/", get(page))
        .route("/docs/index.html", get(page))
        .route("/docs/initializer.js", get(script))
        .route("/docs/{*file}", get(asset))
        // Not `layer`, which would have a say in what no route is found for.
        .route_layer(MapResponseLayer::new(page::protect))
}

/// A file of Swagger UI.
async fn asset(Path(file): Path<String>) -> Response {
    match swagger::serve(&file, swagger::Config::default().into()) {
        Ok(Some(file)) => {
            let content_type = HeaderValue::from_str(&file.content_type).expect("a media type is visible ASCII");
            // Not a copy for each request: one client may ask a thousand times, and read nothing.
            let bytes = match file.bytes {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => Bytes::from(bytes),
            };
            ([(CONTENT_TYPE, content_type)], Body::from(bytes)).into_response()
        }
        Ok(None) | Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

fn content(content_type: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static(content_type))], text).into_response()
}

/// Writes a description as indented JSON. Every number in it that has a point is money, and gets `decimals` decimals.
///
/// # Panics
/// Never: a description is plain data.
pub fn write(description: &OpenApi, decimals: u8) -> String {
    let mut text = Vec::new();
    let money = MoneyFormatter { pretty: PrettyFormatter::new(), decimals: decimals.into() };
    description.serialize(&mut Serializer::with_formatter(&mut text, money)).expect("a description is JSON");
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// Writes indented JSON, with money in it.
struct MoneyFormatter {
    pretty: PrettyFormatter<'static>,
    decimals: usize,
}

/// Writes what [`PrettyFormatter`] writes, by the same methods.
macro_rules! as_pretty {
    ($($method:ident($($argument:ident: $type:ty)?))*) => {$(
        fn $method<W: ?Sized + Write>(&mut self, writer: &mut W $(, $argument: $type)?) -> io::Result<()> {
            self.pretty.$method(writer $(, $argument)?)
        }
    )*};
}

impl Formatter for MoneyFormatter {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write!(writer, "{value:.*}", self.decimals)
    }

    as_pretty! {
        begin_array()
        end_array()
        begin_array_value(first: bool)
        end_array_value()
        begin_object()
        end_object()
        begin_object_key(first: bool)
        begin_object_value()
        end_object_value()
    }
}
