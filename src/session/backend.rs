//! The server half of a session: a connection to a master, logged in as the client's user.

use std::io;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

use super::answering::{agreed_compression, capabilities_towards, first_collation, log_in};
use super::login::Login;
use super::seats::Seat;
use super::tracking::Question;
use crate::tls::{MasterTls, TlsFailure};
use crate::topology::{Server, ServerAddress, ServerId, UnreachableKind};
use crate::wire::{
    Capabilities, Greeting, HandshakeResponse, OkPacket, PacketStream, Peer, StatusFlags, Stream,
    StreamError,
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
    /// What both sides of this connection can do.
    pub(super) capabilities: Capabilities,
    /// Numbers the logins of a session.
    pub(super) login: u64,
    /// Bytes of a response that cannot be forwarded before more have come.
    pub(super) carry: Vec<u8>,
    /// Statements of Tandem's own that go out before the next command, as packets.
    pub(super) preamble: Vec<u8>,
    /// How many answers to those are still to be swallowed.
    pub(super) swallow: u32,
    /// The first of them answers this.
    pub(super) question: Option<Question>,
    /// The place that it takes among those of the reads listener.
    pub(super) seat: Option<Seat>,
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
    /// The connection is not encrypted as `[server_tls]` wants it, or the master not proven to be it.
    NotTrusted(String),
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

impl From<TlsFailure> for ConnectFailure {
    fn from(failure: TlsFailure) -> Self {
        match failure {
            TlsFailure::Broken { kind, reason } => Self::Unreachable(kind_of(&kind.into()), reason),
            failure => Self::NotTrusted(failure.to_string()),
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
    /// Says goodbye, if the server takes it within a moment.
    pub(super) async fn leave(mut self) {
        let quit = async {
            self.stream.write_all(&[1, 0, 0, 0, 1]).await?;
            self.stream.flush().await
        };
        let _ = tokio::time::timeout(Duration::from_millis(100), quit).await;
    }

    /// Connects to `server` and logs in, within `timeout`.
    pub(super) async fn connect(
        server: &Server,
        login: &Login,
        number: u64,
        tls: &MasterTls,
        timeout: Duration,
    ) -> Result<Accepted, ConnectFailure> {
        let attempt = async {
            let mut packets = PacketStream::new(dial(&server.address).await?);
            if !login.towards.preface.is_empty() {
                packets.write_raw(&login.towards.preface).await?;
            }
            let greeting = read_greeting(&mut packets).await?;
            let mut packets = encrypt(packets, &greeting, login, &server.address, tls).await?;
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
        let (mut stream, mut carry) = packets.into_parts();
        if let Some(compression) = agreed_compression(&greeting, login) {
            stream = stream.compressed(compression, Peer::Server, std::mem::take(&mut carry));
        }
        let backend = Self {
            stream,
            server: server.id,
            thread_id: greeting.connection_id,
            since: Instant::now(),
            capabilities: capabilities_towards(&greeting, login),
            login: number,
            carry,
            preamble: Vec::new(),
            swallow: 0,
            question: None,
            seat: None,
        };
        Ok(Accepted { backend, ok, status })
    }
}

/// Goes over to TLS, if that is wanted.
async fn encrypt(
    mut packets: PacketStream<Stream>,
    greeting: &Greeting,
    login: &Login,
    address: &ServerAddress,
    tls: &MasterTls,
) -> Result<PacketStream<Stream>, ConnectFailure> {
    let offered = greeting.capabilities.has(Capabilities::SSL);
    if !tls.wanted(packets.get_ref(), offered)? {
        return Ok(packets);
    }
    let capabilities = capabilities_towards(greeting, login);
    let collation = first_collation(greeting, login);
    let request = HandshakeResponse::ssl_request(capabilities, login.max_packet, collation);
    packets.write(&request).await?;
    let seq = packets.next_seq();
    // A server says nothing before it has been asked, and what it says then is not for packets.
    let (stream, _) = packets.into_parts();
    let host = match address {
        ServerAddress::Tcp { host, .. } => host,
        ServerAddress::Unix(_) => "",
    };
    let mut packets = PacketStream::new(tls.shake_hands(stream, host).await?);
    packets.set_seq(seq);
    Ok(packets)
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
