//! Asks a running service whether it is up, for containers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::http::Uri;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// How long the service may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The healthcheck's answer, as the service at `addr` gave it.
///
/// # Errors
/// If it cannot be reached, or says that it cannot serve.
///
/// # Panics
/// If the system cannot start the runtime.
#[tokio::main(flavor = "current_thread")]
pub async fn run(addr: SocketAddr) -> Result<String> {
    let addr = reachable(addr);
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

/// An address that listens on every interface is reached on the loopback one.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    addr
}
