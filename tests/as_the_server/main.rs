//! What a client does to a server and not with it: KILL, processlist, attributes, broken logins, results
//! that nobody reads. Each is done to a real server directly and through the proxy, and has to come to
//! the same.

#[path = "../support/mod.rs"]
mod support;

#[path = "../fake_server/mod.rs"]
mod fake_server;

mod attributes;
mod kill;
mod limits;
mod manners;

use fake_server::RawClient;
use support::{Stack, eventually};
use tandem::wire::{Capabilities, native_token_of_password, sha2_token};
use tokio::net::TcpStream;

/// A login of the application's by hand, on a server's port or the proxy's.
async fn log_in(port: u16, capabilities: Capabilities) -> RawClient {
    let mut client = RawClient::new(dial(port).await);
    let plugin = std::cell::RefCell::new(String::new());
    client
        .answer_greeting(capabilities, "app", |greeting| {
            plugin.replace(greeting.plugin.clone());
            native_token_of_password(b"app", &greeting.salt).to_vec()
        })
        .await;
    loop {
        let payload = client.packet().await;
        match payload[0] {
            0 => return client,
            0xFE => {
                let switch = tandem::wire::AuthSwitch::parse(&payload).expect("a switch");
                let token = match switch.plugin.as_str() {
                    "caching_sha2_password" => sha2_token(b"app", &switch.salt).to_vec(),
                    _ => native_token_of_password(b"app", &switch.salt).to_vec(),
                };
                client.reply(&token).await;
            }
            1 if payload == [1, 4] => {
                client.reply(&[2]).await;
                let key = client.packet().await;
                panic!("full authentication asked for with {}", String::from_utf8_lossy(&key));
            }
            1 => {}
            _ => panic!("refused: {}", String::from_utf8_lossy(&payload)),
        }
    }
}

async fn dial(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.expect("connected")
}

/// The ways to the first master: straight, and through the proxy.
fn ways(stack: &Stack) -> [(&'static str, u16); 2] {
    [("directly", stack.sandbox.server(0).port()), ("through the proxy", stack.port())]
}

/// Not by `println!`, which the harness keeps to itself when a test ends well.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
