//! The server half of a session: a connection to a master, logged in as the client's user.

use std::io;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};

use super::credential::{CACHING_SHA2, Credential};
use super::login::Login;
use crate::topology::{Server, ServerAddress, ServerId, UnreachableKind};
use crate::wire::{
    AuthSwitch, Capabilities, ErrorPacket, Greeting, HandshakeResponse, OkPacket, PacketStream,
    Salt, StatusFlags, Stream, StreamError, encrypt_with_pem,
};

/// A connection to a master.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) stream: Stream,
    /// Which master.
    pub(super) server: ServerId,
    /// The master's own id of the connection.
    pub(super) thread_id: u32,
    /// When it was made.
    pub(super) since: Instant,
    /// Numbers the logins of a session.
    pub(super) login: u64,
    /// Bytes of a response that cannot be forwarded before more have come.
    pub(super) carry: Vec<u8>,
    /// Statements of Tandem's own that go out before the next command, as packets.
    pub(super) preamble: Vec<u8>,
    /// How many answers to those are still to be swallowed.
    pub(super) swallow: u32,
}

/// A master's word on a login.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) backend: Backend,
    /// The payload of its OK.
    pub(super) ok: Vec<u8>,
    pub(super) status: StatusFlags,
}

/// Why there is no connection to a master.
#[derive(Debug)]
pub(super) enum ConnectFailure {
    /// It could not be reached, or the connection broke on the way.
    Unreachable(UnreachableKind, String),
    /// It refused the login, or the connection. The payload of its ERR.
    Refused(Vec<u8>),
    /// It wants something of the login that Tandem cannot give, or offers less than the client has
    /// been promised.
    Unsupported(String),
    /// It is not the active one any more.
    Replaced(String),
    /// Somebody ended the statement that waits for it.
    Interrupted,
}

impl From<StreamError> for ConnectFailure {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Io(error) => Self::Unreachable(kind_of(&error), error.to_string()),
            StreamError::Closed => Self::Unreachable(UnreachableKind::Reset, error.to_string()),
            StreamError::Malformed(malformed) => Self::Unsupported(malformed.to_string()),
        }
    }
}

/// What an IO error says of the server.
pub(super) fn kind_of(error: &io::Error) -> UnreachableKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => UnreachableKind::Refused,
        io::ErrorKind::TimedOut => UnreachableKind::Silent,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            UnreachableKind::NoRoute
        }
        _ => UnreachableKind::Reset,
    }
}

impl Backend {
    /// Connects to `server` and logs in, within `timeout`.
    pub(super) async fn connect(
        server: &Server,
        login: &Login,
        number: u64,
        timeout: Duration,
    ) -> Result<Accepted, ConnectFailure> {
        let attempt = async {
            let mut packets = PacketStream::new(dial(&server.address).await?);
            let greeting = read_greeting(&mut packets).await?;
            let ok = log_in(&mut packets, &greeting, login).await?;
            Ok::<_, ConnectFailure>((packets, greeting, ok))
        };
        let (packets, greeting, ok) = match tokio::time::timeout(timeout, attempt).await {
            Ok(result) => result?,
            Err(_) => {
                let detail = format!("no login within {timeout:?}");
                return Err(ConnectFailure::Unreachable(UnreachableKind::Silent, detail));
            }
        };
        let status = OkPacket::parse(&ok)
            .map_err(|malformed| ConnectFailure::Unsupported(malformed.to_string()))?
            .status;
        let (stream, carry) = packets.into_parts();
        let backend = Self {
            stream,
            server: server.id,
            thread_id: greeting.connection_id,
            since: Instant::now(),
            login: number,
            carry,
            preamble: Vec::new(),
            swallow: 0,
        };
        Ok(Accepted { backend, ok, status })
    }
}

async fn dial(address: &ServerAddress) -> Result<Stream, ConnectFailure> {
    let unreachable =
        |error: io::Error| ConnectFailure::Unreachable(kind_of(&error), error.to_string());
    match address {
        ServerAddress::Unix(path) => {
            Ok(Stream::Unix(UnixStream::connect(path).await.map_err(unreachable)?))
        }
        ServerAddress::Tcp { host, port } => {
            let stream = if let Ok(ip) = host.parse::<std::net::IpAddr>() {
                TcpStream::connect((ip, *port)).await.map_err(unreachable)?
            } else {
                let addresses: Vec<_> = tokio::net::lookup_host((host.as_str(), *port))
                    .await
                    .map_err(|error| {
                        ConnectFailure::Unreachable(
                            UnreachableKind::Unresolvable,
                            error.to_string(),
                        )
                    })?
                    .collect();
                TcpStream::connect(&addresses[..]).await.map_err(unreachable)?
            };
            tune(&stream);
            Ok(Stream::Tcp(stream))
        }
    }
}

/// No waiting for more to send, and a dead peer is noticed. Failing to set either harms nobody.
pub(super) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

async fn read_greeting(packets: &mut PacketStream<Stream>) -> Result<Greeting, ConnectFailure> {
    let payload = packets.read().await?;
    if payload.first() == Some(&0xFF) {
        return Err(ConnectFailure::Refused(payload));
    }
    Greeting::parse(&payload).map_err(|error| ConnectFailure::Unsupported(error.to_string()))
}

/// Answers the greeting and everything that follows, until the OK, whose payload is returned.
async fn log_in(
    packets: &mut PacketStream<Stream>,
    greeting: &Greeting,
    login: &Login,
) -> Result<Vec<u8>, ConnectFailure> {
    let promised = login.capabilities & Capabilities::SHAPING;
    if !greeting.capabilities.has(promised) {
        return Err(ConnectFailure::Unsupported(
            "the master offers less of the protocol than the client was promised".to_owned(),
        ));
    }
    let mut plugin = login.credential.plugin(&greeting.plugin).to_owned();
    let mut salt = greeting.salt;
    let response = HandshakeResponse {
        capabilities: capabilities_towards(greeting, login),
        max_packet: login.max_packet,
        collation: login.collation,
        user: login.user.clone(),
        token: login.credential.token(&plugin, &salt).unwrap_or_default(),
        schema: login.schema.clone(),
        plugin: Some(plugin.clone()),
        attributes: login.attributes.clone(),
    };
    packets.write(&response.to_payload()).await?;
    loop {
        let payload = packets.read().await?;
        match payload.first() {
            Some(0x00) => return Ok(payload),
            Some(0xFF) => return Err(ConnectFailure::Refused(payload)),
            Some(0xFE) => {
                let switch = AuthSwitch::parse(&payload)
                    .map_err(|error| ConnectFailure::Unsupported(error.to_string()))?;
                let token = login.credential.token(&switch.plugin, &switch.salt);
                let Some(token) = token else {
                    return Err(ConnectFailure::Unsupported(format!(
                        "the account authenticates with {}, which this version of Tandem cannot \
                         answer from what the client sent",
                        switch.plugin
                    )));
                };
                packets.write(&token).await?;
                (plugin, salt) = (switch.plugin, switch.salt);
            }
            Some(0x01) if plugin == CACHING_SHA2 => {
                sha2_goes_on(packets, &payload[1..], login, &salt).await?;
            }
            _ => {
                return Err(ConnectFailure::Unsupported(
                    "the master sent a packet that no login has".to_owned(),
                ));
            }
        }
    }
}

/// `01 03`: the token was enough. `01 04`: the password itself is wanted, encrypted with the key
/// that the master sends on request, or in clear where nobody can read along.
async fn sha2_goes_on(
    packets: &mut PacketStream<Stream>,
    data: &[u8],
    login: &Login,
    salt: &Salt,
) -> Result<(), ConnectFailure> {
    if data != [4] {
        return Ok(()); // 3: an OK follows
    }
    let Credential::Password(password) = &login.credential else {
        return Err(ConnectFailure::Refused(
            ErrorPacket {
                code: 1045,
                state: Some(*b"28000"),
                message: "Access denied: the password is not known to the proxy".into(),
            }
            .to_payload(),
        ));
    };
    if packets.get_ref().is_secure() {
        let mut clear = zeroize::Zeroizing::new(password.to_vec());
        clear.push(0);
        return Ok(packets.write(&clear).await?);
    }
    packets.write(&[2]).await?;
    let key = packets.read().await?;
    if key.first() == Some(&0xFF) {
        return Err(ConnectFailure::Refused(key));
    }
    let sealed = encrypt_with_pem(&key[1.min(key.len())..], password, salt)
        .map_err(|error| ConnectFailure::Unsupported(error.to_string()))?;
    Ok(packets.write(&sealed).await?)
}

/// What the master is told: what the client can, each hop's own bits, session tracking, which Tandem
/// wants for itself, and attributes, of which it has its own.
fn capabilities_towards(greeting: &Greeting, login: &Login) -> Capabilities {
    let own = Capabilities::PROTOCOL_41
        | Capabilities::SECURE_CONNECTION
        | Capabilities::TRANSACTIONS
        | Capabilities::PLUGIN_AUTH
        | Capabilities::PLUGIN_AUTH_LENENC
        | Capabilities::SESSION_TRACK
        | Capabilities::CONNECT_ATTRS;
    let mut wanted = (login.capabilities | own).without(Capabilities::CONNECT_WITH_DB);
    if login.schema.is_some() {
        wanted = wanted | Capabilities::CONNECT_WITH_DB;
    }
    let mut agreed = wanted & greeting.capabilities;
    if greeting.capabilities.has(Capabilities::CLIENT_MYSQL) || !agreed.is_extended() {
        agreed = agreed | Capabilities::CLIENT_MYSQL;
    }
    agreed
}
