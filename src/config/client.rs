//! Which running service a command asks, and the secrets that it brings.

use std::env::{self, VarError};

use axum::http::Uri;
use clap::Args;

use super::value::server_url;
use super::{Address, ClientTlsArgs};

/// Which running service is asked.
#[derive(Clone, Debug, Args)]
pub struct ServiceArgs {
    /// Where the service's gRPC API listens
    #[arg(
        id = "service_grpc_addr",
        long = "grpc-addr",
        env = "WALLET_GRPC_ADDR",
        default_value = "127.0.0.1:50051",
        value_name = "HOST:PORT"
    )]
    grpc_addr: Address,
    /// The URL of the service's gRPC API, such as `https://wallet.example`; wins over --grpc-addr
    #[arg(long, env = "WALLET_SERVER", value_name = "URL", value_parser = server_url)]
    server: Option<Uri>,
    #[command(flatten)]
    pub tls: ClientTlsArgs,
}

impl ServiceArgs {
    /// The URL of the service's gRPC API, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        if let Some(url) = &self.server {
            return url.to_string().trim_end_matches('/').to_owned();
        }
        let scheme = if self.tls.is_given() { "https" } else { "http" };
        format!("{scheme}://{}", self.grpc_addr.clone().reachable())
    }
}

/// A setting that is a variable and no flag: every user of a machine can read the command lines of its processes.
#[derive(Clone, Copy, Debug)]
pub enum Secret {
    /// The token that a client of a running service sends.
    Token,
    /// The secrets that the relay signs with.
    RelaySecret,
}

impl Secret {
    pub const ALL: [Self; 2] = [Self::Token, Self::RelaySecret];

    /// The name of the variable.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Token => "WALLET_TOKEN",
            Self::RelaySecret => "WALLET_RELAY_SECRET",
        }
    }

    /// The value; `None` if it is not set, or empty.
    ///
    /// # Errors
    /// A sentence without the value, if that is no text.
    pub fn read(self) -> Result<Option<String>, String> {
        match env::var(self.variable()) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(format!("{} is no text", self.variable())),
        }
    }
}
