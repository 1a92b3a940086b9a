//! What is checked of a master's certificate, where the library's own check is not meant.
//!
//! In every mode the handshake's signature is checked: the master has the key that belongs to the
//! certificate it shows. Without that, TLS would not even keep listeners out. What the modes differ
//! in is whether that certificate means anything.
//!
//! [`Anyone`] (`preferred`, `required`) takes any certificate. It looks into it only as far as the
//! public key, because servers make their own with whatever OpenSSL they have: version 1 of X.509, no
//! names, a host's clock that is wrong. The library parses more, and refuses such a certificate
//! before it can be ignored. [`FromRoot`] (`verify_ca`) checks the way to a root, but not the name.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, RootCertStore, SignatureScheme,
};
use webpki::RawPublicKeyEntity;

use super::provider;

fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

/// Takes any certificate.
#[derive(Debug)]
pub(super) struct Anyone(WebPkiSupportedAlgorithms);

impl Anyone {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(algorithms()))
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(cert).ok_or(CertificateError::BadEncoding)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        // TLS 1.2 does not name the curve, so that a scheme stands for several algorithms.
        let (_, candidates) = self
            .0
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let fits = candidates
            .iter()
            .any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok());
        if fits {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(cert).ok_or(CertificateError::BadEncoding)?;
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Takes a certificate that comes from one of the roots, whatever name it is for.
#[derive(Debug)]
pub(super) struct FromRoot {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl FromRoot {
    pub(super) fn new(roots: RootCertStore) -> Arc<Self> {
        Arc::new(Self { roots, algorithms: algorithms() })
    }
}

impl ServerCertVerifier for FromRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let all = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, all)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The public key of a certificate of any version (RFC 5280, 4.1):
///
/// ```text
/// Certificate    ::= SEQUENCE { tbsCertificate, ... }
/// TBSCertificate ::= SEQUENCE { [0] version (from 2 on), serialNumber, signature, issuer, validity,
///                               subject, subjectPublicKeyInfo, ... }
/// ```
fn public_key(cert: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xA0;
    let (_, certificate) = element(cert.as_ref()).filter(|(whole, _)| whole[0] == SEQUENCE)?;
    let (_, mut rest) = element(certificate).filter(|(whole, _)| whole[0] == SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = &rest[element(rest)?.0.len()..];
    }
    for _ in ["serialNumber", "signature", "issuer", "validity", "subject"] {
        rest = &rest[element(rest)?.0.len()..];
    }
    let (whole, _) = element(rest).filter(|(whole, _)| whole[0] == SEQUENCE)?;
    Some(SubjectPublicKeyInfoDer::from(whole.to_vec()))
}

/// The first element of `der`, with its header and without.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = usize::from(*der.get(1)?);
    let (header, len) = if first < 0x80 {
        (2, first)
    } else {
        // The long form: so many bytes of length follow. A certificate has no use for more than 3.
        let count = first - 0x80;
        let bytes = der.get(2..2 + count).filter(|_| (1..=3).contains(&count))?;
        (2 + count, bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
    };
    let whole = der.get(..header + len)?;
    Some((whole, &whole[header..]))
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
