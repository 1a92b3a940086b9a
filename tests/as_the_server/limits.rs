//! More clients than there is room for.

use std::time::Duration;

use tandem::wire::ErrorPacket;
use tokio::io::AsyncReadExt as _;

use crate::fake_server::{CLIENT, RawClient, within};
use crate::support::Stack;
use crate::{dial, eventually, log_in, say};

async fn all_that_comes(port: u16) -> Vec<u8> {
    let mut stream = dial(port).await;
    let mut heard = Vec::new();
    let _ = within("an answer and the end", stream.read_to_end(&mut heard)).await;
    heard
}

#[tokio::test]
async fn one_client_too_many_hears_what_a_server_says() {
    let stack = Stack::start_with(Default::default(), |config| {
        config.limits.max_connections = 3;
    })
    .await;
    drop(stack.connect().await);
    eventually("room", async || stack.app.handles().sessions.registry.is_empty().then_some(()))
        .await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(log_in(stack.port(), CLIENT).await);
    }
    let through = all_that_comes(stack.port()).await;
    let server = stack.sandbox.server(0);
    // Ten is the least that servers take; one more has always room for an administrator.
    server.execute(&["SET GLOBAL max_connections = 10"]).await.expect("set");
    let mut held = Vec::new();
    let direct = loop {
        let mut stream = dial(server.port()).await;
        let mut first = vec![0; 5];
        within("a packet", stream.read_exact(&mut first)).await.expect("a packet");
        if first[4] == 0xFF {
            within("the rest", stream.read_to_end(&mut first)).await.expect("heard");
            break first;
        }
        held.push(stream);
        assert!(held.len() < 20, "the server has no limit");
    };
    say(&format!("too many, directly: {}", direct.escape_ascii()));
    say(&format!("too many, through the proxy: {}", through.escape_ascii()));
    let there = ErrorPacket::parse(&direct[4..]).expect("an error");
    let here = ErrorPacket::parse(&through[4..]).expect("an error");
    assert_eq!((here.code, here.state), (there.code, there.state));
    assert!(here.message.starts_with(&*there.message), "{}", here.message);
    assert_eq!(through[3], direct[3], "the packet's number");
    // Whoever leaves makes room.
    drop((clients.pop(), held));
    eventually("room on the server", async || {
        server.execute(&["SET GLOBAL max_connections = 500"]).await.ok()
    })
    .await;
    eventually("room", async || (stack.app.handles().sessions.registry.len() < 3).then_some(()))
        .await;
    log_in(stack.port(), CLIENT).await;
}

#[tokio::test]
async fn clients_that_do_not_log_in_give_way_to_those_that_do() {
    let stack = Stack::start_with(Default::default(), |config| {
        config.limits.max_connections = 50;
        config.limits.connect_timeout = Duration::from_secs(60);
    })
    .await;
    let mut working = stack.connect().await;
    let mut silent = Vec::new();
    for number in 0..400 {
        let mut client = RawClient::new(dial(stack.port()).await);
        client.packet().await;
        silent.push(client);
        if number % 100 == 99 {
            drop(log_in(stack.port(), CLIENT).await);
        }
    }
    let registry = &stack.app.handles().sessions.registry;
    let most =
        eventually("a bounded number", async || Some(registry.len()).filter(|count| *count <= 50))
            .await;
    say(&format!("400 silent clients, {most} of them are left"));
    mysql_async::prelude::Queryable::query_drop(&mut working, "DO 1").await.expect("served");
    // Who came first went first; who came last is still listened to.
    silent.first_mut().expect("a client").expect_close().await;
    let last = silent.last_mut().expect("a client");
    last.reply(&[0; 3]).await;
    last.expect_error(1043).await;
}
