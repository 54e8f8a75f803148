//! TLS of the service's own: its certificate, which may be replaced while it serves, and those of its clients.

mod accept;
mod certificate;
mod expiry;
mod identity;

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::watch;

pub(super) use self::accept::{Accepted, Door};
use self::identity::Identity;
pub use self::identity::TlsError;
use super::limits::Version;
use crate::config::TlsFiles;
use crate::telemetry::chain;

/// The identity that is in force.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    identity: watch::Sender<Arc<Identity>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub(super) fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let identity = Identity::read(&files)?;
        let tls = Self { files, identity: watch::Sender::new(Arc::new(identity)) };
        tls.warn_of_expiry();
        Ok(tls)
    }

    /// Reads the files again. Connections that are open stay as they are; new ones get what was read.
    pub(super) fn reload(&self) {
        match Identity::read(&self.files) {
            Ok(identity) => {
                let ends = identity.validity.not_after;
                self.identity.send_replace(Arc::new(identity));
                tracing::info!(certificate = %self.files.cert.display(), %ends, "the TLS files were read again");
                self.warn_of_expiry();
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "the TLS files cannot be used: those that were read before stay in force");
            }
        }
    }

    /// How a connection is accepted now where this version of HTTP is at home.
    fn config(&self, version: Version) -> Arc<ServerConfig> {
        self.identity.borrow().config(version)
    }

    /// The SHA-256 of the certificate in force.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.identity.borrow().fingerprint
    }

    /// Waits until another certificate than this one is in force: its SHA-256.
    ///
    /// # Panics
    /// Never: what it waits for lives as long as this.
    pub async fn replaced(&self, fingerprint: [u8; 32]) -> [u8; 32] {
        let mut identity = self.identity.subscribe();
        let replaced = identity.wait_for(|identity| identity.fingerprint != fingerprint).await;
        replaced.expect("it is never closed").fingerprint
    }
}
