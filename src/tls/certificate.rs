//! Certificates, keys and roots: made, or read from PEM files.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, KeyPair};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::VerifierBuilderError;

/// The name in a certificate that Tandem made itself: an operator who sees it knows where it is from.
const OWN_NAME: &str = "Tandem_Auto_Generated";

/// What is wrong with the files of `[tls]` or `[server_tls]`.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// A file is not PEM, or has nothing in it that is looked for.
    #[error("{}: there is no {what} in it (PEM){}", path.display(), reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}")))]
    Missing {
        /// The file.
        path: PathBuf,
        /// "certificate" or "private key".
        what: &'static str,
        /// What the reader says of it, if it is no PEM at all.
        reason: Option<String>,
    },
    /// A root that is no certificate.
    #[error("{}: {reason}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// The library's words.
        reason: String,
    },
    /// The certificate and the key are each readable, and do not work together.
    #[error("{} with {}: {reason}", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The library's words.
        reason: String,
    },
    /// No certificate could be made.
    #[error("no certificate can be made: {0}")]
    NotMade(String),
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate itself, then those between it and its root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Certificate {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Certificate {
    /// Makes one that vouches for itself: a P-256 key, good for as long as anybody may run.
    ///
    /// # Errors
    /// When the library fails.
    pub fn make() -> Result<Self, CertificateError> {
        let failed = |error: rcgen::Error| CertificateError::NotMade(error.to_string());
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(["localhost".to_owned()]).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, OWN_NAME);
        let made = params.self_signed(&key).map_err(failed)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Self { chain: vec![made.der().clone()], key })
    }

    /// Reads one. Whether key and certificate belong together is found out when they are used.
    ///
    /// # Errors
    /// When a file cannot be read, or does not hold what it should.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, CertificateError> {
        let chain = certificates(cert)?;
        let found = PrivateKeyDer::from_pem_slice(&content(key)?);
        let key = found.map_err(|error| missing(key, "private key", Some(error)))?;
        Ok(Self { chain, key })
    }
}

/// The roots in a file.
///
/// # Errors
/// When it cannot be read, has none, or one of them is not understood.
pub(super) fn roots(path: &Path) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(path)? {
        let added = roots.add(root);
        added.map_err(|error| CertificateError::Root {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// A file of roots that no checks can be made from.
pub(super) fn unusable_roots(path: &Path, error: &VerifierBuilderError) -> CertificateError {
    CertificateError::Root { path: path.to_owned(), reason: error.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let content = content(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match all {
        Ok(all) if all.is_empty() => Err(missing(path, "certificate", None)),
        Ok(all) => Ok(all),
        Err(error) => Err(missing(path, "certificate", Some(error))),
    }
}

fn missing(path: &Path, what: &'static str, error: Option<pem::Error>) -> CertificateError {
    let reason = error
        .filter(|error| !matches!(error, pem::Error::NoItemsFound))
        .map(|error| error.to_string());
    CertificateError::Missing { path: path.to_owned(), what, reason }
}

fn content(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, CertificateError> {
    std::fs::read(path).map(zeroize::Zeroizing::new).map_err(|error| CertificateError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
