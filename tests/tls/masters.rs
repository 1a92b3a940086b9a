//! What masters see.

use std::time::Duration;

use mysql_async::prelude::*;
use tandem::app::App;
use tandem::config::{Config, ServerTls, ServerTlsMode};
use tandem::sandbox::{SandboxOptions, ServerBinaries};
use tandem::topology::{Flavor, ServerAddress, Servers};

use crate::authority::Authority;
use crate::clients::{mariadb, missing, trusting};
use crate::support::{Stack, config_for};
use crate::towards_clients::large_both_ways;

const BACKEND: &str = "SELECT variable_value FROM information_schema.session_status \
                       WHERE variable_name = 'Ssl_cipher'";

/// A proxy before the same pair, with these settings towards it and a short patience.
fn beside(stack: &Stack, server_tls: ServerTls, set: impl FnOnce(&mut Config)) -> (App, u16, u16) {
    let mut config = config_for(&stack.sandbox);
    config.server_tls = server_tls;
    config.failover.hold = Duration::from_secs(3);
    set(&mut config);
    let app = App::start(config).expect("a proxy");
    let port = |address: Option<&ServerAddress>| match address {
        Some(ServerAddress::Tcp { port, .. }) => *port,
        other => panic!("not TCP: {other:?}"),
    };
    let (clients, console) = (port(app.listening().first()), port(app.console()));
    (app, clients, console)
}

/// The same servers, by a name that their certificates do not have.
fn by_name(servers: &Servers) -> Servers {
    let renamed = servers.iter().map(|server| match &server.address {
        ServerAddress::Tcp { port, .. } => {
            let address = ServerAddress::Tcp { host: "localhost".to_owned(), port: *port };
            (server.name.clone(), address)
        }
        other => (server.name.clone(), other.clone()),
    });
    Servers::new(renamed.collect::<Vec<_>>(), [])
}

#[tokio::test]
async fn every_mode_towards_the_masters() {
    let (ours, strangers) = (Authority::new("ours"), Authority::new("strangers"));
    let files = ours.sign("master", &["127.0.0.1", "127.0.0.2"]);
    let arguments = vec![
        format!("--ssl-cert={}", files.cert.display()),
        format!("--ssl-key={}", files.key.display()),
        format!("--ssl-ca={}", ours.ca.display()),
    ];
    let options = SandboxOptions { arguments, ..Default::default() };
    let mut stack = Stack::start_with(options, |_| {}).await;

    // By default: encrypted, since they offer it.
    let mut plain = stack.connect().await;
    let cipher: Option<String> = plain.query_first(BACKEND).await.expect("asked");
    assert!(cipher.is_some_and(|cipher| cipher.starts_with("TLS_")), "preferred");
    let mut encrypted = trusting(stack.opts()).await;
    large_both_ways(&mut encrypted).await;
    large_both_ways(&mut plain).await;
    let first = stack.sandbox.server(0);
    first
        .execute(&["ALTER USER app@'%' REQUIRE SSL", "ALTER USER tandem@'%' REQUIRE SSL"])
        .await
        .expect("done");
    let said = mariadb(stack.port(), &["--skip-ssl"], "SELECT 'in'").await;
    assert!(said.fine, "plain, of an account that requires TLS: {said:?}");

    let settings = |mode, ca: Option<&Authority>| ServerTls {
        mode,
        ca: ca.map(|authority| authority.ca.clone()),
        ..ServerTls::default()
    };
    let checked = [
        settings(ServerTlsMode::Required, None),
        settings(ServerTlsMode::VerifyCa, Some(&ours)),
        settings(ServerTlsMode::VerifyIdentity, Some(&ours)),
    ];
    for server_tls in checked {
        let (_app, port, _) = beside(&stack, server_tls.clone(), |_| {});
        let said = mariadb(port, &["--skip-ssl"], BACKEND).await;
        assert!(said.text.contains("TLS_"), "{server_tls:?}: {said:?}");
    }
    // verify_ca does not mind the name; verify_identity does, and says so to everybody.
    let renamed = by_name(&stack.sandbox.configured());
    let verify_ca = settings(ServerTlsMode::VerifyCa, Some(&ours));
    let (_app, port, _) = beside(&stack, verify_ca, |config| config.servers = renamed.clone());
    assert!(mariadb(port, &["--skip-ssl"], "SELECT 'in'").await.fine);
    let identity = settings(ServerTlsMode::VerifyIdentity, Some(&ours));
    let refused = [
        (identity, renamed, "not valid for name \"localhost\""),
        (
            settings(ServerTlsMode::VerifyCa, Some(&strangers)),
            stack.sandbox.configured(),
            "it does not come from any root in server_tls.ca",
        ),
    ];
    for (server_tls, servers, reason) in refused {
        let (_app, port, console) = beside(&stack, server_tls, |config| config.servers = servers);
        let said = mariadb(port, &["--skip-ssl"], "SELECT 'in'").await;
        assert!(!said.fine && said.text.contains(reason), "to the client: {said:?}");
        let said = mariadb(console, &["-uadmin", "--password="], "SHOW MASTERS").await;
        assert!(said.text.contains(reason), "on the console: {said:?}");
    }

    // Both hops encrypted, and a master less.
    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let there: Option<u32> = encrypted.query_first("SELECT @@server_id").await.expect("there");
    assert_eq!(there, Some(2));
    let cipher: Option<String> = encrypted.query_first(BACKEND).await.expect("asked");
    assert!(cipher.is_some_and(|cipher| cipher.starts_with("TLS_")), "after the failover");
}

#[tokio::test]
async fn masters_without_tls_are_refused_where_it_is_required() {
    let binaries = ServerBinaries::find().expect("a server");
    // Newer ones make themselves a certificate, and MariaDB's replicas insist on it.
    let without = match binaries.flavor() {
        Flavor::MariaDb if !binaries.version().starts_with("10.") => {
            return missing("a MariaDB whose replicas go without TLS");
        }
        Flavor::MariaDb => "--skip-ssl",
        Flavor::MySql => "--tls-version=",
    };
    let arguments = vec![without.to_owned()];
    let stack = Stack::start_with(SandboxOptions { arguments, ..Default::default() }, |_| {}).await;
    let required = ServerTls { mode: ServerTlsMode::Required, ..ServerTls::default() };
    let (_app, port, _) = beside(&stack, required, |_| {});
    let said = mariadb(port, &["--skip-ssl"], "SELECT 'in'").await;
    assert!(said.text.contains("it does not offer TLS, and server_tls.mode is"), "{said:?}");
}
