//! TLS towards clients: what is offered now, and the files that it comes from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;

use super::certificate::{Certificate, CertificateError, roots, unusable_roots};
use super::provider;
use crate::config::{ClientCertificates, Tls, TlsMode};

/// Between two looks at the files' dates. Whoever replaces a certificate replaces its key as well,
/// one after the other: they are read when they have been at rest for that long.
const LOOK: Duration = Duration::from_secs(2);

/// What clients are offered.
#[derive(Debug)]
pub struct Offer {
    /// For applications; it may ask them for certificates.
    pub clients: Arc<ServerConfig>,
    /// For the console, whose users have a password.
    pub console: Arc<ServerConfig>,
    /// SHA-256 of the certificate, by which MariaDB's clients know that who has the password's hash
    /// is also who shook hands with them.
    pub fingerprint: [u8; 32],
    /// Whether clients that come over TCP without TLS are refused.
    pub required: bool,
}

impl Offer {
    /// What `settings` say; `None` when they say that TLS is not offered.
    ///
    /// # Errors
    /// When a file is not what it should be.
    pub fn load(settings: &Tls) -> Result<Option<Self>, CertificateError> {
        if settings.mode == TlsMode::Disabled {
            return Ok(None);
        }
        let certificate = match (&settings.cert, &settings.key) {
            (Some(cert), Some(key)) => Certificate::read(cert, key)?,
            _ => Certificate::make()?,
        };
        let mut fingerprint = [0; 32];
        let leaf = certificate.chain.first().map_or(&[][..], |leaf| leaf.as_ref());
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, leaf).as_ref());
        let nobody = WebPkiClientVerifier::no_client_auth();
        let clients = match &settings.ca {
            Some(ca) => verifier(ca, settings.client_certificates)?,
            None => Arc::clone(&nobody),
        };
        let unusable = |error: tokio_rustls::rustls::Error| CertificateError::Unusable {
            cert: settings.cert.clone().unwrap_or_default(),
            key: settings.key.clone().unwrap_or_default(),
            reason: error.to_string(),
        };
        Ok(Some(Self {
            console: server_config(nobody, certificate.clone()).map_err(unusable)?,
            clients: server_config(clients, certificate).map_err(unusable)?,
            fingerprint,
            required: settings.is_required(),
        }))
    }
}

fn verifier(
    ca: &Path,
    wanted: ClientCertificates,
) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider());
    let builder = match wanted {
        ClientCertificates::Required => builder,
        ClientCertificates::None | ClientCertificates::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| unusable_roots(ca, &error))
}

fn server_config(
    verifier: Arc<dyn ClientCertVerifier>,
    certificate: Certificate,
) -> Result<Arc<ServerConfig>, tokio_rustls::rustls::Error> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificate.chain, certificate.key)?;
    Ok(Arc::new(config))
}

/// The present offer, kept up to date with its files.
#[derive(Debug)]
pub struct Offers {
    settings: Tls,
    current: watch::Sender<Option<Arc<Offer>>>,
    /// The files as they were when the present offer was made.
    seen: Vec<Seen>,
}

/// A file, and by what a change of it is noticed; `None` while it cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen(PathBuf, Option<(SystemTime, u64)>);

impl Offers {
    /// Makes the first offer.
    ///
    /// # Errors
    /// As [`Offer::load`].
    pub fn start(settings: Tls) -> Result<Self, CertificateError> {
        let seen = look(&settings);
        let offer = Offer::load(&settings)?.map(Arc::new);
        Ok(Self { settings, current: watch::Sender::new(offer), seen })
    }

    /// What is offered at present, and what comes after it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Offer>>> {
        self.current.subscribe()
    }

    /// Follows the files for as long as the process runs. What is wrong with new ones is logged, and
    /// the old offer holds.
    pub async fn follow_files(mut self) {
        if self.settings.mode == TlsMode::Disabled || self.seen.is_empty() {
            // The offer is in the channel, which closes with us: nobody waits for another.
            return;
        }
        let mut before = self.seen.clone();
        loop {
            tokio::time::sleep(LOOK).await;
            let settings = self.settings.clone();
            let looking = tokio::task::spawn_blocking(move || look(&settings));
            let Ok(now) = looking.await else { return };
            if now == before && now != self.seen {
                self.seen = now.clone();
                self.reload().await;
            }
            before = now;
        }
    }

    async fn reload(&self) {
        let settings = self.settings.clone();
        match tokio::task::spawn_blocking(move || Offer::load(&settings)).await {
            Ok(Ok(offer)) => {
                self.current.send_replace(offer.map(Arc::new));
                tracing::info!("the files of [tls] changed and are in use");
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the files of [tls] changed; the old ones stay in use");
            }
            Err(_) => tracing::error!("reading the files of [tls] panicked"),
        }
    }
}

/// Dates and lengths of the files that the settings name. Links are followed: Kubernetes replaces
/// a secret by turning a link.
fn look(settings: &Tls) -> Vec<Seen> {
    let files = [&settings.cert, &settings.key, &settings.ca];
    let look = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok();
        let date = metadata.and_then(|data| Some((data.modified().ok()?, data.len())));
        Seen(path.clone(), date)
    };
    files.into_iter().flatten().map(look).collect()
}

#[cfg(test)]
#[path = "offer_tests.rs"]
mod tests;
