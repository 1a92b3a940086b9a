//! The relay before a real pair, packet for packet against a direct connection.

#[path = "fake_server/mod.rs"]
mod fake_server;
mod support;

use fake_server::{CLIENT, RawClient, packets};
use support::Stack;
use tandem::wire::{
    AuthSwitch, Capabilities, Header, ResponseTracker, Step, encrypt_with_pem,
    native_token_of_password, sha2_token,
};
use tokio::net::TcpStream;

/// A raw login as the application, straight to a server or through the proxy.
async fn log_in(port: u16, capabilities: Capabilities, user: &str, password: &str) -> RawClient {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    let mut client = RawClient::new(stream);
    let password = password.as_bytes();
    let mut salt = client
        .answer_greeting(capabilities, user, |greeting| {
            native_token_of_password(password, &greeting.salt).to_vec()
        })
        .await
        .salt;
    loop {
        let payload = client.packet().await;
        match payload.as_slice() {
            [0x00, ..] => return client,
            // MySQL's accounts want caching_sha2_password: fast, or with the password itself.
            [0xFE, ..] => {
                salt = AuthSwitch::parse(&payload).expect("a switch").salt;
                client.reply(&sha2_token(password, &salt)).await;
            }
            [0x01, 3] => {}
            [0x01, 4] => {
                client.reply(&[2]).await;
                let key = client.packet().await;
                let sealed = encrypt_with_pem(&key[1..], password, &salt).expect("sealed");
                client.reply(&sealed).await;
            }
            _ => panic!("not logged in: {}", String::from_utf8_lossy(&payload)),
        }
    }
}

/// The packets of one answer, as they came.
async fn answer(
    client: &mut RawClient,
    capabilities: Capabilities,
    command: &[u8],
    cursor: bool,
) -> Vec<u8> {
    client.command(command).await;
    let mut tracker = ResponseTracker::new(capabilities);
    tracker.start(tandem::wire::Command::from_byte(command[0]), cursor);
    let mut all = Vec::new();
    while !tracker.is_done() {
        let mut packet = client.bytes(Header::LEN).await;
        let header = Header::read(&packet).expect("a header");
        packet.extend(client.bytes(header.len).await);
        let mut at = 0;
        while at < packet.len() {
            match tracker.step(&packet[at..]).expect("a packet of the protocol") {
                Step::Pass(len) => at += len,
                Step::Packet { total, .. } => at += total,
                Step::Wait(_) => panic!("a whole packet is there"),
            }
        }
        all.extend(packet);
    }
    all
}

const STATEMENTS: [&str; 13] = [
    "SELECT 1",
    "SELECT NULL, '', 'x', 1.5, CAST('2026-01-02' AS DATE), REPEAT('y', 70000)",
    "SELECT * FROM mysql.help_topic LIMIT 200",
    "SELECT nonsense",
    "SET NAMES utf8mb4",
    "USE app",
    "DROP TEMPORARY TABLE IF EXISTS p",
    "CREATE TEMPORARY TABLE p (id INT PRIMARY KEY, a LONGBLOB)",
    "INSERT INTO p VALUES (1, 'a'), (2, NULL)",
    "UPDATE p SET a = 'b' WHERE id = 1",
    "SELECT id, a FROM p ORDER BY id",
    "SELECT 1; SELECT 2; SELECT id FROM p",
    "DO 1; SELECT nonsense",
];

#[tokio::test]
async fn packets_are_those_of_a_direct_connection() {
    let stack = Stack::start().await;
    let user = stack.sandbox.application(); // its password is its name
    for capabilities in [CLIENT, CLIENT | Capabilities::DEPRECATE_EOF] {
        // What the proxy agrees on with the server by itself must not show.
        let mut direct =
            log_in(stack.sandbox.server(0).port(), capabilities, &user.user, &user.user).await;
        let mut proxied = log_in(stack.port(), capabilities, &user.user, &user.user).await;
        for sql in STATEMENTS {
            let command = packets::query(sql);
            let there = answer(&mut direct, capabilities, &command, false).await;
            let here = answer(&mut proxied, capabilities, &command, false).await;
            assert!(
                there == here,
                "{sql}: direct {:?}, proxied {:?}",
                there.escape_ascii().to_string(),
                here.escape_ascii().to_string()
            );
        }
        for (sql, cursor) in [("SELECT id, a FROM p", false), ("SELECT id, a FROM p", true)] {
            let mut answers = Vec::new();
            for client in [&mut direct, &mut proxied] {
                let mut all = answer(client, capabilities, &packets::prepare(sql), false).await;
                let id = u32::from_le_bytes(all[5..9].try_into().expect("an id"));
                all[5..9].fill(0);
                let execute = packets::statement(0x17, id, &[u8::from(cursor), 1, 0, 0, 0]);
                all.extend(answer(client, capabilities, &execute, cursor).await);
                if cursor {
                    for _ in 0..3 {
                        let fetch = packets::statement(0x1c, id, &1u32.to_le_bytes());
                        all.extend(answer(client, capabilities, &fetch, false).await);
                    }
                }
                let reset = packets::statement(0x1a, id, &[]);
                all.extend(answer(client, capabilities, &reset, false).await);
                client.command(&packets::statement(0x19, id, &[])).await;
                answers.push(all);
            }
            assert!(answers[0] == answers[1], "{sql}, cursor {cursor}: another answer");
        }
        for command in [&b"\x0e"[..], b"\x02app", b"\x1b\0\0", b"\x04p\0", b"\x1f", b"\x77"] {
            let there = answer(&mut direct, capabilities, command, false).await;
            let here = answer(&mut proxied, capabilities, command, false).await;
            assert_eq!(there, here, "command {command:?}");
        }
    }
}

#[tokio::test]
async fn payloads_of_16_mib_and_more_go_in_and_come_out() {
    const MAX: usize = 0xff_ffff;
    let stack = Stack::start_with(
        tandem::sandbox::SandboxOptions {
            arguments: vec!["--max_allowed_packet=128M".into()],
            ..Default::default()
        },
        |_| {},
    )
    .await;
    let user = stack.sandbox.application();
    let mut client = log_in(stack.port(), CLIENT, &user.user, &user.user).await;
    answer(&mut client, CLIENT, &packets::query("CREATE TABLE app.big (a LONGBLOB)"), false).await;
    for total in [MAX - 1, MAX, MAX + 1, 2 * MAX, 40_000_000] {
        // The payload of the command is so long: the byte of the command, the text around, the blob.
        let (before, after) = ("REPLACE INTO app.big VALUES ('", "')");
        let blob = total - 1 - before.len() - after.len();
        let sql = format!("{before}{}{after}", "z".repeat(blob));
        let inserted = answer(&mut client, CLIENT, &packets::query(&sql), false).await;
        assert_eq!(inserted[4], 0, "{}", String::from_utf8_lossy(&inserted[4..]));
        let asked =
            packets::query("SELECT a, LENGTH(a) FROM app.big ORDER BY LENGTH(a) DESC LIMIT 1");
        client.command(&asked).await;
        for _ in 0..4 {
            client.packet().await;
        }
        let row = client.packet().await;
        assert!(row.ends_with(blob.to_string().as_bytes()), "{total}: another length");
        client.packet().await;
    }
}
