//! A control connection over TLS: the driver speaks plainly inside the process, and what leaves it is
//! encrypted.
//!
//! The driver has a TLS of its own, which this keeps out of the way: it cannot check a certificate's
//! root without its name, it parses certificates that are not to be looked at and refuses what it
//! finds, and it would be a second opinion on what `[server_tls]` means. So the driver is given a
//! Unix socket of this process instead, and this file goes between it and the master: it sends the
//! SSLRequest, shakes hands, and passes the login on with the numbers of packets shifted by one.
//! The driver believes itself on a Unix socket and sends passwords in clear, so that a tunnel
//! without TLS must never be: a connection that stays plain is made by the driver itself.

use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt as _;

use tokio::io::{copy, split};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use super::connection::ConnectionError;
use crate::tls::{MasterTls, TlsFailure};
use crate::topology::UnreachableKind;
use crate::wire::{Capabilities, Greeting, HandshakeResponse, PacketStream, Stream, StreamError};

/// A connection to a master that has greeted us, and the socket at which the driver comes in.
#[derive(Debug)]
pub(super) struct Tunnel {
    master: PacketStream<Stream>,
    greeting: Vec<u8>,
    entrance: UnixListener,
    /// The entrance's name, as the driver wants it.
    path: String,
}

impl Tunnel {
    /// Connects to `address`; `None` when the connection is to stay plain, and not to be used.
    pub(super) async fn dig(
        address: SocketAddr,
        tls: &MasterTls,
    ) -> Result<Option<Self>, ConnectionError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut master = PacketStream::new(Stream::Tcp(stream));
        let greeting = master.read().await.map_err(broken)?;
        // An error in its place, or something else: the driver shall see and say it.
        let Ok(parsed) = Greeting::parse(&greeting) else { return Ok(None) };
        let offered = parsed.capabilities.has(Capabilities::SSL);
        if !tls.wanted(master.get_ref(), offered).map_err(refused)? {
            return Ok(None);
        }
        let (entrance, path) = entrance().map_err(ours)?;
        Ok(Some(Self { master, greeting, entrance, path }))
    }

    /// Where the driver comes in.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Lets the driver in and takes its login to the master `host`. From the master's verdict on
    /// bytes are carried by a task of their own, until either side closes.
    pub(super) async fn let_through(
        self,
        tls: &MasterTls,
        host: &str,
    ) -> Result<(), ConnectionError> {
        let Self { mut master, greeting, entrance, .. } = self;
        let mut driver = PacketStream::new(come_in(&entrance).await.map_err(ours)?);
        drop(entrance);
        driver.write(&greeting).await.map_err(given_up)?;
        let mut response = driver.read().await.map_err(given_up)?;
        // Servers take the capabilities from the request and do not look at them again.
        let parsed = HandshakeResponse::parse(&response).map_err(|_| garbled())?;
        let (max_packet, collation) = (parsed.max_packet, parsed.collation);
        let request = HandshakeResponse::ssl_request(parsed.capabilities, max_packet, collation);
        master.write(&request).await.map_err(broken)?;
        let seq = master.next_seq();
        let (stream, _) = master.into_parts();
        let stream = tls.shake_hands(stream, host).await.map_err(refused)?;
        let mut master = PacketStream::new(stream);
        master.set_seq(seq);
        response[..REQUEST_LEN].copy_from_slice(&request);
        master.write(&response).await.map_err(broken)?;
        loop {
            let said = master.read().await.map_err(broken)?;
            driver.write(&said).await.map_err(given_up)?;
            match said.as_slice() {
                [OK | ERR, ..] => break,
                FAST_AUTHENTICATION => {}
                _ => master.write(&driver.read().await.map_err(given_up)?).await.map_err(broken)?,
            }
        }
        tokio::spawn(carry(driver, master));
        Ok(())
    }
}

/// Bytes of an SSLRequest, which a login begins with as well.
const REQUEST_LEN: usize = 32;
const OK: u8 = 0x00;
const ERR: u8 = 0xFF;
/// "Your token was enough": an OK follows without an answer.
const FAST_AUTHENTICATION: &[u8] = &[0x01, 0x03];

/// Carries bytes both ways until either side closes or breaks: then both are over.
async fn carry(driver: PacketStream<UnixStream>, master: PacketStream<Stream>) {
    let (driver, from_driver) = driver.into_parts();
    let (master, from_master) = master.into_parts();
    let (driver_in, mut driver_out) = split(driver);
    let (master_in, mut master_out) = split(master);
    let mut up = tokio::io::AsyncReadExt::chain(&from_driver[..], driver_in);
    let mut down = tokio::io::AsyncReadExt::chain(&from_master[..], master_in);
    // How it ended is what the driver finds.
    tokio::select! {
        _ = copy(&mut up, &mut master_out) => {}
        _ = copy(&mut down, &mut driver_out) => {}
    }
}

/// A socket without a file, under a name that nobody else has.
fn entrance() -> io::Result<(UnixListener, String)> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
    let name = format!("tandem-{:032x}", u128::from_ne_bytes(random));
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name)?;
    let listener = std::os::unix::net::UnixListener::bind_addr(&address)?;
    listener.set_nonblocking(true)?;
    Ok((UnixListener::from_std(listener)?, format!("\0{name}")))
}

/// Waits for the driver. Others may find the name, and are not let in.
async fn come_in(entrance: &UnixListener) -> io::Result<UnixStream> {
    loop {
        let (stream, _) = entrance.accept().await?;
        let own = i32::try_from(std::process::id()).ok();
        if stream.peer_cred()?.pid() == own {
            return Ok(stream);
        }
    }
}

fn refused(failure: TlsFailure) -> ConnectionError {
    match failure {
        TlsFailure::Broken { kind, reason } => io::Error::new(kind, reason).into(),
        failure => ConnectionError::Unintelligible(failure.to_string()),
    }
}

fn broken(error: StreamError) -> ConnectionError {
    match error {
        StreamError::Io(error) => error.into(),
        StreamError::Closed => ConnectionError::Unreachable {
            kind: UnreachableKind::Reset,
            detail: "the server closed the connection".to_owned(),
        },
        StreamError::Malformed(malformed) => ConnectionError::Unintelligible(malformed.to_string()),
    }
}

/// The driver went: it says itself why.
fn given_up(error: StreamError) -> ConnectionError {
    ConnectionError::Exhausted(format!("the driver gave its login up: {error}"))
}

/// What goes wrong inside this process is no evidence about a server.
fn ours(error: io::Error) -> ConnectionError {
    ConnectionError::Exhausted(error.to_string())
}

fn garbled() -> ConnectionError {
    ConnectionError::Exhausted("the driver's login is not understood".to_owned())
}
