//! Who the service is to its clients, and which client certificates it takes: what the files say.

use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::VerifierBuilderError;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::certificate::{Malformed, Validity, is_authority};
use crate::config::TlsFiles;
use crate::engine::{Clock as _, SystemClock};
use crate::server::limits::Version;
use crate::server::pem::{self, PemError};

/// HTTP/2 and HTTP/1.1, as a client asks for them in the handshake (RFC 7301).
pub const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Why the service cannot speak TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the key in {} is not that of the first certificate in {}; name the two that belong together",
            key.display(), cert.display())]
    KeyMismatch { cert: PathBuf, key: PathBuf },
    #[error("cannot use the certificate in {} with the key in {}", cert.display(), key.display())]
    Unusable { cert: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("cannot use a certificate in {} as a CA", path.display())]
    ClientCa { path: PathBuf, source: rustls::Error },
    #[error("a certificate in {} is not one of an authority (CA:TRUE): it could make others", path.display())]
    NoAuthority { path: PathBuf },
    #[error("a CA in {} has ended; replace it", path.display())]
    EndedAuthority { path: PathBuf },
    #[error("cannot verify client certificates with {}", path.display())]
    Verifier { path: PathBuf, source: VerifierBuilderError },
}

/// What new connections are shown and asked for.
#[derive(Debug)]
pub struct Identity {
    rest: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
    /// How long the certificate and those that vouch for it are valid.
    pub validity: Validity,
    /// The SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
}

impl Identity {
    /// What the files say now.
    ///
    /// # Errors
    /// [`TlsError`], which names the file.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let TlsFiles { cert, key, client_ca } = files;
        let provider = Arc::new(ring::default_provider());
        let chain = pem::certificates(cert)?;
        let validity = Validity::of(&chain, cert)?;
        let fingerprint = Sha256::digest(&chain[0]).into();
        let certified = CertifiedKey::from_der(chain, pem::private_key(key)?, &provider);
        let certified = certified.map_err(|source| match source {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::KeyMismatch { cert: cert.clone(), key: key.clone() }
            }
            source => TlsError::Unusable { cert: cert.clone(), key: key.clone(), source },
        })?;
        let verifier = client_ca.as_ref().map(|path| verifier(path, &provider)).transpose()?;
        let config = |protocols: &[&[u8]]| {
            let unusable = |source| TlsError::Unusable { cert: cert.clone(), key: key.clone(), source };
            let resolver = Arc::new(SingleCertAndKey::from(certified.clone()));
            config(&provider, verifier.clone(), resolver, protocols).map_err(unusable)
        };
        Ok(Self { rest: config(&[H2, HTTP_1_1])?, grpc: config(&[H2])?, validity, fingerprint })
    }

    /// How a connection is accepted where this version of HTTP is at home.
    pub fn config(&self, version: Version) -> Arc<ServerConfig> {
        Arc::clone(match version {
            Version::Http1 => &self.rest,
            Version::Http2 => &self.grpc,
        })
    }
}

/// Verifies the certificates of clients that bring one. Whether one is needed is for the API to say, call by call.
fn verifier(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(path)? {
        if !is_authority(&certificate, path)? {
            return Err(TlsError::NoAuthority { path: path.to_owned() });
        }
        // The TLS library does not look at the dates of what it trusts.
        if Validity::of(slice::from_ref(&certificate), path)?.not_after <= SystemClock.now() {
            return Err(TlsError::EndedAuthority { path: path.to_owned() });
        }
        roots.add(certificate).map_err(|source| TlsError::ClientCa { path: path.to_owned(), source })?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = verifier.allow_unauthenticated().build();
    verifier.map_err(|source| TlsError::Verifier { path: path.to_owned(), source })
}

fn config(
    provider: &Arc<CryptoProvider>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    resolver: Arc<SingleCertAndKey>,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&versions)?;
    let mut config = match verifier {
        None => builder.with_no_client_auth().with_cert_resolver(resolver),
        Some(verifier) => {
            let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver);
            // A session that is resumed would not show its certificate again, which may have ended meanwhile.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}
