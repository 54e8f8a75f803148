//! The client of a running service, for each command that asks one.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use super::Usage;
use crate::api::grpc::proto::wallet_service_client::WalletServiceClient;
use crate::config::{ClientTlsArgs, Secret, ServiceArgs};
use crate::server::pem::{self, PemError};

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long it may take to answer that.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of a service's gRPC API.
pub type Client = WalletServiceClient<InterceptedService<Channel, Token>>;

/// The caller's token, sent with each call, if there is one.
#[derive(Clone)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Token {
    fn read() -> Result<Self> {
        let Some(token) = Secret::Token.read().map_err(Usage)? else { return Ok(Self(None)) };
        let value = format!("Bearer {}", token.trim()).parse();
        let mut value: MetadataValue<Ascii> =
            value.map_err(|_| Usage(format!("{} holds no token", Secret::Token.variable())))?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A client of `service`. It connects when it is first used, and again when a connection was lost.
///
/// # Errors
/// If the token cannot be sent, a file cannot be used, or no certificate is trusted here.
///
/// # Panics
/// Outside a runtime.
pub fn connect(service: &ServiceArgs) -> Result<Client> {
    let url = service.url();
    let mut endpoint = Endpoint::from_shared(url.clone())?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    if endpoint.uri().scheme_str() == Some("https") {
        endpoint = endpoint.tls_config(tls(&service.tls)?).with_context(|| format!("cannot use TLS for {url}"))?;
    } else if service.tls.is_given() {
        return Err(Usage(format!(
            "{url} is without TLS, but --tls-ca or --tls-client-cert is given; begin it with https"
        ))
        .into());
    }
    Ok(WalletServiceClient::with_interceptor(endpoint.connect_lazy(), Token::read()?))
}

/// How the settings say that TLS is spoken.
fn tls(args: &ClientTlsArgs) -> Result<ClientTlsConfig> {
    let tls = match &args.ca {
        None => ClientTlsConfig::new().with_native_roots(),
        Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca, pem::certificates)?)),
    };
    let Some((cert, key)) = args.cert.as_ref().zip(args.key.as_ref()) else { return Ok(tls) };
    let (cert, key) = (read(cert, pem::certificates)?, read(key, pem::private_key)?);
    Ok(tls.identity(Identity::from_pem(cert, key)))
}

/// The bytes of a PEM file, once `parse` finds in it what is needed: tonic does not say which file it cannot use.
fn read<T>(path: &Path, parse: fn(&Path) -> Result<T, PemError>) -> Result<Vec<u8>> {
    parse(path)?;
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Why a call failed, in one line: the status and its causes.
pub fn cause(status: &Status) -> String {
    let mut text = format!("{}: {}", status.code(), status.message());
    let mut source = status.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
