//! A certificate authority that is made on the spot, and what it issues.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wallet::config::TlsArgs;
use wallet::engine::{Clock as _, SystemClock};

/// A CA that nobody trusts who is not told to.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Issued {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        Self::of(named(name))
    }

    /// One that ended years ago.
    pub fn ended(name: &str) -> Self {
        let mut params = named(name);
        params.not_after = date_time_ymd(2020, 1, 1);
        Self::of(params)
    }

    fn of(mut params: CertificateParams) -> Self {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate with this common name, as `change` wants it.
    pub fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = named(name);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Issued { certificate: params.signed_by(&key, &self.issuer).expect("a certificate"), key }
    }

    /// One for a service on this machine.
    pub fn issue_server(&self) -> Issued {
        self.issue("wallet", localhost)
    }

    /// One that ended years ago.
    pub fn issue_expired(&self, name: &str) -> Issued {
        self.issue(name, |params| {
            localhost(params);
            params.not_after = date_time_ymd(2020, 1, 1);
        })
    }

    /// One for a service on this machine that ends in so many days.
    pub fn issue_ending_in(&self, days: i64) -> Issued {
        let now = chrono::DateTime::from_timestamp_micros(SystemClock.now().microseconds()).expect("a time");
        let end = now + chrono::TimeDelta::days(days);
        let [year, month, day] = ["%Y", "%m", "%d"].map(|part| end.format(part).to_string());
        let (year, month, day) = (year.parse().unwrap(), month.parse().unwrap(), day.parse().unwrap());
        self.issue("wallet", |params| {
            localhost(params);
            params.not_after = date_time_ymd(year, month, day);
        })
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn localhost(params: &mut CertificateParams) {
    let names = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    params.subject_alt_names = names.subject_alt_names;
}

impl Issued {
    pub fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.serialize_der().try_into().expect("a key")
    }

    /// The certificate and its key in PEM.
    pub fn pem(&self) -> (String, String) {
        (self.certificate.pem(), self.key.serialize_pem())
    }

    /// Writes `NAME.crt` and `NAME.key`, and returns their paths.
    pub fn write(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        fs::write(&cert, self.certificate.pem()).expect("a file");
        fs::write(&key, self.key.serialize_pem()).expect("a file");
        (cert, key)
    }
}

/// The settings of a service that shows `server`, and takes client certificates of `clients`. The files are
/// `server.crt`, `server.key` and `clients.crt`.
pub fn settings(dir: &Path, server: &Issued, clients: Option<&Authority>) -> TlsArgs {
    let (cert, key) = server.write(dir, "server");
    let client_ca = clients.map(|clients| {
        let path = dir.join("clients.crt");
        fs::write(&path, clients.pem()).expect("a file");
        path
    });
    TlsArgs { cert: Some(cert), key: Some(key), client_ca }
}
