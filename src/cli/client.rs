//! The client of a running service, for each command that asks one.

use std::error::Error;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use super::Usage;
use crate::api::grpc::proto::wallet_service_client::WalletServiceClient;
use crate::config::{Secret, ServiceArgs};

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
/// If the token cannot be sent, or no certificate is trusted here.
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
        let tls = ClientTlsConfig::new().with_native_roots();
        endpoint = endpoint.tls_config(tls).with_context(|| format!("cannot use TLS for {url}"))?;
    }
    Ok(WalletServiceClient::with_interceptor(endpoint.connect_lazy(), Token::read()?))
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
