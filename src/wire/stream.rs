//! What a connection runs over.
//!
//! With `packet_stream.rs` the only place of this module that knows sockets. A relay works on a
//! [`Stream`] with `poll_read` and `poll_write` and need not know which kind it is, but for one
//! thing: what TLS or compression has taken is not sent before it is flushed. `poll_write` puts bytes into records,
//! hands the kernel what it takes, and keeps the rest; only [`poll_flush`](AsyncWrite::poll_flush)
//! says that nothing is kept. A socket keeps nothing back, so that a flush of one is no call at all.
//!
//! Reading has no such trap for who polls: `poll_read` first gives out what was decrypted already.
//! That the socket has nothing more does not mean that the stream has not.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ServerConfig, ServerConnection};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::compressed::Compressed;
use super::compressed_numbers::Peer;
use super::compression::Compression;

/// A connection, whatever it runs over.
#[derive(Debug)]
pub enum Stream {
    /// TCP, without encryption.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP. Boxed: a session without TLS shall not pay for the room.
    Tls(Box<TlsStream<TcpStream>>),
    /// Any of them, compressed.
    Compressed(Box<Compressed<Self>>),
}

impl Stream {
    /// Whether nobody on the way can read along, so that a password may travel in clear.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Unix(_) | Self::Tls(_) => true,
            Self::Compressed(stream) => stream.get_ref().is_secure(),
        }
    }

    /// Whether it is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(_) => true,
            Self::Compressed(stream) => stream.get_ref().is_tls(),
        }
    }

    /// Goes over to TLS as the server. `ahead` is what was read from the client already: it need
    /// not wait for an answer to its SSLRequest.
    ///
    /// # Errors
    /// When the handshake fails, or the stream is not TCP. The error's source is rustls's own, if it
    /// was that which failed.
    pub async fn accept_tls(self, ahead: &[u8], config: Arc<ServerConfig>) -> io::Result<Self> {
        let Self::Tcp(stream) = self else { return Err(not_tcp()) };
        let mut fed = Ok(());
        let accepted = TlsAcceptor::from(config)
            .accept_with(stream, |connection| fed = feed(connection, ahead))
            .await;
        fed?;
        Ok(Self::Tls(Box::new(accepted?.into())))
    }

    /// Goes over to compression, which both sides do right behind the OK of a login. `ahead` is what
    /// was read behind the login already.
    #[must_use]
    pub fn compressed(self, compression: Compression, peer: Peer, ahead: Vec<u8>) -> Self {
        Self::Compressed(Box::new(Compressed::new(self, compression, peer, ahead)))
    }

    /// What is written from now on answers everything that was read but the last `ahead` bytes:
    /// compressed packets are numbered by that.
    #[inline]
    pub fn answer_all_but(&mut self, ahead: usize) {
        if let Self::Compressed(stream) = self {
            stream.answer_all_but(ahead);
        }
    }

    /// From now on what is written answers what was last read, as in a login.
    pub fn answer_all(&mut self) {
        if let Self::Compressed(stream) = self {
            stream.answer_all();
        }
    }

    /// Goes over to TLS as the client of a server that is called `name`.
    ///
    /// # Errors
    /// As [`Self::accept_tls`].
    pub async fn connect_tls(
        self,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let Self::Tcp(stream) = self else { return Err(not_tcp()) };
        let connected = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Self::Tls(Box::new(connected.into())))
    }
}

fn not_tcp() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "TLS runs over TCP only")
}

/// Gives the connection what came before it was made.
fn feed(connection: &mut ServerConnection, mut ahead: &[u8]) -> io::Result<()> {
    while !ahead.is_empty() {
        connection.read_tls(&mut ahead)?;
        connection
            .process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
    Ok(())
}

/// A client or a server that goes without TLS's own goodbye has gone all the same. The protocol
/// knows by itself where a command or an answer ends, so that nobody can cut one short unnoticed.
fn end_is_end(read: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
    match read {
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Poll::Ready(Ok(()))
        }
        read => read,
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => end_is_end(Pin::new(stream).poll_read(cx, buf)),
            Self::Compressed(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Compressed(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())), // sockets keep nothing back
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Compressed(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Compressed(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
