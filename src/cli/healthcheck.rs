//! Asks a running service whether it is up, for containers.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::http::Uri;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::config::HealthcheckArgs;
use crate::server::ServedAt;

/// How long the service may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The healthcheck's answer, as the service gave it.
///
/// # Errors
/// If it cannot be reached, or says that it cannot serve.
///
/// # Panics
/// If the system cannot start the runtime.
#[tokio::main(flavor = "current_thread")]
pub async fn run(args: HealthcheckArgs) -> Result<String> {
    let HealthcheckArgs { http_addr, http_addr_default, database } = args;
    let served_at = || ServedAt::read(&database.url).map(|served_at| served_at.http.into());
    let addr = http_addr.or_else(served_at).unwrap_or(http_addr_default).reachable();
    let uri: Uri = format!("http://{addr}/api/v1/healthcheck").parse()?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let ask = async {
        let response = client.get(uri).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let answer = tokio::time::timeout(TIMEOUT, ask).await;
    let (status, body) = answer
        .with_context(|| format!("{addr} did not answer within {} s", TIMEOUT.as_secs()))?
        .with_context(|| format!("cannot reach the service at {addr}"))?;
    if !status.is_success() {
        bail!("{addr} answered {status}: {body}");
    }
    Ok(body)
}
