//! What is offered, and what becomes of it when files change.

use rcgen::{CertificateParams, KeyPair};
use tokio::time::{Duration, sleep};

use super::*;

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// A certificate and its key, as files.
fn write(settings: &Tls) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["db.example".to_owned()]).expect("a name");
    let made = params.self_signed(&key).expect("a certificate");
    let (Some(cert), Some(path)) = (&settings.cert, &settings.key) else { panic!("no files") };
    std::fs::write(cert, pem("CERTIFICATE", made.der())).expect("written");
    std::fs::write(path, pem("PRIVATE KEY", &key.serialize_der())).expect("written");
}

fn in_directory(directory: &Path) -> Tls {
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    Tls { cert: Some(cert), key: Some(key), ..Default::default() }
}

#[test]
fn without_files_there_is_an_offer_all_the_same() {
    let made = Offer::load(&Tls::default()).expect("made").expect("offered");
    let other = Offer::load(&Tls::default()).expect("made").expect("offered");
    assert_ne!(made.fingerprint, other.fingerprint, "a key that others have is none");
    assert!(!made.required);
    let disabled = Tls { mode: TlsMode::Disabled, ..Default::default() };
    assert!(Offer::load(&disabled).expect("nothing to do").is_none());
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = in_directory(directory.path());
    let error = || Offer::load(&settings).expect_err("unusable").to_string();
    assert!(error().ends_with("cert.pem: No such file or directory (os error 2)"), "{}", error());
    write(&settings);
    let (Some(cert), Some(key)) = (&settings.cert, &settings.key) else { panic!("no files") };
    std::fs::copy(cert, key).expect("copied");
    assert!(error().ends_with("key.pem: there is no private key in it (PEM)"), "{}", error());
    write(&settings);
    let first = std::fs::read(cert).expect("read");
    write(&settings);
    std::fs::write(cert, first).expect("written");
    assert!(error().contains("cert.pem with") && error().contains("KeyMismatch"), "{}", error());
    std::fs::write(cert, "hello").expect("written");
    assert!(error().ends_with("cert.pem: there is no certificate in it (PEM)"), "{}", error());
    write(&settings);
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, pem("CERTIFICATE", b"rubbish")).expect("written");
    let asking =
        Tls { ca: Some(ca), client_certificates: ClientCertificates::Required, ..settings.clone() };
    let error = Offer::load(&asking).expect_err("no root").to_string();
    assert!(error.contains("ca.pem: "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn new_files_are_taken_and_broken_ones_are_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = in_directory(directory.path());
    write(&settings);
    let offers = Offers::start(settings.clone()).expect("usable");
    let mut seen = offers.subscribe();
    let following = tokio::spawn(offers.follow_files());
    let shown = |offer: &Option<Arc<Offer>>| offer.as_ref().map(|offer| offer.fingerprint);
    let first = shown(&seen.borrow_and_update());
    sleep(LOOK * 5).await;
    assert!(!seen.has_changed().expect("followed"), "nothing changed");

    write(&settings);
    seen.changed().await.expect("followed");
    let second = shown(&seen.borrow_and_update());
    assert_ne!(first, second);

    let cert = settings.cert.clone().expect("a file");
    std::fs::write(&cert, "no certificate").expect("written");
    sleep(LOOK * 5).await;
    std::fs::remove_file(&cert).expect("removed");
    sleep(LOOK * 5).await;
    assert!(!seen.has_changed().expect("followed"), "the old one holds");
    assert_eq!(shown(&seen.borrow()), second);

    write(&settings);
    seen.changed().await.expect("followed");
    assert_ne!(shown(&seen.borrow_and_update()), second);
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn files_that_are_being_replaced_are_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = in_directory(directory.path());
    write(&settings);
    let offers = Offers::start(settings.clone()).expect("usable");
    let mut seen = offers.subscribe();
    let following = tokio::spawn(offers.follow_files());
    sleep(LOOK + Duration::from_millis(100)).await;
    for _ in 0..5 {
        write(&settings);
        sleep(LOOK).await;
        assert!(!seen.has_changed().expect("followed"), "they are not at rest");
    }
    seen.changed().await.expect("followed");
    following.abort();
}
