//! Clients that come through a load balancer: the PROXY protocol header before the handshake, and the
//! one that goes to the masters.
//!
//! From a network of `proxy_protocol.accept_from` a header is demanded, and from no other is one
//! taken: whoever could send one unasked could claim any address. It cannot be optional either,
//! because a server speaks first, and a client that was not greeted yet may be one that has nothing
//! to say.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::client_error::ClientError;
use super::end::SessionEnd;
use super::shared::Shared;
use crate::wire::{
    Malformed, ProxiedEnds, Stream, StreamError, proxy_header, proxy_header_len, read_proxy_header,
};

/// Looked at with one system call.
const LOOK: usize = 512;

/// Whether the load balancer's word on where a client comes from counts.
pub(super) fn is_told(shared: &Shared, peer: Option<SocketAddr>) -> bool {
    peer.is_some_and(|peer| {
        let ip = peer.ip().to_canonical();
        shared.proxy_protocol.accept_from.iter().any(|network| network.contains(&ip))
    })
}

/// Reads the header, and nothing behind it, within `timeout`. `None` when it tells no address.
pub(super) async fn hear(
    stream: &mut Stream,
    timeout: Duration,
) -> Result<Option<ProxiedEnds>, Unheard> {
    let Stream::Tcp(stream) = stream else { return Ok(None) };
    match tokio::time::timeout(timeout, read(stream)).await {
        Ok(heard) => Ok(heard?),
        Err(_) => Err(Unheard::Ended(SessionEnd::HandshakeTimeout)),
    }
}

async fn read(stream: &mut TcpStream) -> Result<Option<ProxiedEnds>, StreamError> {
    let mut header = Vec::new();
    let mut look = [0; LOOK];
    loop {
        let had = header.len();
        let seen = stream.peek(&mut look).await?;
        if seen == 0 {
            return Err(StreamError::Closed);
        }
        header.extend_from_slice(&look[..seen]);
        let end = proxy_header_len(&header)?;
        header.truncate(end.unwrap_or(header.len()));
        // What was looked at and belongs to the header is taken.
        stream.read_exact(&mut look[..header.len() - had]).await?;
        if end.is_some() {
            return Ok(read_proxy_header(&header)?);
        }
    }
}

/// Why a client's address was not heard.
pub(super) enum Unheard {
    Ended(SessionEnd),
    Malformed(Malformed),
}

impl From<StreamError> for Unheard {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Malformed(malformed) => Self::Malformed(malformed),
            other => Self::Ended(SessionEnd::ClientGone(other)),
        }
    }
}

impl Unheard {
    /// What there is to tell the client.
    pub(super) fn told(self) -> Result<ClientError, SessionEnd> {
        match self {
            Self::Ended(end) => Err(end),
            Self::Malformed(malformed) => Ok(ClientError::BadHandshake(malformed.to_string())),
        }
    }
}

/// What goes to a master before its greeting is read; nothing unless `proxy_protocol.send` says so.
pub(super) fn preface(shared: &Shared, ends: Option<ProxiedEnds>) -> Vec<u8> {
    shared.proxy_protocol.send.map_or_else(Vec::new, |version| proxy_header(version, ends))
}

/// Both ends of a connection that has no load balancer before it.
pub(super) fn own_ends(stream: &Stream, peer: Option<SocketAddr>) -> Option<ProxiedEnds> {
    let Stream::Tcp(stream) = stream else { return None };
    Some(ProxiedEnds { client: peer?, server: stream.local_addr().ok()? })
}
