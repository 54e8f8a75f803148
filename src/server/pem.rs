//! Certificates and private keys, read from PEM files.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// Why a PEM file cannot be used.
#[derive(Debug, Error)]
pub enum PemError {
    #[error("cannot read {}; make it readable for this process, or name another file", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not valid PEM; write it again", path.display())]
    Malformed { path: PathBuf, source: pem::Error },
    #[error("{} holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} holds no private key in PEM (`-----BEGIN PRIVATE KEY-----`); an encrypted one must be decrypted first",
            path.display())]
    NoKey { path: PathBuf },
}

/// The certificates in a file, in order: one or more.
///
/// # Errors
/// If it cannot be read, or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err(PemError::NoCertificate { path: path.to_owned() }),
        read => read.map_err(|error| failed(path, error)),
    }
}

/// The first private key in a file.
///
/// # Errors
/// If it cannot be read, or holds none.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => PemError::NoKey { path: path.to_owned() },
        error => failed(path, error),
    })
}

fn failed(path: &Path, error: pem::Error) -> PemError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(source) => PemError::Read { path, source },
        source => PemError::Malformed { path, source },
    }
}
