//! A stream whose bytes travel compressed: what is read is unpacked, what is written is packed, and
//! whoever reads and writes sees ordinary packets, numbered as without compression.
//!
//! As with TLS, what was written is sent only when it is flushed: the kernel gets what it takes at
//! once, and the rest waits here. An idle stream holds no buffer: bytes are read, packed and unpacked
//! in buffers that all sessions of a worker share, and only what is left over is kept.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::codec::Malformed;
use super::compressed_numbers::{CompressedNumbers, Peer};
use super::compression::{Compression, PIECE, Unpacked, Unpacker, put_compressed};

/// Packed bytes that are read at once.
const READ: usize = 16 * 1024;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// What is packed, before and after.
    static OUTPUT: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Compression over `S`.
#[derive(Debug)]
pub struct Compressed<S> {
    inner: S,
    compression: Compression,
    numbers: CompressedNumbers,
    unpacker: Unpacker,
    /// Read, but not unpacked yet.
    ahead: Vec<u8>,
    /// Packed, but not sent yet, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
}

impl<S> Compressed<S> {
    /// Goes over to compression, right behind the OK of the login. `ahead` is what was read from
    /// `inner` behind the other side's last packet of the login.
    pub fn new(inner: S, compression: Compression, peer: Peer, ahead: Vec<u8>) -> Self {
        Self {
            inner,
            compression,
            numbers: CompressedNumbers::new(peer),
            unpacker: Unpacker::new(compression),
            ahead,
            unsent: Vec::new(),
            sent: 0,
        }
    }

    /// What it runs over.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// What is written from now on answers everything that was read but the last `ahead` bytes.
    pub fn answer_all_but(&mut self, ahead: usize) {
        self.numbers.answer_all_but(ahead);
    }

    /// What is written answers what was last read.
    pub fn answer_all(&mut self) {
        self.numbers.answer_all();
    }

    /// Unpacks into `buf` until it is full or nothing more comes out of `input`. Returns how much of
    /// that is used up: all of it unless `buf` is full.
    fn unpack(&mut self, input: &[u8], buf: &mut ReadBuf<'_>) -> Result<usize, Malformed> {
        let mut used = 0;
        while buf.remaining() > 0 {
            let room = buf.initialize_unfilled();
            match self.unpacker.step(&input[used..], room)? {
                Unpacked::Header { seq, read } => {
                    self.numbers.received(seq);
                    used += read;
                }
                Unpacked::Bytes { read: 0, written: 0 } => break,
                Unpacked::Bytes { read, written } => {
                    self.numbers.hand_out(&mut room[..written]);
                    buf.advance(written);
                    used += read;
                }
            }
        }
        Ok(used)
    }
}

impl<S: AsyncRead + Unpin> Compressed<S> {
    /// Reads once from below and unpacks it. Ready without anything in `buf` at the end, or when
    /// more has to come: the flag says which.
    fn poll_more(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        INPUT.with_borrow_mut(|input| {
            input.resize(READ, 0);
            let mut packed = ReadBuf::new(input);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut packed))?;
            let packed = packed.filled();
            if packed.is_empty() {
                return Poll::Ready(match self.unpacker.is_at_boundary() {
                    true => Ok(true),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                });
            }
            let used = self.unpack(packed, buf).map_err(garbled)?;
            self.ahead.extend_from_slice(&packed[used..]);
            Poll::Ready(Ok(false))
        })
    }
}

impl<S: AsyncWrite + Unpin> Compressed<S> {
    /// Hands on what is packed.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.sent += write_some(&mut self.inner, cx, &self.unsent[self.sent..])?;
        if self.sent < self.unsent.len() {
            return Poll::Pending;
        }
        self.unsent = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

/// Writes as much as is taken.
fn write_some<S: AsyncWrite + Unpin>(
    inner: &mut S,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match Pin::new(&mut *inner).poll_write(cx, &bytes[written..]) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(len)) => written += len,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    Ok(written)
}

fn garbled(malformed: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, malformed)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Compressed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Whoever waits for an answer waits until the question is sent.
        let _ = this.poll_unsent(cx)?;
        let before = buf.filled().len();
        // Something may have been left for want of room, in `ahead` or in the unpacker.
        let mut ahead = std::mem::take(&mut this.ahead);
        let used = this.unpack(&ahead, buf).map_err(garbled)?;
        if used < ahead.len() {
            ahead.drain(..used);
            this.ahead = ahead;
        }
        while buf.filled().len() == before && buf.remaining() > 0 {
            if ready!(this.poll_more(cx, buf))? {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Compressed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        OUTPUT.with_borrow_mut(|(plain, packed)| {
            plain.clear();
            plain.extend_from_slice(&bytes[..bytes.len().min(PIECE)]);
            let (len, seq) = this.numbers.send(plain);
            packed.clear();
            put_compressed(packed, this.compression, seq, &plain[..len]);
            let written = write_some(&mut this.inner, cx, packed)?;
            this.unsent.extend_from_slice(&packed[written..]);
            Poll::Ready(Ok(len))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{PacketStream, ZSTD_LEVEL};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    fn pair(compression: Compression, size: usize) -> [Compressed<tokio::io::DuplexStream>; 2] {
        let (near, far) = duplex(size);
        [
            Compressed::new(near, compression, Peer::Server, Vec::new()),
            Compressed::new(far, compression, Peer::Client, Vec::new()),
        ]
    }

    #[tokio::test]
    async fn packets_of_any_size_go_both_ways_through_any_eye_of_a_needle() {
        for compression in [Compression::Zlib, Compression::Zstd(ZSTD_LEVEL)] {
            for size in [10, 1000, 100_000] {
                let [client, server] = pair(compression, size);
                let (mut client, mut server) =
                    (PacketStream::new(client), PacketStream::new(server));
                let payloads: Vec<Vec<u8>> = [0, 1, 49, 50, 70_000, 300_000]
                    .map(|len| (0..len).map(|i| (i % 251 * (i / 1000)) as u8).collect())
                    .into();
                let asking = async {
                    for payload in &payloads {
                        client.restart();
                        client.write(payload).await.expect("sent");
                        assert_eq!(&client.read().await.expect("answered"), payload);
                    }
                };
                let answering = async {
                    for payload in &payloads {
                        assert_eq!(&server.read().await.expect("asked"), payload);
                        assert_eq!(server.next_seq(), 1);
                        server.write(payload).await.expect("sent");
                    }
                };
                tokio::join!(asking, answering);
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_flushed_waits_and_an_idle_stream_holds_nothing() {
        let (near, mut far) = duplex(10);
        let mut stream = Compressed::new(near, Compression::Zlib, Peer::Server, Vec::new());
        let packet = [&[30, 0, 0, 0][..], &[7; 30]].concat();
        assert_eq!(stream.write(&packet).await.expect("taken"), packet.len());
        assert_eq!(stream.unsent.len(), 7 + 34 - 10);
        let mut heard = vec![0; 41];
        let (flushed, read) = tokio::join!(stream.flush(), far.read_exact(&mut heard));
        flushed.expect("sent");
        read.expect("heard");
        assert_eq!(heard[7..], packet);
        assert_eq!((stream.unsent.capacity(), stream.ahead.capacity()), (0, 0));
    }

    #[tokio::test]
    async fn an_end_is_told_from_a_break() {
        let packed = [5, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9];
        for (len, fine) in [(12, true), (11, false), (3, false)] {
            let (near, mut far) = duplex(100);
            far.write_all(&packed[..len]).await.expect("sent");
            drop(far);
            let mut stream = Compressed::new(near, Compression::Zlib, Peer::Server, Vec::new());
            let mut heard = Vec::new();
            let read = stream.read_to_end(&mut heard).await;
            assert_eq!(read.is_ok(), fine, "{len} bytes: {read:?}");
        }
    }
}
