//! What a certificate says: whose it is, and how long it is valid.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::{self, Decode as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName};

use crate::api::peer::ClientCertificate;
use crate::ledger::Timestamp;

/// A certificate that cannot be read.
#[derive(Debug, Error)]
#[error("a certificate in {} is malformed; write the file again", path.display())]
pub struct Malformed {
    path: PathBuf,
    source: der::Error,
}

/// From when until when all of some certificates are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Validity {
    /// How long all certificates of a chain are valid, which was read from `path`.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn of(chain: &[CertificateDer<'_>], path: &Path) -> Result<Self, Malformed> {
        let forever =
            Self { not_before: Timestamp::from_microseconds(0), not_after: Timestamp::from_microseconds(i64::MAX) };
        chain.iter().try_fold(forever, |all, certificate| {
            let certificate = Certificate::from_der(certificate);
            let certificate = certificate.map_err(|source| Malformed { path: path.to_owned(), source })?;
            let validity = certificate.tbs_certificate().validity();
            Ok(Self {
                not_before: all.not_before.max(timestamp(validity.not_before.to_unix_duration())),
                not_after: all.not_after.min(timestamp(validity.not_after.to_unix_duration())),
            })
        })
    }
}

fn timestamp(since_epoch: Duration) -> Timestamp {
    Timestamp::from_microseconds(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

/// Whether a certificate, which was read from `path`, is one of an authority (RFC 5280, sections 4.2.1.3 and 4.2.1.9).
/// The TLS library takes whatever it is told to trust for one: whoever has a certificate of another kind could then
/// make more of them.
///
/// # Errors
/// [`Malformed`].
pub fn is_authority(certificate: &CertificateDer<'_>, path: &Path) -> Result<bool, Malformed> {
    let read = || {
        let certificate = Certificate::from_der(certificate)?;
        let certificate = certificate.tbs_certificate();
        let constraints = certificate.get_extension::<BasicConstraints>()?;
        let usage = certificate.get_extension::<KeyUsage>()?;
        let is_ca = constraints.is_some_and(|(_, constraints)| constraints.ca);
        Ok(is_ca && usage.is_none_or(|(_, usage)| usage.key_cert_sign()))
    };
    read().map_err(|source: der::Error| Malformed { path: path.to_owned(), source })
}

/// The names in a certificate: those of the subject alternative name (DNS names and URIs), in order, or if there are
/// none, the common name (RFC 9525, section 6.3: no authority is bound to check that beside others). A URI without a
/// scheme is left out: it could be taken for a DNS name. So is a name with a control character, which could forge a
/// line of a log.
///
/// # Errors
/// If the certificate is malformed.
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, der::Error> {
    let certificate = Certificate::from_der(certificate)?;
    let certificate = certificate.tbs_certificate();
    let alternative = certificate.get_extension::<SubjectAltName>()?.map(|(_, SubjectAltName(names))| names);
    let alternative = alternative.into_iter().flatten().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()).filter(|name| !name.contains(':')),
        GeneralName::UniformResourceIdentifier(name) => Some(name.to_string()).filter(|name| name.contains(':')),
        _ => None,
    });
    let mut names: Vec<String> = alternative.collect();
    if names.is_empty() {
        names.extend(certificate.subject().common_name()?.map(|name| name.value().into_owned()));
    }
    names.retain(|name| !name.is_empty() && !name.contains(char::is_control));
    Ok(names)
}

/// What a client's certificate says of it.
///
/// # Errors
/// If the certificate is malformed.
pub fn client_certificate(certificate: &CertificateDer<'_>) -> Result<ClientCertificate, der::Error> {
    let not_after = Certificate::from_der(certificate)?.tbs_certificate().validity().not_after;
    Ok(ClientCertificate { names: names(certificate)?, not_after: timestamp(not_after.to_unix_duration()) })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn only_an_authority_is_one() {
        let path = Path::new("ca.crt");
        let authority = made(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
        let engine = made(|params| params.is_ca = rcgen::IsCa::ExplicitNoCa);
        let signs_nothing = made(|params| {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        });
        let checked = [authority, engine, made(|_| ()), signs_nothing].map(|one| is_authority(&one, path).unwrap());
        assert_eq!(checked, [true, false, false, false]);
        assert!(is_authority(&CertificateDer::from(vec![0x30, 1, 2]), path).is_err());
    }

    #[test]
    fn names_are_those_of_the_alternative_name_or_else_the_common_one() {
        let certificate = made(|params| {
            params.distinguished_name.push(DnType::OrganizationName, "games");
            params.distinguished_name.push(DnType::CommonName, "Engine Ä");
            params.subject_alt_names = vec![
                SanType::DnsName("engine.example".try_into().unwrap()),
                SanType::Rfc822Name("somebody@example.com".try_into().unwrap()),
                SanType::URI("spiffe://example/engine".try_into().unwrap()),
                SanType::URI("operator.example".try_into().unwrap()),
                SanType::IpAddress([127, 0, 0, 1].into()),
            ];
        });
        assert_eq!(names(&certificate).unwrap(), ["engine.example", "spiffe://example/engine"]);
        let common = made(|params| params.distinguished_name.push(DnType::CommonName, "Engine Ä"));
        assert_eq!(names(&common).unwrap(), ["Engine Ä"]);
    }

    #[test]
    fn a_certificate_may_have_no_name_and_none_forges_a_line() {
        let nameless = made(|params| params.distinguished_name = rcgen::DistinguishedName::new());
        assert_eq!(names(&nameless).unwrap(), [""; 0]);
        let forged = made(|params| params.distinguished_name.push(DnType::CommonName, "a\nlevel=ERROR"));
        assert_eq!(names(&forged).unwrap(), [""; 0]);
        assert!(names(&CertificateDer::from(vec![0x30, 1, 2])).is_err());
    }

    #[test]
    fn a_chain_is_valid_as_long_as_all_of_it_is() {
        let of = |from, to| {
            made(|params| (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1)))
        };
        let chain = [of(2020, 2060), of(2024, 2090), of(2022, 2030)];
        let validity = Validity::of(&chain, Path::new("x")).unwrap();
        assert_eq!(validity.not_before.to_string(), "2024-01-01T00:00:00.000000Z");
        assert_eq!(validity.not_after.to_string(), "2030-01-01T00:00:00.000000Z");
        let broken = Validity::of(&[CertificateDer::from(vec![1])], Path::new("x.pem")).unwrap_err();
        assert!(broken.to_string().contains("x.pem"), "{broken}");
    }
}
