//! One connection of a scripted master.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tandem::wire::{
    Capabilities, Greeting, HandshakeResponse, Header, PacketStream, StatusFlags, Stream,
    StreamError, put_packet,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{packets, within};

/// What every session asks of its server first.
const TRACK: &[u8] = b"SET SESSION session_track_system_variables";

/// What it asks before that, when its client wants to be told of its session too.
const QUESTION: &[u8] = b"SELECT @@SESSION.session_track_system_variables";

/// The text of a COM_QUERY, with or without the place for attributes.
fn sql(payload: &[u8]) -> &[u8] {
    let text = payload.strip_prefix(b"\x03\x00\x01").or_else(|| payload.strip_prefix(b"\x03"));
    text.unwrap_or_default()
}

/// A connection to a scripted master.
pub struct FakeConnection {
    packets: PacketStream<Stream>,
    pub thread_id: u32,
    /// What the session logged in with.
    pub login: Option<HandshakeResponse>,
    /// How often it asked for session tracking.
    pub tracked: u32,
    /// How tracking is set here: the list of variables, and changes of state.
    pub tracking: (&'static str, bool),
    /// How often it asked since when the server has been up: for a long time.
    pub asked_uptime: u32,
}

impl FakeConnection {
    pub(super) fn new(stream: TcpStream, thread_id: u32) -> Self {
        stream.set_nodelay(true).expect("set");
        let packets = PacketStream::new(Stream::Tcp(stream));
        let tracking = ("*", true);
        Self { packets, thread_id, login: None, tracked: 0, tracking, asked_uptime: 0 }
    }

    /// Greets and hears the login, and leaves the answer to the test.
    pub async fn greet(&mut self, offered: Capabilities) {
        self.try_to_greet(offered).await.expect("a login");
    }

    /// The same; an error when the client has gone again.
    pub async fn try_to_greet(&mut self, offered: Capabilities) -> Result<(), StreamError> {
        let greeting = Greeting {
            version: "5.5.5-10.11.19-MariaDB".into(),
            connection_id: self.thread_id,
            salt: *b"abcdefghijklmnopqrst",
            capabilities: offered,
            collation: 8,
            status: StatusFlags::AUTOCOMMIT,
            plugin: "mysql_native_password".into(),
        };
        self.packets.write(&greeting.to_payload()).await?;
        let payload = within("a login", self.packets.read()).await?;
        self.login = Some(HandshakeResponse::parse(&payload).expect("a handshake response"));
        Ok(())
    }

    /// The next packet, whatever it is.
    pub async fn packet(&mut self) -> Vec<u8> {
        within("a packet at the server", self.packets.read()).await.expect("a packet")
    }

    /// The next command; a wish for session tracking is granted on the way.
    pub async fn command(&mut self) -> Vec<u8> {
        loop {
            let payload = self.packet().await;
            if sql(&payload).starts_with(QUESTION) {
                self.tell_tracking(b"").await;
                continue;
            }
            if !self.is_the_proxys_own(&payload).await {
                return payload;
            }
        }
    }

    /// The next command has to be a wish for session tracking, the last that a session is restored
    /// with. Grants it.
    pub async fn grant_tracking(&mut self) {
        let payload = self.packet().await;
        assert!(self.is_the_proxys_own(&payload).await, "{payload:?}");
    }

    /// Answers what the proxy asks for itself.
    async fn is_the_proxys_own(&mut self, payload: &[u8]) -> bool {
        if sql(payload).starts_with(TRACK) {
            self.tracked += 1;
            self.say(&packets::ok(packets::AUTOCOMMIT)).await;
        } else if payload == [9] && self.tracked == 0 {
            // Before anything else; later it is a client's.
            self.asked_uptime += 1;
            self.say(b"Uptime: 1000000  Threads: 1  Questions: 1").await;
        } else {
            return false;
        }
        true
    }

    /// Says how tracking is set, and the text values of what else was asked for.
    pub async fn tell_tracking(&mut self, further: &[u8]) {
        let deprecate_eof = self
            .login
            .as_ref()
            .is_some_and(|login| login.capabilities.has(Capabilities::DEPRECATE_EOF));
        let (list, state) = self.tracking;
        let mut row = packets::row(list.as_bytes());
        // Without GTIDs, as MariaDB.
        row.extend_from_slice(&[1, b'0' + u8::from(state), 1, b'1', 0]);
        row.extend_from_slice(further);
        let mut payloads = vec![vec![4]];
        payloads.extend(["a", "b", "c", "d"].map(packets::column));
        if !deprecate_eof {
            payloads.push(packets::eof(packets::AUTOCOMMIT));
        }
        payloads.push(row);
        payloads.push(if deprecate_eof {
            packets::ok_with_info(0xfe, packets::AUTOCOMMIT, b"")
        } else {
            packets::eof(packets::AUTOCOMMIT)
        });
        self.answer(&payloads).await;
    }

    /// The next command has to be this one.
    pub async fn expect(&mut self, payload: &[u8]) {
        let command = self.command().await;
        assert_eq!(
            String::from_utf8_lossy(&command),
            String::from_utf8_lossy(payload),
            "another command than expected"
        );
    }

    /// The same for COM_QUERY.
    pub async fn expect_query(&mut self, sql: &str) {
        self.expect(&packets::query(sql)).await;
    }

    /// Bytes of the next command, however large, header and all: `len` of them.
    pub async fn raw(&mut self, len: usize) -> Vec<u8> {
        let stream = std::mem::replace(&mut self.packets, PacketStream::new(dead()));
        let (mut stream, mut ahead) = stream.into_parts();
        while ahead.len() < len {
            let read = within("bytes at the server", stream.read_buf(&mut ahead)).await;
            assert!(read.expect("read") > 0, "closed after {} of {len} bytes", ahead.len());
        }
        let rest = ahead.split_off(len);
        self.packets = PacketStream::resume(stream, rest);
        ahead
    }

    /// Answers with one packet.
    pub async fn say(&mut self, payload: &[u8]) {
        self.packets.write(payload).await.expect("said");
    }

    /// Answers with these packets, numbered from 1.
    pub async fn answer(&mut self, payloads: &[Vec<u8>]) {
        self.send(&packets::numbered(1, payloads)).await;
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.packets.write_raw(bytes).await.expect("sent");
    }

    /// The same, one write for each piece, and the session runs in between.
    pub async fn send_in_pieces(&mut self, pieces: impl Iterator<Item = &[u8]>) {
        for piece in pieces {
            self.packets.write_raw(piece).await.expect("sent");
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Answers the login and every command with an OK until the session lets go: BEGIN, COMMIT and what is between
    /// them with the flags of a transaction. Writes are counted before they are answered.
    pub async fn say_ok_to_all(mut self, writes: Arc<AtomicU64>) -> Result<(), StreamError> {
        let mut status = packets::AUTOCOMMIT;
        loop {
            self.packets.write(&packets::ok(status)).await?;
            let payload = self.packets.read().await?;
            match sql(&payload) {
                b"BEGIN" => status |= packets::IN_TRANSACTION,
                b"COMMIT" => status &= !packets::IN_TRANSACTION,
                sql if sql.starts_with(b"INSERT") => {
                    writes.fetch_add(1, Ordering::SeqCst);
                }
                _ => {}
            }
        }
    }

    /// Whether the session has let go: with COM_QUIT or by closing.
    pub async fn await_release(&mut self) {
        loop {
            match within("the end at the server", self.packets.read()).await {
                Ok(payload) if payload == [1] => {}
                Ok(payload) if self.is_the_proxys_own(&payload).await => {}
                Ok(payload) => panic!("a command instead of an end: {payload:?}"),
                Err(_) => return,
            }
        }
    }

    /// Closes in good order.
    pub async fn close(self) {
        let (mut stream, _) = self.packets.into_parts();
        stream.shutdown().await.expect("shut down");
    }

    /// Closes with a reset: what a killed process with unread data does.
    pub fn reset(self) {
        let (stream, _) = self.packets.into_parts();
        if let Stream::Tcp(stream) = stream {
            stream.set_zero_linger().expect("set");
        }
    }

    /// The socket itself, to do something to it at once.
    pub fn into_std(self) -> std::net::TcpStream {
        match self.packets.into_parts() {
            (Stream::Tcp(stream), _) => stream.into_std().expect("a socket"),
            (other, _) => panic!("not TCP: {other:?}"),
        }
    }

    /// Half of what a packet promises.
    pub async fn say_half(&mut self, seq: u8, payload: &[u8]) {
        let mut packet = Vec::new();
        put_packet(&mut packet, seq, payload);
        let half = Header::LEN + payload.len() / 2;
        self.send(&packet[..half]).await;
    }
}

/// In the place of a stream that is being worked on.
fn dead() -> Stream {
    let (one, _) = std::os::unix::net::UnixStream::pair().expect("a pair");
    one.set_nonblocking(true).expect("set");
    Stream::Unix(tokio::net::UnixStream::from_std(one).expect("adopted"))
}
