//! Certificates of every kind, as files.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A root, in a directory of its own, and what it signs.
pub struct Authority {
    pub ca: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

/// A certificate and its key.
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let ca = directory.path().join("ca.pem");
        write(&ca, "CERTIFICATE", params.self_signed(&key).expect("a root").der());
        Self { ca, issuer: Issuer::new(params, key), directory }
    }

    /// A certificate for these hosts, in files of this name. Signing again replaces them.
    pub fn sign(&self, file: &str, hosts: &[&str]) -> Files {
        let key = KeyPair::generate().expect("a key");
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("names");
        params.distinguished_name.push(DnType::CommonName, file);
        let cert = params.signed_by(&key, &self.issuer).expect("signed");
        let at = |suffix: &str| self.directory.path().join(format!("{file}-{suffix}.pem"));
        let files = Files { cert: at("cert"), key: at("key") };
        write(&files.cert, "CERTIFICATE", cert.der());
        write(&files.key, "PRIVATE KEY", &key.serialize_der());
        files
    }
}

/// In lines of 64: OpenSSL takes no longer ones.
fn write(path: &Path, label: &str, der: &[u8]) {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let pem = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"));
    std::fs::write(path, pem).expect("written");
}
