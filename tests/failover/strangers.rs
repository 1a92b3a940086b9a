//! What no client sends, beside a client that must not notice.

use std::time::Duration;

use mysql_async::prelude::*;
use tandem::wire::ErrorPacket;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::patience::{eventually, within};
use crate::support::Stack;

/// Connects, hears the greeting, says `bytes` and hears what comes until the proxy closes.
async fn say(stack: &Stack, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", stack.port())).await.expect("connected");
    hear_packet(&mut stream).await;
    // The proxy may have closed before it had all of it.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = within("the proxy closes", stream.read_to_end(&mut answer)).await;
    answer
}

async fn hear_packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await.expect("a header");
    let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
    stream.read_exact(&mut payload).await.expect("a payload");
    payload
}

/// A login of the application's, by hand, up to the OK.
async fn log_in(stack: &Stack) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", stack.port())).await.expect("connected");
    hear_packet(&mut stream).await;
    // PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH; a token that fits nothing, for an account
    // without a password needs none.
    let mut response = 0x0008_8200_u32.to_le_bytes().to_vec();
    response.extend_from_slice(&[0, 0, 0, 1, 45]);
    response.extend_from_slice(&[0; 23]);
    response.extend_from_slice(b"open\0\0mysql_native_password\0");
    let mut packet = vec![u8::try_from(response.len()).expect("short"), 0, 0, 1];
    packet.extend_from_slice(&response);
    stream.write_all(&packet).await.expect("sent");
    loop {
        let payload = within("an answer to the login", hear_packet(&mut stream)).await;
        match payload.as_slice() {
            [0x00, ..] => return stream,
            // A switch to another plugin: an empty answer is an empty password.
            [0xFE, ..] => stream.write_all(&[0, 0, 0, 3]).await.expect("sent"),
            [0x01, ..] => {}
            _ => panic!("refused: {:?}", ErrorPacket::parse(&payload)),
        }
    }
}

/// A healthy client that works until it is told to stop, and fails on the first error.
fn neighbour(stack: &Stack) -> impl AsyncFnOnce() + use<> {
    let (opts, (stop, mut stopped)) = (stack.opts(), tokio::sync::oneshot::channel::<()>());
    let work = tokio::spawn(async move {
        // Its own login may take longer than strangers are given here: MySQL asks for the password.
        let log_in = async {
            loop {
                if let Ok(client) = mysql_async::Conn::new(opts.clone()).await {
                    return client;
                }
            }
        };
        let mut client = within("a login", log_in).await;
        let id: Option<u32> = client.query_first("SELECT CONNECTION_ID()").await.expect("asked");
        loop {
            let same: Option<u32> =
                client.query_first("SELECT CONNECTION_ID()").await.expect("asked");
            assert_eq!(same, id, "the same session all the time");
            if stopped.try_recv().is_ok() {
                return;
            }
        }
    });
    async move || {
        stop.send(()).expect("the neighbour works");
        within("the neighbour", work).await.expect("the neighbour noticed nothing");
    }
}

#[tokio::test]
async fn bytes_that_are_not_mysql_get_an_error_and_harm_nobody() {
    let stack = Stack::start_with(Default::default(), |config| {
        config.limits.connect_timeout = Duration::from_secs(1);
    })
    .await;
    let leave = neighbour(&stack);
    let oversized = [&[0xff, 0xff, 0xff, 1][..], &[b'x'; 70_000]].concat();
    let mut random = 0x2545_F491_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random.to_be_bytes()[0]
    })
    .take(3000)
    .collect();
    let cases: [(&str, &[u8]); 7] = [
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: db.example\r\nAccept: */*\r\n\r\n"),
        ("a TLS hello", b"\x16\x03\x01\x00\x30\x01\x00\x00\x2c\x03\x03abcdefghijklmnopqrstuvwxyz"),
        ("noise", &noise),
        ("an oversized handshake", &oversized),
        ("an empty handshake", &[0, 0, 0, 1]),
        ("a handshake that ends inside", &[5, 0, 0, 1, 0x85, 0xa6, 0xff, 0x01, 0]),
        ("a name without an end", &[40, 0, 0, 1, 0x00, 0x82, 0x08, 0, 0, 0, 0, 1, 45, 0]),
    ];
    for (what, bytes) in cases {
        let answer = say(&stack, bytes).await;
        println!("{what}: {:?}", answer.get(4..).map(ErrorPacket::parse));
        if let Some(payload) = answer.get(4..).filter(|payload| !payload.is_empty()) {
            let error = ErrorPacket::parse(payload).expect(what);
            assert!([1043, 1045, 1156, 1158].contains(&error.code), "{what}: {error:?}");
        }
    }
    leave().await;
    let sessions = &stack.app.handles().sessions;
    eventually("no session is left", async || sessions.registry.is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_handshake_that_stops_half_way_is_closed() {
    let stack = Stack::start_with(Default::default(), |config| {
        config.limits.connect_timeout = Duration::from_millis(300);
    })
    .await;
    let leave = neighbour(&stack);
    for beginning in [&[][..], &[40, 0], &[40, 0, 0, 1, 0x00, 0x82]] {
        let mut stream = TcpStream::connect(("127.0.0.1", stack.port())).await.expect("connected");
        hear_packet(&mut stream).await;
        stream.write_all(beginning).await.expect("said");
        let mut rest = Vec::new();
        // Nothing more is said; the proxy ends it.
        let _ = within("the proxy closes", stream.read_to_end(&mut rest)).await;
    }
    leave().await;
}

#[tokio::test]
async fn packets_that_lie_end_their_own_session_only() {
    let stack = Stack::start().await;
    let open = "CREATE USER open@'%' IDENTIFIED BY ''";
    stack.sandbox.server(0).execute(&["SET SESSION sql_log_bin=0", open]).await.expect("made");
    let leave = neighbour(&stack);
    // A command that announces more than it sends, then goes: nothing of it is executed.
    let mut stream = log_in(&stack).await;
    stream.write_all(b"\x40\0\0\0\x03SELECT 1").await.expect("sent");
    drop(stream);
    // No command at all: a payload of no bytes.
    let mut stream = log_in(&stack).await;
    stream.write_all(&[0, 0, 0, 0]).await.expect("sent");
    let mut answer = Vec::new();
    let mut byte = [0; 512];
    let heard = within("an answer", stream.read(&mut byte)).await.unwrap_or(0);
    answer.extend_from_slice(&byte[..heard]);
    if let Some(payload) = answer.get(4..).filter(|payload| !payload.is_empty()) {
        let error = ErrorPacket::parse(payload).expect("an error");
        println!("a command of no bytes: {error:?}");
    }
    drop(stream);
    // A command that nobody knows.
    let mut stream = log_in(&stack).await;
    stream.write_all(&[1, 0, 0, 0, 0xEE]).await.expect("sent");
    let payload = within("an answer", hear_packet(&mut stream)).await;
    let error = ErrorPacket::parse(&payload).expect("an error");
    assert_eq!(error.code, 1047, "the server's own word: {error:?}");
    drop(stream);
    // An execution that ends before its statement's id.
    let mut stream = log_in(&stack).await;
    stream.write_all(&[3, 0, 0, 0, 0x17, 1, 0]).await.expect("sent");
    let payload = within("an answer", hear_packet(&mut stream)).await;
    let error = ErrorPacket::parse(&payload).expect("an error");
    println!("half an id: {error:?}");
    drop(stream);
    leave().await;
    let sessions = &stack.app.handles().sessions;
    eventually("no session is left", async || sessions.registry.is_empty().then_some(())).await;
}
