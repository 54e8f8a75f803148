//! The certificates of the service, and of the commands that ask one.

use std::path::PathBuf;

use clap::Args;

/// The files with which the service speaks TLS itself.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsArgs {
    /// The service's certificate in PEM, followed by its intermediate ones; both APIs then speak TLS only
    #[arg(id = "tls_cert", long = "tls-cert", env = "WALLET_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    pub cert: Option<PathBuf>,

    /// The private key of that certificate, in PEM and not encrypted
    #[arg(id = "tls_key", long = "tls-key", env = "WALLET_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// The CAs of client certificates, in PEM; a client may then bring one, which must be valid
    #[arg(
        id = "tls_client_ca",
        long = "tls-client-ca",
        env = "WALLET_TLS_CLIENT_CA",
        requires = "tls_cert",
        value_name = "FILE"
    )]
    pub client_ca: Option<PathBuf>,
}

/// The files of a service that speaks TLS.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// The files; `None` if the service speaks without TLS.
    #[must_use]
    pub fn files(&self) -> Option<TlsFiles> {
        let (cert, key) = self.cert.clone().zip(self.key.clone())?;
        Some(TlsFiles { cert, key, client_ca: self.client_ca.clone() })
    }
}

impl TlsFiles {
    /// The paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        [&self.cert, &self.key].into_iter().chain(&self.client_ca).cloned().collect()
    }
}

/// How a command speaks TLS with a running service.
#[derive(Clone, Debug, Default, Args)]
pub struct ClientTlsArgs {
    /// The CAs of the service's certificate in PEM, instead of those that this machine trusts; --grpc-addr is then
    /// spoken to over TLS
    #[arg(id = "tls_ca", long = "tls-ca", env = "WALLET_TLS_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// The certificate that this command shows the service, in PEM; --grpc-addr is then spoken to over TLS
    #[arg(
        id = "tls_client_cert",
        long = "tls-client-cert",
        env = "WALLET_TLS_CLIENT_CERT",
        requires = "tls_client_key",
        value_name = "FILE"
    )]
    pub cert: Option<PathBuf>,

    /// The private key of that certificate, in PEM and not encrypted
    #[arg(
        id = "tls_client_key",
        long = "tls-client-key",
        env = "WALLET_TLS_CLIENT_KEY",
        requires = "tls_client_cert",
        value_name = "FILE"
    )]
    pub key: Option<PathBuf>,
}

impl ClientTlsArgs {
    /// Whether any of the files is given.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.ca.is_some() || self.cert.is_some()
    }
}
