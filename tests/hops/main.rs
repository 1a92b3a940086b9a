//! What differs from hop to hop: Unix sockets, the PROXY protocol and compression, against real servers.

#[path = "../fake_server/mod.rs"]
mod fake_server;
#[path = "../support/mod.rs"]
mod support;

mod compression;
mod proxy_protocol;
mod unix_sockets;

use fake_server::{CLIENT, RawClient};
use tandem::wire::native_token_of_password;
use tokio::net::TcpStream;

/// The application's login on a connection on which something may have been said already.
async fn log_in(stream: TcpStream) -> RawClient {
    let mut client = RawClient::new(stream);
    let token = |salt: &_| native_token_of_password(b"app", salt).to_vec();
    client.answer_greeting(CLIENT, "app", |greeting| token(&greeting.salt)).await;
    client.expect_ok().await;
    client
}

/// The one value that a query returns.
async fn value(client: &mut RawClient, sql: &str) -> String {
    client.query(sql).await;
    for _ in 0..3 {
        client.packet().await;
    }
    let row = client.packet().await;
    client.packet().await;
    String::from_utf8_lossy(&row[1..]).into_owned()
}
