//! Handshakes with certificates that the library would not look at, and with keys that are not the
//! certificate's.

use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

fn made() -> (CertificateDer<'static>, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    (params.self_signed(&key).expect("a certificate").der().clone(), key)
}

fn sequence(content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).expect("short").to_be_bytes();
    [&[0x30, 0x82][..], &len, content].concat()
}

/// The same certificate in version 1: without a version, and without extensions. Its own signature
/// fits no more, and nobody looks at it.
fn version_1(cert: &CertificateDer<'_>) -> CertificateDer<'static> {
    let (_, certificate) = element(cert).expect("a certificate");
    let (whole, body) = element(certificate).expect("a body");
    let mut fields = &body[element(body).expect("a version").0.len()..];
    let mut kept = Vec::new();
    for _ in 0..6 {
        let (field, _) = element(fields).expect("a field");
        kept.extend_from_slice(field);
        fields = &fields[field.len()..];
    }
    let signature = &certificate[whole.len()..];
    CertificateDer::from(sequence(&[&sequence(&kept), signature].concat()))
}

async fn shake_hands(
    cert: CertificateDer<'static>,
    key: &KeyPair,
    version: &'static SupportedProtocolVersion,
) -> Result<(), String> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider().key_provider.load_private_key(key).expect("a key");
    // Unlike `with_single_cert`, this does not look whether they belong together.
    let resolver: Arc<dyn ResolvesServerCert> =
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![cert], key)));
    let nobody: Arc<dyn ClientCertVerifier> = WebPkiClientVerifier::no_client_auth();
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_client_cert_verifier(nobody)
        .with_cert_resolver(resolver);
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(Anyone::new())
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("elsewhere.example").expect("a name");
    let (connector, acceptor) = (TlsConnector::from(Arc::new(client)), Arc::new(server));
    let accepting = TlsAcceptor::from(acceptor).accept(far);
    let (connected, _) = tokio::join!(connector.connect(name, near), accepting);
    connected.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn any_certificate_will_do_and_no_other_key() {
    let (cert, key) = made();
    let (_, other) = made();
    for version in [&TLS12, &TLS13] {
        for cert in [cert.clone(), version_1(&cert)] {
            assert_eq!(shake_hands(cert.clone(), &key, version).await, Ok(()));
            let refused = shake_hands(cert, &other, version).await.expect_err("another's key");
            assert!(refused.contains("BadSignature"), "{refused}");
        }
        let rubbish = CertificateDer::from(b"rubbish".to_vec());
        let refused = shake_hands(rubbish, &key, version).await.expect_err("no certificate");
        assert!(refused.contains("BadEncoding"), "{refused}");
    }
}

#[test]
fn the_key_is_where_the_library_finds_it() {
    let (cert, _) = made();
    let parsed = ParsedCertificate::try_from(&cert).expect("a certificate");
    assert_eq!(public_key(&cert), Some(parsed.subject_public_key_info()));
    assert_eq!(public_key(&version_1(&cert)), Some(parsed.subject_public_key_info()));
    assert!(ParsedCertificate::try_from(&version_1(&cert)).is_err(), "or this file is of no use");
    for len in 0..cert.len() {
        // Cut off anywhere: nothing is found, and nothing panics.
        assert_eq!(public_key(&CertificateDer::from(&cert[..len])), None, "{len}");
    }
}
