//! TLS with a service of this machine, which is known by its certificate and not by a name.

use std::sync::Arc;

use anyhow::Result;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest as _, Sha256};

/// Trusts the one certificate that has this SHA-256.
///
/// Its names and its end do not matter: the service itself has said that it is its own, in a file of this machine, and
/// it has the key to it. A health check that failed when the certificate ends would have the service restarted, which
/// does not renew it.
///
/// # Errors
/// Never: TLS 1.2 and 1.3 are there.
pub fn trusting(fingerprint: [u8; 32]) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Pinned { fingerprint, algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if <[u8; 32]>::from(Sha256::digest(certificate)) == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::sign::{self, SingleCertAndKey};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// What a client that knows `fingerprint` says to a server that shows `certificate` and signs with `key`.
    async fn connect(
        fingerprint: [u8; 32],
        certificate: &CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> String {
        let key = ring::default_provider().key_provider.load_private_key(key).unwrap();
        let shown = SingleCertAndKey::from(sign::CertifiedKey::new(vec![certificate.clone()], key));
        let server = ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(shown));
        let (here, there) = tokio::io::duplex(64 * 1024);
        let connector = TlsConnector::from(Arc::new(trusting(fingerprint).unwrap()));
        let client = connector.connect(ServerName::try_from("127.0.0.1").unwrap(), here);
        let (client, _) = tokio::join!(client, TlsAcceptor::from(Arc::new(server)).accept(there));
        client.map_or_else(|error| error.to_string(), |_| "trusted".to_owned())
    }

    #[tokio::test]
    async fn one_certificate_is_trusted_of_whoever_has_its_key() {
        let made = || generate_simple_self_signed(["wallet.example".to_owned()]).unwrap();
        let (CertifiedKey { cert, signing_key }, other) = (made(), made());
        let key = |key: &rcgen::KeyPair| PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let fingerprint = Sha256::digest(cert.der()).into();
        assert_eq!(connect(fingerprint, cert.der(), key(&signing_key)).await, "trusted");
        let of_other = connect(fingerprint, other.cert.der(), key(&other.signing_key)).await;
        assert!(of_other.contains("ApplicationVerificationFailure"), "{of_other}");
        let stolen = connect(fingerprint, cert.der(), key(&other.signing_key)).await;
        assert!(stolen.contains("BadSignature"), "{stolen}");
    }
}
