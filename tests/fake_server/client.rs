//! A client that shows every byte.

use tandem::wire::{
    AuthSwitch, Capabilities, ErrorPacket, Greeting, HandshakeResponse, Header, MAX_PAYLOAD,
    OkPacket, StatusFlags, put_packet,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::within;

/// What a usual client can do; without DEPRECATE_EOF and SESSION_TRACK.
pub const CLIENT: Capabilities = Capabilities(
    Capabilities::CLIENT_MYSQL.0
        | Capabilities::PROTOCOL_41.0
        | Capabilities::SECURE_CONNECTION.0
        | Capabilities::TRANSACTIONS.0
        | Capabilities::PLUGIN_AUTH.0
        | Capabilities::PLUGIN_AUTH_LENENC.0
        | Capabilities::LOCAL_FILES.0
        | Capabilities::MULTI_STATEMENTS.0
        | Capabilities::MULTI_RESULTS.0,
);

/// A client's connection.
pub struct RawClient {
    pub stream: TcpStream,
    ahead: Vec<u8>,
    /// The sequence number that the next packet of the server must have.
    expected: u8,
}

impl RawClient {
    /// Before anything was read.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("set");
        Self { stream, ahead: Vec::new(), expected: 0 }
    }

    /// Logs in as `app`, without a password.
    pub async fn log_in(stream: TcpStream, capabilities: Capabilities) -> Self {
        let mut client = Self::new(stream);
        client.answer_greeting(capabilities, "app", |_| Vec::new()).await;
        let payload = client.packet().await;
        assert_eq!(payload[0], 0, "not logged in: {}", String::from_utf8_lossy(&payload));
        client
    }

    /// Reads the greeting and answers it with the token that `answer` makes of the salt.
    pub async fn answer_greeting(
        &mut self,
        capabilities: Capabilities,
        user: &str,
        answer: impl FnOnce(&Greeting) -> Vec<u8>,
    ) -> Greeting {
        let payload = self.packet().await;
        let greeting = Greeting::parse(&payload)
            .unwrap_or_else(|_| panic!("{:?}", ErrorPacket::parse(&payload)));
        let response = HandshakeResponse {
            capabilities,
            max_packet: 1 << 30,
            collation: 45,
            user: user.into(),
            token: answer(&greeting),
            schema: None,
            plugin: Some("mysql_native_password".into()),
            attributes: Vec::new(),
            zstd_level: None,
        };
        self.reply(&response.to_payload()).await;
        greeting
    }

    /// Sends a packet that goes on with an exchange.
    pub async fn reply(&mut self, payload: &[u8]) {
        let mut packet = Vec::new();
        self.expected = put_packet(&mut packet, self.expected, payload);
        self.raw(&packet).await;
    }

    /// Sends a command.
    pub async fn command(&mut self, payload: &[u8]) {
        let mut packet = Vec::new();
        self.expected = put_packet(&mut packet, 0, payload);
        self.raw(&packet).await;
    }

    /// Sends COM_QUERY.
    pub async fn query(&mut self, sql: &str) {
        self.command(&super::packets::query(sql)).await;
    }

    /// Sends several commands with one write. The answers are read one by one, with
    /// [`Self::next_answer`] before each.
    pub async fn pipeline(&mut self, payloads: &[Vec<u8>]) {
        let mut packets = Vec::new();
        for payload in payloads {
            put_packet(&mut packets, 0, payload);
        }
        self.next_answer();
        self.raw(&packets).await;
    }

    /// The next packet begins an answer.
    pub fn next_answer(&mut self) {
        self.expected = 1;
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: &[u8]) {
        within("sending", self.stream.write_all(bytes)).await.expect("sent");
    }

    /// The next packet, with the right number, put together if it is in several.
    pub async fn packet(&mut self) -> Vec<u8> {
        let mut payload = Vec::new();
        loop {
            let header = loop {
                if let Some(header) = Header::read(&self.ahead)
                    && self.ahead.len() >= header.total()
                {
                    break header;
                }
                let read = within("a packet at the client", self.stream.read_buf(&mut self.ahead));
                assert!(read.await.expect("read") > 0, "closed instead of a packet");
            };
            assert_eq!(header.seq, self.expected, "packets out of order");
            self.expected = header.seq.wrapping_add(1);
            payload.extend_from_slice(&self.ahead[Header::LEN..header.total()]);
            self.ahead.drain(..header.total());
            if header.len < MAX_PAYLOAD {
                return payload;
            }
        }
    }

    /// The next `len` bytes.
    pub async fn bytes(&mut self, len: usize) -> Vec<u8> {
        while self.ahead.len() < len {
            let read = within("bytes at the client", self.stream.read_buf(&mut self.ahead)).await;
            assert!(read.expect("read") > 0, "closed after {} of {len} bytes", self.ahead.len());
        }
        let rest = self.ahead.split_off(len);
        std::mem::replace(&mut self.ahead, rest)
    }

    /// Whatever comes next, at least a byte.
    pub async fn some(&mut self) -> Vec<u8> {
        if self.ahead.is_empty() {
            self.ahead.reserve(1 << 16);
            let read = within("bytes at the client", self.stream.read_buf(&mut self.ahead)).await;
            assert!(read.expect("read") > 0, "closed instead of an answer");
        }
        std::mem::take(&mut self.ahead)
    }

    /// Puts back what was not of this answer.
    pub fn put_back(&mut self, bytes: &[u8]) {
        self.ahead.splice(..0, bytes.iter().copied());
    }

    /// The next packet has to be this one.
    pub async fn expect(&mut self, payload: &[u8]) {
        let packet = self.packet().await;
        assert_eq!(packet, payload, "{:?}", String::from_utf8_lossy(&packet));
    }

    /// The next packet has to be an OK. Returns its status flags.
    pub async fn expect_ok(&mut self) -> StatusFlags {
        let packet = self.packet().await;
        assert_eq!(packet[0], 0, "no OK: {}", String::from_utf8_lossy(&packet));
        OkPacket::parse(&packet).expect("an OK").status
    }

    /// The next packet has to be an ERR with this code. Returns its text.
    pub async fn expect_error(&mut self, code: u16) -> String {
        let packet = self.packet().await;
        let error = ErrorPacket::parse(&packet).unwrap_or_else(|_| panic!("no ERR: {packet:?}"));
        assert_eq!(error.code, code, "{}", error.message);
        error.message.into_owned()
    }

    /// A request to answer with another plugin.
    pub async fn expect_switch(&mut self) -> AuthSwitch {
        AuthSwitch::parse(&self.packet().await).expect("an AuthSwitchRequest")
    }

    /// Nothing more comes, and the connection is closed.
    pub async fn expect_close(&mut self) {
        let mut rest = std::mem::take(&mut self.ahead);
        // A reset is an end as well.
        let _ = within("the end at the client", self.stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "{:?} instead of an end", String::from_utf8_lossy(&rest));
    }

    /// Whether nothing has come yet.
    pub fn has_heard_nothing(&mut self) -> bool {
        self.ahead.is_empty() && self.stream.try_read(&mut [0; 1]).is_err()
    }
}
