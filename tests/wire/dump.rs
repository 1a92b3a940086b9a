//! The binary log through the proxy.

use tandem::sandbox::SandboxOptions;
use tandem::wire::Capabilities;
use tokio::io::AsyncReadExt as _;

use crate::conversation::{Conversation, Step};
use crate::fake_server::{CLIENT, within};
use crate::make_account;
use crate::support::Stack;

const NON_BLOCKING: u8 = 1;

/// Asks for the binary log from its beginning, as a slave would.
async fn ask(conversation: &mut Conversation, flags: u8) {
    for sql in [
        "SET @master_binlog_checksum = 'NONE', @source_binlog_checksum = 'NONE'",
        "SET @mariadb_slave_capability = 4",
    ] {
        let answer = conversation.run(&Step::Query(sql.to_owned())).await;
        assert_eq!(answer[4], 0, "{}", answer.escape_ascii());
    }
    let register = b"\x15\x63\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let answer = conversation.run(&Step::Command(register.to_vec())).await;
    assert_eq!(answer[4], 0, "{}", answer.escape_ascii());
    let dump = [&[0x12, 4, 0, 0, 0, flags, 0, 0x63, 0, 0, 0][..], b"binlog.000001"].concat();
    conversation.client.command(&dump).await;
}

#[tokio::test]
async fn a_slave_reads_through_the_proxy_what_it_reads_directly() {
    // A heartbeat between the two would be in the second one only.
    let mut stack = Stack::start_with(SandboxOptions::default(), |config| {
        config.monitor.heartbeat = false;
    })
    .await;
    make_account(&stack).await;
    let mut writer = stack.connect().await;
    use mysql_async::prelude::*;
    writer.query_drop("CREATE TABLE d (a LONGBLOB)").await.expect("made");
    writer.query_drop("INSERT INTO d VALUES (REPEAT('x', 3000000))").await.expect("inserted");
    let active = stack.app.handles().routes.borrow().active().expect("somebody is active").index();

    let mut streams = Vec::new();
    for port in [stack.sandbox.server(active).port(), stack.port()] {
        let mut slave = Conversation::begin(port, CLIENT).await;
        ask(&mut slave, NON_BLOCKING).await;
        // The server ends the connection behind the end of the log.
        let mut all = Vec::new();
        let reading = slave.client.stream.read_to_end(&mut all);
        within("the end of the log", reading).await.expect("read");
        streams.push(all);
    }
    assert!(streams[0].len() > 3_000_000, "{} bytes are no log", streams[0].len());
    assert!(streams[0] == streams[1], "{} and {} bytes", streams[0].len(), streams[1].len());

    // One that waits for what comes next gets it, and ends with its master.
    let capabilities = CLIENT | Capabilities::DEPRECATE_EOF;
    let mut slave = Conversation::begin(stack.port(), capabilities).await;
    ask(&mut slave, 0).await;
    let marked = "INSERT INTO d VALUES ('this very row')";
    writer.query_drop(marked).await.expect("inserted");
    let (mut heard, mut buffer) = (Vec::new(), [0; 65536]);
    while !heard.windows(13).any(|window| window == b"this very row") {
        let read = within("an event", slave.client.stream.read(&mut buffer)).await.expect("read");
        assert!(read > 0, "closed after {} bytes", heard.len());
        heard.extend_from_slice(&buffer[..read]);
        let keep = heard.len().saturating_sub(70_000);
        heard.drain(..keep);
    }
    stack.sandbox.server_mut(active).kill().await.expect("killed");
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = within("the end", slave.client.stream.read_to_end(&mut rest)).await;
}
