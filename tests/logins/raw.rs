//! A client that answers as it is told to.

#![allow(unreachable_pub)] // it is one suite's

use tandem::wire::{
    AuthSwitch, Capabilities, ChangeUser, ErrorPacket, Greeting, HandshakeResponse, PacketStream,
    Salt, Stream,
};
use tokio::net::TcpStream;

use crate::patience::within;

pub const NATIVE: &str = "mysql_native_password";
pub const CACHING_SHA2: &str = "caching_sha2_password";

/// What a usual client can do.
pub const USUAL: Capabilities = Capabilities(
    Capabilities::CLIENT_MYSQL.0
        | Capabilities::PROTOCOL_41.0
        | Capabilities::SECURE_CONNECTION.0
        | Capabilities::TRANSACTIONS.0
        | Capabilities::PLUGIN_AUTH.0
        | Capabilities::PLUGIN_AUTH_LENENC.0
        | Capabilities::CONNECT_WITH_DB.0,
);

pub struct Raw {
    packets: PacketStream<Stream>,
    pub greeting: Greeting,
}

impl Raw {
    pub async fn greeted(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("listening");
        let mut packets = PacketStream::new(Stream::Tcp(stream));
        let payload = within("a greeting", packets.read()).await.expect("greeted");
        let greeting = Greeting::parse(&payload).expect("a greeting");
        Self { packets, greeting }
    }

    /// Answers the greeting with a token of `plugin`.
    pub async fn respond(
        &mut self,
        capabilities: Capabilities,
        user: &str,
        plugin: &str,
        token: &[u8],
    ) {
        let response = HandshakeResponse {
            capabilities,
            max_packet: 1 << 24,
            collation: 45,
            user: user.into(),
            token: token.to_vec(),
            schema: Some(b"app".to_vec()),
            plugin: Some(plugin.into()),
            attributes: Vec::new(),
            zstd_level: None,
        };
        self.send(&response.to_payload()).await;
    }

    pub async fn send(&mut self, payload: &[u8]) {
        self.packets.write(payload).await.expect("sent");
    }

    pub async fn packet(&mut self) -> Vec<u8> {
        within("a packet", self.packets.read()).await.expect("a packet")
    }

    /// A request for this plugin comes; its salt.
    pub async fn switched_to(&mut self, plugin: &str) -> Salt {
        let payload = self.packet().await;
        let switch = AuthSwitch::parse(&payload)
            .unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&payload)));
        assert_eq!(switch.plugin, plugin);
        switch.salt
    }

    pub async fn expect_ok(&mut self) {
        let payload = self.packet().await;
        assert_eq!(payload[0], 0, "{:?}", String::from_utf8_lossy(&payload));
    }

    pub async fn expect_error(&mut self) -> (u16, String) {
        let payload = self.packet().await;
        let error = ErrorPacket::parse(&payload).unwrap_or_else(|_| panic!("no ERR: {payload:?}"));
        (error.code, error.message.into_owned())
    }

    /// Shows a password that was asked for over plain TCP.
    pub async fn show_password(&mut self, password: &str, salt: &Salt) {
        assert_eq!(self.packet().await, [1, 4], "the password is asked for");
        self.send(&[2]).await;
        let key = self.packet().await;
        assert_eq!(key[0], 1);
        let sealed = tandem::wire::encrypt_with_pem(&key[1..], password.as_bytes(), salt);
        self.send(&sealed.expect("encrypted")).await;
    }

    pub async fn change_user(&mut self, user: &str, schema: Option<&str>, collation: u16) {
        self.packets.restart();
        let change = ChangeUser {
            user: user.into(),
            schema: schema.map(Into::into),
            collation: Some(collation),
            plugin: Some(self.greeting.plugin.clone()),
            attributes: Vec::new(),
        };
        self.send(&change.to_payload(USUAL)).await;
    }

    /// The first value of the only row.
    pub async fn ask(&mut self, sql: &str) -> String {
        self.packets.restart();
        self.send(&[&[3], sql.as_bytes()].concat()).await;
        let columns = self.packet().await;
        assert_ne!(columns[0], 0xFF, "{sql}: {}", String::from_utf8_lossy(&columns));
        for _ in 0..=columns[0] {
            self.packet().await; // definitions and EOF
        }
        let row = self.packet().await;
        let value = String::from_utf8_lossy(&row[1..=usize::from(row[0])]).into_owned();
        assert_eq!(self.packet().await[0], 0xFE, "one row");
        value
    }

    /// Whether the connection is closed, and nothing else comes.
    pub async fn is_closed(&mut self) -> bool {
        within("an end", self.packets.read()).await.is_err()
    }
}

impl Raw {
    /// The answer of a client that knows no salt of twenty bytes.
    pub async fn respond_old(&mut self, capabilities: Capabilities, user: &str) {
        let mut payload = capabilities.low().to_le_bytes().to_vec();
        payload.extend_from_slice(&[0, 0, 0, 1, 45]);
        payload.extend_from_slice(&[0; 23]);
        payload.extend_from_slice(user.as_bytes());
        payload.extend_from_slice(b"\0oldtoken\0app\0");
        self.send(&payload).await;
    }
}

impl Raw {
    /// Goes on after the first token of `caching_sha2_password`, however it was taken.
    pub async fn finish_sha2(&mut self, password: &str, salt: &Salt) {
        match self.packet().await.as_slice() {
            [1, 3] => {}
            [1, 4] => {
                self.send(&[2]).await;
                let key = self.packet().await;
                let sealed = tandem::wire::encrypt_with_pem(&key[1..], password.as_bytes(), salt);
                self.send(&sealed.expect("encrypted")).await;
            }
            other => panic!("{:?}", String::from_utf8_lossy(other)),
        }
    }

    /// A statement without rows.
    pub async fn run(&mut self, sql: &str) {
        self.packets.restart();
        self.send(&[&[3], sql.as_bytes()].concat()).await;
        self.expect_ok().await;
    }
}
