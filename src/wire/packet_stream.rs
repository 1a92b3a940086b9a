//! Whole small packets over a [`Stream`](super::Stream), for handshakes and for Tandem's own
//! statements. The relay, which never wants a whole packet in memory, takes the stream out and
//! works on it directly.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::{Zeroize as _, Zeroizing};

use super::codec::Malformed;
use super::packet::{Header, put_packet};

/// Why a packet could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The other side closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// What came is not of the protocol.
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

/// Whole packets over a stream.
#[derive(Debug)]
pub struct PacketStream<S> {
    stream: S,
    /// Read, but not asked for yet.
    /// A password may be in it.
    ahead: Zeroizing<Vec<u8>>,
    /// The sequence number of the next packet to be written.
    seq: u8,
    /// The longest payload that is taken.
    longest: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> PacketStream<S> {
    /// The longest packet that is taken from a server, and of Tandem's own statements.
    pub const MAX_PACKET: usize = 1 << 20;

    /// At least this much is asked for in one read.
    const ROOM: usize = 1024;

    /// Starts on a fresh connection.
    pub fn new(stream: S) -> Self {
        Self::resume(stream, Vec::new())
    }

    /// Goes on with a connection that something was read from already.
    pub fn resume(stream: S, ahead: Vec<u8>) -> Self {
        Self { stream, ahead: Zeroizing::new(ahead), seq: 0, longest: Self::MAX_PACKET }
    }

    /// Takes no payload longer than `longest`, which is what somebody may make us keep who has not
    /// said who he is.
    #[must_use]
    pub fn with_longest(self, longest: usize) -> Self {
        Self { longest, ..self }
    }

    /// The stream underneath.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream, and what was read ahead from it.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.ahead.to_vec())
    }

    /// Starts a new command: sequence numbers begin at 0 again.
    pub fn restart(&mut self) {
        self.seq = 0;
    }

    /// The sequence number of the next packet that this side writes.
    pub fn next_seq(&self) -> u8 {
        self.seq
    }

    /// Lets the packets that this side writes begin at `seq`.
    pub fn set_seq(&mut self, seq: u8) {
        self.seq = seq;
    }

    /// The header of the packet that [`Self::read`] will return.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn header(&mut self) -> Result<Header, StreamError> {
        loop {
            if let Some(header) = Header::read(&self.ahead) {
                return Ok(header);
            }
            self.read_more().await?;
        }
    }

    /// Reads a packet's payload.
    ///
    /// # Errors
    /// When the connection breaks, or the packet is longer than it may be.
    pub async fn read(&mut self) -> Result<Vec<u8>, StreamError> {
        loop {
            if let Some(header) = Header::read(&self.ahead) {
                if header.len > self.longest {
                    return Err(Malformed("a packet of a handshake is too long").into());
                }
                if self.ahead.len() >= header.total() {
                    self.seq = header.seq.wrapping_add(1);
                    let payload = self.ahead[Header::LEN..header.total()].to_vec();
                    self.ahead[..header.total()].zeroize();
                    self.ahead.drain(..header.total());
                    return Ok(payload);
                }
            }
            self.read_more().await?;
        }
    }

    /// Reads what is there. What was read moves to no place that is not wiped, and a usual packet of
    /// a handshake comes with one read.
    async fn read_more(&mut self) -> Result<(), StreamError> {
        if self.ahead.capacity() - self.ahead.len() < Self::ROOM {
            let roomier = Vec::with_capacity(2 * self.ahead.len() + Self::ROOM);
            let before = std::mem::replace(&mut self.ahead, Zeroizing::new(roomier));
            self.ahead.extend_from_slice(&before);
        }
        match self.stream.read_buf(&mut *self.ahead).await? {
            0 => Err(StreamError::Closed),
            _ => Ok(()),
        }
    }

    /// Writes a payload as a packet.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn write(&mut self, payload: &[u8]) -> Result<(), StreamError> {
        self.write_all_of(&[payload]).await
    }

    /// Writes several payloads as packets with one system call.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn write_all_of(&mut self, payloads: &[&[u8]]) -> Result<(), StreamError> {
        let room = payloads.iter().map(|p| p.len() + Header::LEN).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(room));
        for payload in payloads {
            self.seq = put_packet(&mut out, self.seq, payload);
        }
        self.write_raw(&out).await
    }

    /// Writes bytes that are packets already, and sees to it that they leave.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn write_raw(&mut self, packets: &[u8]) -> Result<(), StreamError> {
        self.stream.write_all(packets).await?;
        Ok(self.stream.flush().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_come_through_whole_and_numbered() {
        let (near, far) = tokio::io::duplex(16);
        let (mut near, mut far) = (PacketStream::new(near), PacketStream::new(far));
        let send = async {
            near.write_all_of(&[b"one", &[7; 100]]).await.expect("sent");
            near.read().await.expect("answered")
        };
        let receive = async {
            assert_eq!(far.read().await.expect("first"), b"one");
            assert_eq!(far.read().await.expect("second"), [7; 100]);
            far.write(b"ok").await.expect("sent");
        };
        let (answer, ()) = tokio::join!(send, receive);
        assert_eq!(answer, b"ok");
        assert_eq!(near.seq, 3);
    }

    #[tokio::test]
    async fn a_packet_that_promises_too_much_is_refused_at_its_header() {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(&[0xFF, 0xFF, 0xFF, 0, 1]).await.expect("sent");
        let read = PacketStream::new(near).read().await;
        assert!(matches!(read, Err(StreamError::Malformed(_))));
    }

    #[tokio::test]
    async fn an_end_inside_a_packet_is_an_end() {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(&[5, 0, 0, 0, 1]).await.expect("sent");
        drop(far);
        assert!(matches!(PacketStream::new(near).read().await, Err(StreamError::Closed)));
    }
}
