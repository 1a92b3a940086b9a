//! From Tandem to the server: whole commands, which may be interrupted only while the server does not
//! take them.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite as _;

use super::end::SessionEnd;
use super::relay::Relay;
use crate::wire::Command;

/// What goes to the server.
#[derive(Debug)]
pub(super) enum Bytes {
    /// So many from the front of the request.
    Request(usize),
    /// These.
    Own(Vec<u8>),
}

impl Relay {
    /// Writes the command, and what must go before it, to the server.
    #[inline]
    pub(super) async fn send(&mut self) -> Result<io::Result<()>, SessionEnd> {
        let total = self.front_len();
        let Some(backend) = self.backend.as_mut() else {
            return Ok(Err(io::ErrorKind::NotConnected.into()));
        };
        if backend.swallow > 0 {
            self.tracker.start(Command::Query, false);
        } else {
            self.tracker.start(self.current.command, self.current.cursor);
        }
        self.current.failed = false; // it may have been refused elsewhere
        self.entry.set_waiting_since(self.shared.registry.tick());
        if backend.preamble.is_empty() {
            return self.write_to_server(Bytes::Request(total)).await;
        }
        let mut both = std::mem::take(&mut backend.preamble);
        both.extend_from_slice(&self.request.bytes()[..total]);
        self.write_to_server(Bytes::Own(both)).await
    }

    /// Writes to the server, unless it is replaced or the session is killed before it takes all.
    #[inline]
    pub(super) async fn write_to_server(
        &mut self,
        bytes: Bytes,
    ) -> Result<io::Result<()>, SessionEnd> {
        let mut sent = 0;
        poll_fn(|cx| self.poll_write_to_server(cx, &bytes, &mut sent)).await
    }

    pub(super) fn poll_write_to_server(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &Bytes,
        sent: &mut usize,
    ) -> Poll<Result<io::Result<()>, SessionEnd>> {
        let Some(backend) = self.backend.as_mut() else {
            return Poll::Ready(Ok(Err(io::ErrorKind::NotConnected.into())));
        };
        let bytes = match bytes {
            Bytes::Request(len) => &self.request.bytes()[..*len],
            Bytes::Own(bytes) => bytes,
        };
        while *sent < bytes.len() {
            match Pin::new(&mut backend.stream).poll_write(cx, &bytes[*sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(len)) => *sent += len,
                Poll::Ready(Err(error)) => return Poll::Ready(Ok(Err(error))),
                Poll::Pending => return self.poll_interrupted(cx),
            }
        }
        match Pin::new(&mut backend.stream).poll_flush(cx) {
            Poll::Ready(flushed) => Poll::Ready(Ok(flushed)),
            Poll::Pending => self.poll_interrupted(cx),
        }
    }

    /// The server takes nothing now: whether waiting for it still makes sense.
    fn poll_interrupted(&self, cx: &mut Context<'_>) -> Poll<Result<io::Result<()>, SessionEnd>> {
        self.entry.register(cx.waker());
        if self.entry.is_killed() {
            return Poll::Ready(Err(SessionEnd::Killed));
        }
        if self.shared.generation() > self.generation && self.is_replaced(&self.shared.table()) {
            let replaced = io::Error::other("another master is active now");
            return Poll::Ready(Ok(Err(replaced)));
        }
        Poll::Pending
    }
}
