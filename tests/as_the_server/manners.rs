//! What no client should do.

use std::time::Duration;

use tandem::topology::Flavor;
use tandem::wire::{ErrorPacket, Greeting, HandshakeResponse, Header, put_packet, sha2_token};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fake_server::{CLIENT, RawClient, packets, within};
use crate::support::Stack;
use crate::{dial, eventually, log_in, say, ways};

/// What comes until the other side closes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = within("the end of the connection", stream.read_to_end(&mut heard)).await;
    heard
}

async fn await_nobody(stack: &Stack) {
    let registry = &stack.app.handles().sessions.registry;
    eventually("nobody is left", async || registry.is_empty().then_some(())).await;
}

/// A handshake response as it should be, up to and with the fixed part.
fn fixed_part(capabilities: u32) -> Vec<u8> {
    let mut payload = capabilities.to_le_bytes().to_vec();
    payload.extend_from_slice(&[0, 0, 0, 1, 45]);
    payload.extend_from_slice(&[0; 23]);
    payload
}

const PROTOCOL_41: u32 = 0x200;
const SECURE: u32 = 0x8000;
const PLUGIN: u32 = 0x8_0000;
const ATTRIBUTES: u32 = 0x10_0000;
const LENENC: u32 = 0x20_0000;
const SCHEMA: u32 = 8;

fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let usual = PROTOCOL_41 | SECURE;
    let with = |capabilities: u32, rest: &[u8]| [&fixed_part(capabilities), rest].concat();
    let long_name = vec![b'u'; 5000];
    vec![
        ("a token longer than the packet", with(usual, b"app\0\xffabc")),
        (
            "a token of 2^64 bytes",
            with(usual | LENENC, b"app\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff"),
        ),
        ("a token whose length is NULL", with(usual | LENENC, b"app\0\xfb")),
        ("a name without its NUL", with(usual, &long_name)),
        ("a name of 5000 bytes", with(usual, &[&long_name[..], b"\0\0"].concat())),
        ("a schema that is not there", with(usual | SCHEMA, b"app\0\0")),
        ("a plugin that is not there", with(usual | PLUGIN, b"app\0\0")),
        ("a plugin that nobody knows", with(usual | PLUGIN, b"app\0\x05abcdenonsense\0")),
        (
            "attributes longer than the packet",
            with(
                usual | PLUGIN | ATTRIBUTES,
                b"app\0\0mysql_native_password\0\xfe\0\0\0\xff\0\0\0\0",
            ),
        ),
        (
            "attributes that are no pairs",
            with(usual | PLUGIN | ATTRIBUTES, b"app\0\0mysql_native_password\0\x03\xff\xff\xff"),
        ),
        ("protocol 4.0", fixed_part(SECURE)),
        ("every bit there is", with(0xFFFF_FFFF, b"app\0\0\0\0\0")),
        ("nothing but the bits", fixed_part(usual)[..32].to_vec()),
        ("one byte", vec![1]),
        ("a megabyte and more", vec![0x85; (1 << 20) + 1]),
        ("as much as a packet can hold", vec![0; 0xFF_FFFE]),
    ]
}

#[tokio::test]
async fn a_login_that_lies_is_refused_and_harms_nobody() {
    let stack = Stack::start_with(Default::default(), |config| {
        config.limits.connect_timeout = Duration::from_secs(2);
    })
    .await;
    let mut neighbour = stack.connect().await;
    for (what, payload) in lies() {
        let mut client = RawClient::new(dial(stack.port()).await);
        client.packet().await;
        let mut packet = Vec::new();
        put_packet(&mut packet, 1, &payload);
        // It may be refused before all of it was heard.
        let _ = client.stream.write_all(&packet).await;
        // A request for another plugin gets nonsense as well.
        let mut heard = vec![0; 4096];
        let len = within(what, client.stream.read(&mut heard)).await.unwrap_or(0);
        heard.truncate(len);
        if heard.get(4) == Some(&0xFE) {
            let _ = client.stream.write_all(b"\x03\0\0\x03abc").await;
            heard = rest(&mut client.stream).await;
        }
        if heard.get(4..6) == Some(&[1, 4]) {
            heard.clear(); // the password asked for in vain, until the time to log in was over
        }
        let said = heard.get(4..).map(|payload| {
            ErrorPacket::parse(payload)
                .map(|error| (error.code, error.message.chars().take(100).collect::<String>()))
        });
        say(&format!("{what}: {said:?}"));
        if let Some(said) = said {
            let (code, _) = said.unwrap_or_else(|_| panic!("{what}: {}", heard.escape_ascii()));
            assert!([1043, 1045].contains(&code), "{what}: {code}");
        }
        rest(&mut client.stream).await;
    }
    mysql_async::prelude::Queryable::query_drop(&mut neighbour, "DO 1").await.expect("served");
    drop(neighbour);
    await_nobody(&stack).await;
}

#[tokio::test]
async fn a_password_that_is_not_encrypted_as_it_must_be_is_refused() {
    let stack = Stack::start().await;
    if stack.sandbox.binaries().flavor() != Flavor::MySql {
        return say("NOT TESTED: passwords encrypted with the key, with a server of MySQL's");
    }
    let server = stack.sandbox.server(0);
    server.execute(&["CREATE USER sha@'%' IDENTIFIED BY 'secret'"]).await.expect("made");
    // Behind the request for the password: what the client says, and what after that.
    let garbage = vec![0x5A; 256];
    let cases: [(&str, Vec<Vec<u8>>); 6] = [
        ("garbage of the right length", vec![garbage.clone()]),
        ("garbage after the key", vec![vec![2], garbage]),
        ("the key asked for twice", vec![vec![2], vec![2]]),
        ("the password in clear", vec![b"secret\0".to_vec()]),
        ("the password in clear after the key", vec![vec![2], b"secret\0".to_vec()]),
        ("nothing", vec![Vec::new()]),
    ];
    for (what, says) in cases {
        let mut client = RawClient::new(dial(stack.port()).await);
        let greeting = Greeting::parse(&client.packet().await).expect("a greeting");
        let response = HandshakeResponse {
            capabilities: CLIENT,
            max_packet: 1 << 24,
            collation: 45,
            user: b"sha".to_vec(),
            token: sha2_token(b"secret", &greeting.salt).to_vec(),
            schema: None,
            plugin: Some("caching_sha2_password".into()),
            attributes: Vec::new(),
            zstd_level: None,
        };
        client.reply(&response.to_payload()).await;
        assert_eq!(client.packet().await, [1, 4], "{what}");
        for (number, payload) in says.iter().enumerate() {
            client.reply(payload).await;
            if number + 1 < says.len() {
                assert!(client.packet().await.starts_with(b"\x01-----BEGIN"), "{what}");
            }
        }
        let text = client.expect_error(1045).await;
        say(&format!("{what}: {text}"));
        client.expect_close().await;
    }
    await_nobody(&stack).await;
}

#[tokio::test]
async fn a_second_login_is_an_error_like_any_other() {
    let stack = Stack::start().await;
    let mut heard = Vec::new();
    for (way, port) in ways(&stack) {
        drop(stack.connect().await);
        drop(
            mysql_async::Conn::new(
                mysql_async::Opts::from_url(&stack.sandbox.url(port)).expect("a URL"),
            )
            .await
            .expect("a login"),
        );
        let mut answers = Vec::new();
        for seq in [0, 1] {
            let mut client = log_in(port, CLIENT).await;
            let mut packet = Vec::new();
            let again = [&fixed_part(CLIENT.low())[..], b"app\0\0mysql_native_password\0"].concat();
            put_packet(&mut packet, seq, &again);
            // Either it says what it thinks of it and goes on, or it closes.
            packet.extend_from_slice(b"\x01\0\0\0\x01");
            let _ = client.stream.write_all(&packet).await;
            let said = rest(&mut client.stream).await;
            answers.push(said.get(..6.min(said.len())).map(<[u8]>::to_vec));
        }
        say(&format!("a second login {way}: {answers:?}"));
        heard.push(answers);
    }
    assert_eq!(heard[0], heard[1]);
    await_nobody(&stack).await;
}

#[tokio::test]
async fn a_login_that_comes_late_is_not_heard() {
    let stack = Stack::start_with(Default::default(), |config| {
        config.limits.connect_timeout = Duration::from_millis(300);
    })
    .await;
    let mut client = RawClient::new(dial(stack.port()).await);
    client.packet().await;
    client.stream.readable().await.expect("the proxy has closed");
    let mut packet = Vec::new();
    put_packet(&mut packet, 1, &[&fixed_part(PROTOCOL_41 | SECURE)[..], b"app\0\0"].concat());
    let _ = client.stream.write_all(&packet).await;
    client.expect_close().await;
    await_nobody(&stack).await;
}

#[tokio::test]
async fn streams_go_on_whatever_is_done_to_them() {
    let stack = Stack::start().await;
    for (_, port) in ways(&stack) {
        let opts = mysql_async::Opts::from_url(&stack.sandbox.url(port)).expect("a URL");
        drop(mysql_async::Conn::new(opts).await.expect("a login"));
    }
    let large = "SELECT REPEAT('x', 1000000) UNION ALL SELECT REPEAT('y', 3000000)";
    // Commands while a result streams; and everything byte by byte.
    for pieces in [usize::MAX, 1] {
        let mut heard = Vec::new();
        for (_, port) in ways(&stack) {
            let mut client = log_in(port, CLIENT).await;
            let mut sent = Vec::new();
            for sql in [large, "SELECT 2", "SELECT nonsense", "SET @a = 1", "SELECT @a"] {
                put_packet(&mut sent, 0, &packets::query(sql));
            }
            put_packet(&mut sent, 0, &[1]);
            for piece in sent.chunks(pieces.min(sent.len())) {
                client.raw(piece).await;
            }
            heard.push(rest(&mut client.stream).await);
        }
        assert!(heard[0].len() > 4_000_000 && heard[0] == heard[1], "another stream");
    }
    // Half-closed after a query: the answer is still for the client. MySQL puts an error behind it, for
    // want of a goodbye.
    let mut heard = Vec::new();
    for (way, port) in ways(&stack) {
        let mut client = log_in(port, CLIENT).await;
        client.query(large).await;
        client.stream.shutdown().await.expect("half-closed");
        heard.push(rest(&mut client.stream).await);
        say(&format!(
            "half-closed after a query, {way}: {} bytes",
            heard.last().map_or(0, Vec::len)
        ));
    }
    assert!(heard[1].len() > 4_000_000 && heard[0].starts_with(&heard[1]), "another answer");
    await_nobody(&stack).await;
}

#[tokio::test]
async fn a_reset_in_any_state_leaves_nothing_behind() {
    let stack = Stack::start().await;
    drop(stack.connect().await);
    let reset = |client: RawClient| client.stream.set_zero_linger().expect("set");
    for _ in 0..5 {
        reset(RawClient::new(dial(stack.port()).await));
        let mut greeted = RawClient::new(dial(stack.port()).await);
        greeted.packet().await;
        reset(greeted);
        let mut half = RawClient::new(dial(stack.port()).await);
        half.packet().await;
        half.raw(b"\x40\0\0\x01\x00\x82").await;
        reset(half);
        reset(log_in(stack.port(), CLIENT).await);
        let half_a_command: &[u8] = b"\x40\0\0\0\x03SELECT";
        let half_a_long_one = [&b"\xff\xff\xff\0\x03"[..], &[b' '; 200_000]].concat();
        for bytes in [half_a_command, &half_a_long_one] {
            let mut client = log_in(stack.port(), CLIENT).await;
            client.raw(bytes).await;
            reset(client);
        }
        for sql in ["SELECT SLEEP(1)", "SELECT REPEAT('x', 50000000)", "BEGIN"] {
            let mut client = log_in(stack.port(), CLIENT).await;
            client.query(sql).await;
            if sql != "SELECT SLEEP(1)" {
                client.bytes(Header::LEN).await;
            }
            reset(client);
        }
    }
    await_nobody(&stack).await;
    let mut root = stack.sandbox.server(0).root_connection().await.expect("root's login");
    eventually("no thread is left", async || {
        let ask = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'";
        let count: Option<u64> =
            mysql_async::prelude::Queryable::query_first(&mut root, ask).await.expect("asked");
        (count == Some(0)).then_some(())
    })
    .await;
}
