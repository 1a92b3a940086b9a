//! What clients see.

use std::time::Duration;

use mysql_async::prelude::*;
use tandem::app::App;
use tandem::config::{ClientCertificates, Secret, Tls, TlsMode};
use tandem::sandbox::{SandboxOptions, ServerBinaries};
use tandem::topology::ServerAddress;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::clients::{asking, in_root, mariadb, missing, root, run, trusting};
use crate::support::{Stack, config_for};

const CIPHER: &str = "Cipher in use is";

fn port_of(address: Option<&ServerAddress>) -> u16 {
    match address {
        Some(ServerAddress::Tcp { port, .. }) => *port,
        other => panic!("not TCP: {other:?}"),
    }
}

/// Another proxy before the same pair.
fn beside(stack: &Stack, tls: Tls) -> (App, u16) {
    let mut config = config_for(&stack.sandbox);
    config.tls = tls;
    config.limits.connect_timeout = Duration::from_secs(2);
    let app = App::start(config).expect("a proxy");
    let port = port_of(app.listening().first());
    (app, port)
}

#[tokio::test]
async fn encrypted_or_not_as_the_client_likes() {
    let mut stack = Stack::start().await;
    let port = stack.port();
    let plain = mariadb(port, &["--skip-ssl"], "\\s").await;
    assert!(plain.fine && plain.text.contains("Not in use"), "{plain:?}");
    for version in ["TLSv1.2", "TLSv1.3"] {
        let tls = mariadb(port, &["--ssl", &format!("--tls-version={version}")], "\\s").await;
        assert!(tls.fine && tls.text.contains(CIPHER), "{version}: {tls:?}");
    }
    let console = port_of(stack.app.console());
    let admin = ["--ssl", "-uadmin", "--password="];
    let said = mariadb(console, &admin, "SHOW MASTERS").await;
    assert!(said.fine && said.text.contains("m1"), "the console: {said:?}");

    let mut encrypted = trusting(stack.opts()).await;
    large_both_ways(&mut encrypted).await;
    encrypted.change_user(Default::default()).await.expect("changed");
    let mut beside_it = stack.connect().await;
    beside_it.query_drop("SELECT 1").await.expect("plain");
    encrypted.query_drop("SET @mine = 7").await.expect("set");
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let row: Option<(u32, u32)> =
        encrypted.query_first("SELECT @@server_id, @mine").await.expect("on the other master");
    assert_eq!(row, Some((2, 7)), "the session went along, and so did its encryption");
}

/// More than a packet can hold, up and down.
pub async fn large_both_ways(conn: &mut mysql_async::Conn) {
    let large = vec![b'x'; 20 << 20];
    conn.query_drop("CREATE OR REPLACE TABLE large (a LONGBLOB)").await.expect("made");
    conn.exec_drop("INSERT INTO large VALUES (?)", (&large,)).await.expect("sent up");
    let back: Option<Vec<u8>> = conn.query_first("SELECT a FROM large").await.expect("sent down");
    assert!(back.is_some_and(|back| back == large));
    let rows: Vec<u64> = conn.query("SELECT seq FROM seq_1_to_500000").await.expect("many rows");
    assert_eq!(rows.len(), 500_000);
    conn.query_drop("DROP TABLE large").await.expect("dropped");
}

#[tokio::test]
async fn certificates_are_shown_replaced_and_asked_for() {
    let stack = Stack::start().await;
    let (ours, strangers) = (Authority::new("ours"), Authority::new("strangers"));
    let shown = ours.sign("proxy", &["127.0.0.1"]);
    let settings = Tls { cert: Some(shown.cert), key: Some(shown.key), ..Tls::default() };
    let required = Tls {
        mode: TlsMode::Required,
        ca: Some(ours.ca.clone()),
        client_certificates: ClientCertificates::Optional,
        ..settings.clone()
    };
    let (_app, port) = beside(&stack, required.clone());
    let ca = format!("--ssl-ca={}", ours.ca.display());
    let verified = ["--ssl-verify-server-cert", &ca];
    let said = mariadb(port, &verified, "\\s").await;
    assert!(said.fine && said.text.contains(CIPHER), "{said:?}");
    let foreign = format!("--ssl-ca={}", strangers.ca.display());
    let said = mariadb(port, &["--ssl-verify-server-cert", &foreign], "\\s").await;
    assert!(!said.fine, "another root: {said:?}");
    let said = mariadb(port, &["--skip-ssl"], "SELECT 1").await;
    assert!(said.text.contains("ERROR 3159 (HY000): Connections using insecure"), "{said:?}");

    // The client's own certificate: required by one proxy, checked by the other if there is one.
    let demanding = Tls { client_certificates: ClientCertificates::Required, ..required };
    let (_other, strict) = beside(&stack, demanding);
    let (good, bad) = (ours.sign("client", &[]), strangers.sign("client", &[]));
    for (files, fine) in [(&good, true), (&bad, false)] {
        let cert = format!("--ssl-cert={}", files.cert.display());
        let key = format!("--ssl-key={}", files.key.display());
        for port in [port, strict] {
            let said = mariadb(port, &["--ssl", &cert, &key], "SELECT 'in'").await;
            assert_eq!(said.fine, fine, "{said:?}");
        }
    }
    let said = mariadb(strict, &["--ssl"], "SELECT 'in'").await;
    assert!(!said.fine, "without one: {said:?}");

    // A new certificate, from another root: the next client sees it.
    let mut early = trusting(opts(&stack, port)).await;
    let new = strangers.sign("proxy", &["127.0.0.1"]);
    for (new, old) in [(new.cert, settings.cert), (new.key, settings.key)] {
        std::fs::copy(new, old.expect("a file")).expect("replaced");
    }
    let replaced = async {
        while !mariadb(port, &["--ssl-verify-server-cert", &foreign], "SELECT 1").await.fine {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), replaced).await.expect("it is shown");
    assert!(!mariadb(port, &verified, "SELECT 1").await.fine, "the old one is gone");
    early.query_drop("SELECT 1").await.expect("who came before stays");
}

fn opts(stack: &Stack, port: u16) -> mysql_async::Opts {
    mysql_async::Opts::from_url(&stack.sandbox.url(port)).expect("a URL")
}

#[tokio::test]
async fn who_does_not_get_through_the_handshake_is_closed() {
    let stack = Stack::start().await;
    let (app, port) = beside(&stack, Tls::default());
    // An SSLRequest, and then: nothing, rubbish, the half of a ClientHello, or the end.
    let request = [&[32, 0, 0, 1, 0x00, 0x8A, 0x08, 0, 0, 0, 0, 1, 45][..], &[0; 23]].concat();
    for then in
        [&b""[..], &[b'?'; 200], &[0x16, 3, 1, 2, 0, 1, 0, 1], b"\x15\x03\x01\x00\x02\x02\x28"]
    {
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        let mut greeting = [0; 4];
        client.read_exact(&mut greeting).await.expect("greeted");
        client.write_all(&request).await.expect("sent");
        client.write_all(then).await.expect("sent");
        let mut rest = Vec::new();
        let closing = client.read_to_end(&mut rest);
        let closed = tokio::time::timeout(Duration::from_secs(20), closing).await;
        assert!(closed.is_ok(), "left open after {then:?}");
    }
    let mut other = trusting(opts(&stack, port)).await;
    other.query_drop("SELECT 1").await.expect("others are served");
    assert_eq!(app.handles().sessions.registry.len(), 1, "nothing is left of them");
}

#[tokio::test]
async fn mariadb_11_trusts_a_certificate_that_nobody_signed() {
    let Some(root) = root("TANDEM_MARIADB_11_ROOT", "mariadb-11.8") else {
        return missing("MariaDB 11.8 (TANDEM_MARIADB_11_ROOT or .cache/servers/mariadb-11.8)");
    };
    // Not 127.0.0.1, where this client checks nothing.
    let host = "127.0.0.2";
    let listen = ServerAddress::Tcp { host: host.to_owned(), port: 0 };
    let stack = Stack::start_with(SandboxOptions::default(), |config| {
        config.listen = vec![listen.clone()];
        config.admin.console = Some(listen);
        // Without a password this client would not look either.
        config.admin.password = Secret::new("admin".to_owned());
    })
    .await;
    let port = stack.port();
    let client =
        |tls: &[&str], sql: &str| run(asking(in_root(&root, "mariadb"), host, port, tls, sql));
    let said = client(&[], "\\s").await;
    assert!(said.fine && said.text.contains(CIPHER), "{said:?}");
    let said = client(&["--password=wrong"], "SELECT 1").await;
    assert!(!said.fine && said.text.contains("Access denied"), "{said:?}");
    let said = client(&["--skip-ssl"], "SELECT 'plain'").await;
    assert!(said.fine, "{said:?}");

    // The console shows the same certificate and cannot prove it: its plugin has no such hash. So
    // this client does look.
    let console = port_of(stack.app.console());
    let admin = |tls: &str| {
        let tls = ["-uadmin", "--password=admin", tls];
        run(asking(in_root(&root, "mariadb"), host, console, &tls, "SHOW MASTERS"))
    };
    let said = admin("--ssl").await;
    assert!(!said.fine && said.text.contains("ertificate"), "{said:?}");
    let said = admin("--disable-ssl-verify-server-cert").await;
    assert!(said.fine && said.text.contains("m1"), "{said:?}");
}

#[tokio::test]
async fn mysql_9_over_tls() {
    let Some(root) = root("TANDEM_MYSQL_ROOT", "mysql-9") else {
        return missing("MySQL 9 (TANDEM_MYSQL_ROOT or .cache/servers/mysql-9)");
    };
    let binaries = ServerBinaries::in_root(&root).expect("a server");
    let options = SandboxOptions { binaries: Some(binaries), ..Default::default() };
    let stack = Stack::start_with(options, |_| {}).await;
    let port = stack.port();
    let client =
        |tls: &[&str], sql: &str| run(asking(in_root(&root, "mysql"), "127.0.0.1", port, tls, sql));
    // No key to ask for: what the client sends in clear, nobody can read.
    for mode in ["--ssl-mode=REQUIRED", "--ssl-mode=PREFERRED"] {
        let said = client(&[mode, "--commands"], "\\s").await;
        assert!(said.fine && said.text.contains(CIPHER), "{mode}: {said:?}");
    }
    // The server makes its own certificate: the other hop is encrypted too.
    let said = client(&["--ssl-mode=REQUIRED"], "SHOW STATUS LIKE 'Ssl_cipher'").await;
    assert!(said.text.contains("TLS_"), "{said:?}");
    let said = client(&["--ssl-mode=REQUIRED", "--password=wrong"], "SELECT 1").await;
    assert!(said.text.contains("ERROR 1045 (28000)"), "{said:?}");
}
