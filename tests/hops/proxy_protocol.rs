//! The client's own address, through a load balancer before Tandem and on to the masters.

use std::net::SocketAddr;
use std::time::Duration;

use tandem::app::App;
use tandem::config::Config;
use tandem::sandbox::SandboxOptions;
use tandem::topology::ServerAddress;
use tandem::wire::{ProxiedEnds, ProxyVersion, proxy_header};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::fake_server::RawClient;
use crate::support::{Stack, config_for};
use crate::{log_in, value};

const VERSIONS: [ProxyVersion; 2] = [ProxyVersion::V1, ProxyVersion::V2];

/// A pair that takes headers from this machine, and a proxy that demands them.
async fn behind_a_load_balancer() -> Stack {
    let arguments = vec!["--proxy-protocol-networks=127.0.0.1".into()];
    let options = SandboxOptions { arguments, ..Default::default() };
    Stack::start_with(options, |config| {
        config.proxy_protocol.accept_from = vec!["127.0.0.0/8".parse().expect("a network")];
        config.proxy_protocol.send = Some(ProxyVersion::V1);
        config.limits.connect_timeout = Duration::from_secs(2);
    })
    .await
}

fn port(app: &App) -> u16 {
    match &app.listening()[0] {
        ServerAddress::Tcp { port, .. } => *port,
        ServerAddress::Unix(_) => panic!("not TCP"),
    }
}

/// A connection that begins with these bytes.
async fn connect(app: &App, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port(app))).await.expect("connected");
    stream.write_all(bytes).await.expect("sent");
    stream
}

fn client_at(address: &str, server: &str) -> Option<ProxiedEnds> {
    let parse = |text: &str| text.parse().expect("an address");
    Some(ProxiedEnds { client: parse(address), server: parse(server) })
}

/// A login as a load balancer hands it on.
async fn log_in_from(app: &App, version: ProxyVersion, ends: Option<ProxiedEnds>) -> RawClient {
    log_in(connect(app, &proxy_header(version, ends)).await).await
}

#[tokio::test]
async fn the_clients_own_address_arrives() {
    let mut stack = behind_a_load_balancer().await;
    let app = &stack.app;
    let four = client_at("192.0.2.7:51234", "10.0.0.1:3306");
    let six = client_at("[2001:db8::7]:51234", "[2001:db8::1]:3306");
    for version in VERSIONS {
        for (ends, user) in
            [(four, "app@192.0.2.7"), (six, "app@2001:db8::7"), (None, "app@127.0.0.1")]
        {
            let mut client = log_in_from(app, version, ends).await;
            assert_eq!(value(&mut client, "SELECT USER()").await, user, "{version:?}");
            if let Some(ends) = ends {
                let listed = app.handles().sessions.registry.list();
                assert!(listed.iter().any(|entry| entry.client() == Some(ends.client)));
            }
        }
    }
    // In pieces, as it may come.
    let header = proxy_header(ProxyVersion::V2, four);
    let mut stream = connect(app, &header[..7]).await;
    stream.set_nodelay(true).expect("set");
    for piece in header[7..].chunks(5) {
        tokio::task::yield_now().await;
        stream.write_all(piece).await.expect("sent");
    }
    let mut client = log_in(stream).await;
    assert_eq!(value(&mut client, "SELECT USER()").await, "app@192.0.2.7");

    stack.sandbox.server_mut(0).kill().await.expect("killed");
    let moved = value(&mut client, "SELECT CONCAT(USER(), ' on ', @@server_id)").await;
    assert_eq!(moved, "app@192.0.2.7 on 2");
}

#[tokio::test]
async fn what_is_no_header_is_a_bad_handshake_and_so_is_one_from_elsewhere() {
    let stack = behind_a_load_balancer().await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 nonsense\r\n", &[0x20; 40]] {
        let mut client = RawClient::new(connect(&stack.app, garbage).await);
        let error = client.expect_error(1043).await;
        assert!(error.contains("PROXY protocol"), "{error}");
        client.expect_close().await;
    }
    // Half a header, and then nothing: an end, at the latest after `connect_timeout`.
    for silent in [&b"PROXY TCP4 192.0"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11", b""] {
        let mut client = RawClient::new(connect(&stack.app, silent).await);
        client.expect_close().await;
    }
    let mut hasty = connect(&stack.app, b"PROXY TCP4").await;
    hasty.shutdown().await.expect("shut down");
    RawClient::new(hasty).expect_close().await;

    let elsewhere = |config: &mut Config| {
        config.proxy_protocol.accept_from = vec!["192.0.2.0/24".parse().expect("a network")];
        config.proxy_protocol.send = Some(ProxyVersion::V2);
    };
    let mut config = config_for(&stack.sandbox);
    elsewhere(&mut config);
    let app = App::start(config).expect("a proxy");
    for version in VERSIONS {
        let header = proxy_header(version, client_at("192.0.2.7:51234", "10.0.0.1:3306"));
        let mut client = RawClient::new(connect(&app, &header).await);
        client.packet().await; // the greeting
        let error = client.expect_error(1043).await;
        assert!(error.contains("accept_from"), "{error}");
        client.expect_close().await;
    }
    // Without a header it is an ordinary client; the masters are told of it all the same.
    let stream = connect(&app, b"").await;
    let own: SocketAddr = stream.local_addr().expect("its address");
    let mut client = log_in(stream).await;
    let seen = "SELECT host FROM information_schema.processlist WHERE id = CONNECTION_ID()";
    assert_eq!(value(&mut client, seen).await, own.to_string());
}
