//! TLS towards masters: whether a connection is encrypted, and with which checks.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig};

use super::certificate::{Certificate, CertificateError, roots, unusable_roots};
use super::provider;
use super::trust::{Anyone, FromRoot};
use crate::config::{ServerTls, ServerTlsMode};
use crate::wire::Stream;

/// Why a connection to a master is not encrypted as it has to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// The master does not offer TLS.
    #[error("it does not offer TLS, and server_tls.mode is \"{mode}\"")]
    NotOffered {
        /// The mode.
        mode: &'static str,
    },
    /// Its certificate was refused.
    #[error("its certificate is refused (server_tls.mode = \"{mode}\"): {reason}")]
    Certificate {
        /// The mode.
        mode: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The handshake failed otherwise: what it says is about TLS and not about the network.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
    /// The connection broke.
    #[error("{reason}")]
    Broken {
        /// What the system calls it.
        kind: io::ErrorKind,
        /// The system's words.
        reason: String,
    },
}

/// How connections to masters are encrypted. Cheap to clone; the clones share the memory of earlier
/// handshakes, so that a failover does not begin with thousands of full ones.
#[derive(Clone, Debug)]
pub struct MasterTls {
    mode: ServerTlsMode,
    /// `None`: not at all.
    config: Option<Arc<ClientConfig>>,
}

impl MasterTls {
    /// Not at all.
    #[must_use]
    pub fn disabled() -> Self {
        Self { mode: ServerTlsMode::Disabled, config: None }
    }

    /// What `settings` say.
    ///
    /// # Errors
    /// When a file is not what it should be.
    pub fn load(settings: &ServerTls) -> Result<Self, CertificateError> {
        if settings.mode == ServerTlsMode::Disabled {
            return Ok(Self::disabled());
        }
        let unusable = |error: rustls::Error| CertificateError::Unusable {
            cert: settings.cert.clone().unwrap_or_default(),
            key: settings.key.clone().unwrap_or_default(),
            reason: error.to_string(),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier(settings)?);
        let config = match (&settings.cert, &settings.key) {
            (Some(cert), Some(key)) => {
                let own = Certificate::read(cert, key)?;
                builder.with_client_auth_cert(own.chain, own.key).map_err(unusable)?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self { mode: settings.mode, config: Some(Arc::new(config)) })
    }

    /// Whether a connection is to be encrypted. A Unix socket never is: nobody can listen there.
    ///
    /// # Errors
    /// When it has to be, and the master does not offer it.
    pub fn wanted(&self, stream: &Stream, offered: bool) -> Result<bool, TlsFailure> {
        match (stream, self.mode) {
            (Stream::Unix(_), _) | (_, ServerTlsMode::Disabled) => Ok(false),
            (_, ServerTlsMode::Preferred) => Ok(offered),
            (_, _) if offered => Ok(true),
            (_, mode) => Err(TlsFailure::NotOffered { mode: mode.name() }),
        }
    }

    /// Whether anything is ever encrypted.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.mode == ServerTlsMode::Disabled
    }

    /// Shakes hands with the master at `host`, which has been told that TLS begins.
    ///
    /// # Errors
    /// When that comes to nothing, with the reason.
    pub async fn shake_hands(&self, stream: Stream, host: &str) -> Result<Stream, TlsFailure> {
        let Some(config) = &self.config else {
            return Err(TlsFailure::Handshake("server_tls.mode is \"disabled\"".to_owned()));
        };
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            // Where the name is not looked at, it need not be one.
            Err(_) if self.mode < ServerTlsMode::VerifyIdentity => Ipv4Addr::UNSPECIFIED.into(),
            Err(error) => return Err(self.certificate(format!("{host:?}: {error}"))),
        };
        let shaken = stream.connect_tls(name, Arc::clone(config)).await;
        shaken.map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &io::Error) -> TlsFailure {
        let tls = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(wrong)) => self.certificate(sentence(wrong)),
            Some(rustls::Error::AlertReceived(alert)) => {
                TlsFailure::Handshake(format!("the master refused with the alert {alert:?}"))
            }
            Some(other) => TlsFailure::Handshake(other.to_string()),
            None => TlsFailure::Broken { kind: error.kind(), reason: error.to_string() },
        }
    }

    fn certificate(&self, reason: String) -> TlsFailure {
        TlsFailure::Certificate { mode: self.mode.name(), reason }
    }
}

fn verifier(settings: &ServerTls) -> Result<Arc<dyn ServerCertVerifier>, CertificateError> {
    let ca = settings.ca.as_deref().unwrap_or_else(|| std::path::Path::new(""));
    Ok(match settings.mode {
        ServerTlsMode::Disabled | ServerTlsMode::Preferred | ServerTlsMode::Required => {
            Anyone::new()
        }
        ServerTlsMode::VerifyCa => FromRoot::new(roots(ca)?),
        ServerTlsMode::VerifyIdentity => {
            let roots = Arc::new(roots(ca)?);
            WebPkiServerVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(|error| unusable_roots(ca, &error))?
        }
    })
}

/// What is wrong with a certificate, for people.
fn sentence(error: &rustls::CertificateError) -> String {
    use rustls::CertificateError as E;
    match error {
        E::UnknownIssuer => "it does not come from any root in server_tls.ca".to_owned(),
        // Two that are alike but for one word: the server's own copy of its root, most often.
        E::BadSignature => {
            "its signature does not fit the root of that name in server_tls.ca".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "masters_tests.rs"]
mod tests;
