//! What each mode takes, over a real connection.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;

fn write_pem(path: &Path, der: &[u8]) {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    std::fs::write(path, pem).expect("written");
}

fn root(path: &Path) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([]).expect("no names");
    params.distinguished_name.push(DnType::CommonName, path.display().to_string());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write_pem(path, params.self_signed(&key).expect("a root").der());
    Issuer::new(params, key)
}

/// Shakes hands with a master whose certificate is for `db.example` and comes from `issuer`.
async fn shake(
    settings: &ServerTls,
    host: &str,
    issuer: &Issuer<'static, KeyPair>,
) -> Result<(), String> {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["db.example".to_owned()]).expect("a name");
    let cert = params.signed_by(&key, issuer).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("they belong together");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let accepting = async {
        let (stream, _) = listener.accept().await.expect("accepted");
        TlsAcceptor::from(Arc::new(server)).accept(stream).await
    };
    let tls = MasterTls::load(settings).expect("usable");
    let stream = Stream::Tcp(TcpStream::connect(address).await.expect("connected"));
    assert_eq!(tls.wanted(&stream, true), Ok(true));
    let (shaken, _) = tokio::join!(tls.shake_hands(stream, host), accepting);
    shaken.map(|stream| assert!(stream.is_secure())).map_err(|failure| failure.to_string())
}

#[tokio::test]
async fn every_mode_takes_what_it_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ca.pem");
    let (ours, strangers) = (root(&path), root(&directory.path().join("other.pem")));
    let settings = |mode| ServerTls { mode, ca: Some(path.clone()), ..Default::default() };
    for mode in [ServerTlsMode::Preferred, ServerTlsMode::Required] {
        assert_eq!(shake(&settings(mode), "no name at all", &strangers).await, Ok(()));
    }
    let verify_ca = settings(ServerTlsMode::VerifyCa);
    assert_eq!(shake(&verify_ca, "127.0.0.1", &ours).await, Ok(()));
    assert_eq!(
        shake(&verify_ca, "db.example", &strangers).await.expect_err("another root"),
        "its certificate is refused (server_tls.mode = \"verify_ca\"): it does not come from any \
         root in server_tls.ca"
    );
    let verify_identity = settings(ServerTlsMode::VerifyIdentity);
    assert_eq!(shake(&verify_identity, "db.example", &ours).await, Ok(()));
    assert_eq!(
        shake(&verify_identity, "m1.example", &ours).await.expect_err("another name"),
        "its certificate is refused (server_tls.mode = \"verify_identity\"): certificate not valid \
         for name \"m1.example\"; certificate is only valid for DnsName(\"db.example\")"
    );
    for host in ["db.example", "127.0.0.1", "no name at all"] {
        assert!(shake(&verify_identity, host, &strangers).await.is_err(), "{host}");
    }
}

#[tokio::test]
async fn a_master_without_tls_will_do_where_it_is_only_preferred() {
    let (near, _far) = std::os::unix::net::UnixStream::pair().expect("a pair");
    near.set_nonblocking(true).expect("set");
    let unix = Stream::Unix(tokio::net::UnixStream::from_std(near).expect("adopted"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let tcp = Stream::Tcp(TcpStream::connect(address).await.expect("connected"));
    let tls =
        |mode| MasterTls::load(&ServerTls { mode, ..Default::default() }).expect("needs no files");
    let (disabled, preferred) = (tls(ServerTlsMode::Disabled), tls(ServerTlsMode::Preferred));
    let required = tls(ServerTlsMode::Required);
    assert_eq!(disabled.wanted(&tcp, true), Ok(false));
    assert_eq!(preferred.wanted(&tcp, false), Ok(false));
    assert_eq!(required.wanted(&unix, false), Ok(false));
    let failure = required.wanted(&tcp, false).expect_err("required");
    assert_eq!(failure.to_string(), "it does not offer TLS, and server_tls.mode is \"required\"");
}
