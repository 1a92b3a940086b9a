//! Connection attributes, as the server's performance schema has them.

use tandem::sandbox::SandboxOptions;
use tandem::topology::Flavor;
use tandem::wire::{Capabilities, HandshakeResponse, put_lenenc_bytes};

use crate::fake_server::{CLIENT, RawClient};
use crate::say;
use crate::support::Stack;

const ASK: &str = "SELECT GROUP_CONCAT(CONCAT(attr_name, '=', COALESCE(attr_value, '')) ORDER BY \
                   ordinal_position) FROM performance_schema.session_account_connect_attrs WHERE \
                   processlist_id = CONNECTION_ID()";

/// Logs in with these attributes, and asks what the server has of them.
async fn attributes(port: u16, own: Option<&[(&str, &str)]>) -> String {
    let stream = crate::dial(port).await;
    let address = stream.local_addr().expect("connected");
    let mut client = RawClient::new(stream);
    let greeting = tandem::wire::Greeting::parse(&client.packet().await).expect("a greeting");
    let mut attributes = Vec::new();
    for (name, value) in own.unwrap_or_default() {
        put_lenenc_bytes(&mut attributes, name.as_bytes());
        put_lenenc_bytes(&mut attributes, value.as_bytes());
    }
    let capabilities =
        if own.is_some() { CLIENT.with(Capabilities::CONNECT_ATTRS) } else { CLIENT };
    let response = HandshakeResponse {
        capabilities,
        max_packet: 1 << 24,
        collation: 45,
        user: b"open".to_vec(),
        token: Vec::new(),
        schema: None,
        plugin: Some(greeting.plugin.clone()),
        attributes,
        zstd_level: None,
    };
    client.reply(&response.to_payload()).await;
    loop {
        let payload = client.packet().await;
        match payload[0] {
            0 => break,
            0xFE => client.reply(&[]).await,
            _ => panic!("refused: {}", String::from_utf8_lossy(&payload)),
        }
    }
    client.query(ASK).await;
    let first = client.packet().await;
    assert_eq!(first, [1], "{}", String::from_utf8_lossy(&first));
    client.packet().await;
    client.packet().await;
    let row = client.packet().await;
    let text = String::from_utf8_lossy(row.get(1..).unwrap_or_default()).into_owned();
    text.replace(&greeting.connection_id.to_string(), "ID")
        .replace(&address.port().to_string(), "PORT")
}

#[tokio::test]
async fn a_server_sees_the_clients_attributes_and_where_it_came_from() {
    let arguments = vec!["--performance_schema=ON".into()];
    let stack = Stack::start_with(SandboxOptions { arguments, ..Default::default() }, |_| {}).await;
    let server = stack.sandbox.server(0);
    server.execute(&["CREATE USER open@'%' IDENTIFIED BY ''"]).await.expect("made");
    if stack.sandbox.binaries().flavor() == Flavor::MariaDb {
        // The sandbox leaves this schema out; its tables appear by themselves.
        let _ = server.execute(&["CREATE DATABASE performance_schema"]).await;
    }
    let asked = server.execute(&["SELECT 1 FROM performance_schema.session_account_connect_attrs"]);
    if let Err(error) = asked.await {
        return say(&format!("NOT TESTED: attributes, this server has no table of them: {error}"));
    }
    let ours = "_proxy=tandem,_proxy_connection_id=ID,_client_ip=127.0.0.1,_client_port=PORT";
    let port = stack.port();
    let own: [(&str, &str); 2] = [("_os", "Linux"), ("program_name", "shop")];
    let seen = attributes(port, Some(&own)).await;
    assert_eq!(seen, format!("_os=Linux,program_name=shop,{ours}"));
    assert_eq!(attributes(port, None).await, ours, "a client without attributes");
    let forged = [("_client_ip", "10.9.9.9"), ("_os", "Linux")];
    assert_eq!(attributes(port, Some(&forged)).await, format!("_os=Linux,{ours}"));
    // What the client has today stays, whatever is added: 512 bytes are kept, and MySQL counts the rest.
    let own = format!("a={}", "x".repeat(450));
    for way in [server.port(), port] {
        let seen = attributes(way, Some(&[("a", &own[2..])])).await;
        let (before, behind) = seen.split_once(&own).expect("what the client said");
        say(&format!("a client with many attributes: {before}(its own){behind}"));
    }
}
