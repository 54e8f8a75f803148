//! Asks a running service whether it is up, for containers.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::http::Uri;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::pinned;
use crate::config::{Address, HealthcheckArgs};
use crate::server::{ServedAt, pem};

/// How long the service may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Which service is asked.
struct Service {
    addr: Address,
    /// How TLS is spoken with it, if it is.
    tls: Option<ClientConfig>,
}

impl Service {
    /// The one that the settings name, or else the one of the database, which says itself which certificate it shows.
    fn find(args: HealthcheckArgs) -> Result<Self> {
        let HealthcheckArgs { http_addr, http_addr_default, tls_ca, database } = args;
        let tls = || tls_ca.map(|path| trusting(pem::certificates(&path)?)).transpose();
        let found = || ServedAt::read(&database.url);
        let (addr, tls) = match http_addr.map_or_else(|| found().ok_or(http_addr_default), Err) {
            Err(addr) => (addr, tls()?),
            Ok(served_at) => (served_at.http.into(), served_at.certificate.map(pinned::trusting).transpose()?),
        };
        Ok(Self { addr: addr.reachable(), tls })
    }
}

/// Speaks TLS with a service whose certificate one of these CAs vouches for.
fn trusting(cas: impl IntoIterator<Item = CertificateDer<'static>>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        roots.add(ca).context("cannot use a certificate of --tls-ca as a CA")?;
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// The healthcheck's answer, as the service gave it.
///
/// # Errors
/// If it cannot be reached or trusted, or says that it cannot serve.
///
/// # Panics
/// If the system cannot start the runtime.
#[tokio::main(flavor = "current_thread")]
pub async fn run(args: HealthcheckArgs) -> Result<String> {
    let Service { addr, tls } = Service::find(args)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let uri: Uri = format!("{scheme}://{addr}/api/v1/healthcheck").parse()?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls.map_or_else(|| trusting([]), Ok)?);
    let connector = connector.https_or_http().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
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
