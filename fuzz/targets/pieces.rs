//! A stream that delivers what it likes at a time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Delivers `bytes` in pieces, then its end; takes whatever is written.
pub struct Pieces<'a, L> {
    bytes: &'a [u8],
    lengths: L,
    /// What was written.
    pub written: Vec<u8>,
}

impl<'a, L> Pieces<'a, L> {
    pub fn new(bytes: &'a [u8], lengths: L) -> Self {
        Self { bytes, lengths, written: Vec::new() }
    }
}

impl<L: Iterator<Item = usize> + Unpin> AsyncRead for Pieces<'_, L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wanted = self.lengths.next().unwrap_or(1);
        let len = wanted.min(self.bytes.len()).min(room.remaining());
        let (piece, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        room.put_slice(piece);
        Poll::Ready(Ok(()))
    }
}

impl<L: Unpin> AsyncWrite for Pieces<'_, L> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
