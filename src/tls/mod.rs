//! TLS: what Tandem shows to clients, and what it asks of masters.
//!
//! The two sides have nothing in common but the library. Towards clients there is an [`Offer`]: a
//! certificate, from files or made at start, and whether clients must use it; [`Offers`] replaces
//! the offer when the files change, and who has shaken hands already keeps the old one. Towards
//! masters there is [`MasterTls`]: the mode of `[server_tls]`, and what is checked of a master's
//! certificate (`trust.rs`).
//!
//! Everything is decided here before the first byte: the handshakes themselves are
//! [`Stream`](crate::wire::Stream)'s, and when they happen is the protocol's business, which sessions
//! and the monitor know. The cryptography is aws-lc's throughout, named at every configuration, so
//! that no process-wide choice is needed.

mod certificate;
mod masters;
mod offer;
mod trust;

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use certificate::{Certificate, CertificateError};
pub use masters::{MasterTls, TlsFailure};
pub use offer::{Offer, Offers};

/// The cryptography of both sides.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
