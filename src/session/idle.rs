//! Between two commands: waiting for the client, the server's end, a new routing table, or an order to
//! end.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead as _, ReadBuf};

use super::end::SessionEnd;
use super::relay::Relay;
use super::request::Front;
use super::scratch;
use crate::topology::{ServerId, UnreachableKind};
use crate::wire::{ErrorPacket, Header, StreamError};

/// What a session waits for between two commands.
pub(super) enum Heard {
    Command(Front),
    ClientGone(StreamError),
    BackendGone(Gone),
    /// It is time to ask why a connection was closed.
    Closed,
    RoutesChanged,
    Killed,
    Shutdown,
}

/// An idle server's end.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) kind: UnreachableKind,
    pub(super) detail: String,
    /// It may have closed the connection itself; with these words, an ERR packet or nothing.
    pub(super) closed: Option<Vec<u8>>,
}

impl Gone {
    pub(super) fn broken(error: &std::io::Error) -> Self {
        let kind = super::backend::kind_of(error);
        // MariaDB resets the connections that wait_timeout ends.
        let closed = (kind == UnreachableKind::Reset).then(Vec::new);
        Self { kind, detail: error.to_string(), closed }
    }

    fn closed(said: &[u8]) -> Self {
        let words = match Header::read(said) {
            Some(header) if said.get(Header::LEN) == Some(&0xFF) => said.get(..header.total()),
            _ => None,
        };
        let detail = match words.and_then(|words| ErrorPacket::parse(&words[Header::LEN..]).ok()) {
            Some(error) => format!("closed an idle connection: {}", error.message),
            None => "closed an idle connection".to_owned(),
        };
        let closed = Some(words.unwrap_or_default().to_vec());
        Self { kind: UnreachableKind::Reset, detail, closed }
    }
}

impl Relay {
    pub(super) fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        if self.entry.is_killed() {
            return Poll::Ready(Heard::Killed);
        }
        if self.shared.generation() > self.generation {
            return Poll::Ready(Heard::RoutesChanged);
        }
        loop {
            match self.request.front() {
                Front::Incomplete => {}
                // A server that is seen to be gone has not had the command.
                front => match self.poll_idle_backend(cx) {
                    Some(gone) => return Poll::Ready(Heard::BackendGone(gone)),
                    None => return Poll::Ready(Heard::Command(front)),
                },
            }
            match self.poll_client(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Heard::ClientGone(error)),
                Poll::Pending => break,
            }
        }
        if self.shared.is_shutting_down() {
            return Poll::Ready(Heard::Shutdown);
        }
        if let Some(gone) = self.poll_idle_backend(cx) {
            return Poll::Ready(Heard::BackendGone(gone));
        }
        self.entry.register(cx.waker());
        // What happened before the waker was registered would wake nobody.
        let news = self.shared.generation() > self.generation;
        if news || self.entry.is_killed() || self.shared.is_shutting_down() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Adds what the client sends to the request.
    pub(super) fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        scratch::with(|scratch| {
            let mut room = ReadBuf::new(scratch);
            match Pin::new(&mut self.client).poll_read(cx, &mut room) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                Poll::Ready(Ok(())) if room.filled().is_empty() => {
                    Poll::Ready(Err(StreamError::Closed))
                }
                Poll::Ready(Ok(())) => {
                    self.request.append(room.filled());
                    Poll::Ready(Ok(()))
                }
            }
        })
    }

    /// A server has nothing to say between commands: what comes is its end, or an error that
    /// announces it (4031 before a timeout, 1927 before a shutdown).
    pub(super) fn poll_idle_backend(&mut self, cx: &mut Context<'_>) -> Option<Gone> {
        let backend = self.backend.as_mut()?;
        if backend.swallow > 0 && backend.preamble.is_empty() {
            return None; // it still has an answer of ours to give
        }
        if !backend.carry.is_empty() {
            return Some(Gone::closed(&backend.carry));
        }
        scratch::with(|scratch| {
            let mut room = ReadBuf::new(&mut scratch[..512]);
            match Pin::new(&mut backend.stream).poll_read(cx, &mut room) {
                Poll::Pending => None,
                Poll::Ready(Err(error)) => Some(Gone::broken(&error)),
                Poll::Ready(Ok(())) => Some(Gone::closed(room.filled())),
            }
        })
    }

    /// The master closed the connection of an idle session. The session lives on, unless it turns out
    /// that this was meant: what was open is remembered as lost, and the next command finds an active
    /// master.
    pub(super) async fn lose_idle_backend(&mut self, gone: Gone) -> Result<(), SessionEnd> {
        let Some(backend) = self.backend.take() else { return Ok(()) };
        self.entry.set_place(None);
        if self.entry.is_condemned(backend.thread_id) {
            return self.end_as_server(&gone.closed.unwrap_or_default()).await;
        }
        self.shared.report(backend.server, gone.kind, gone.detail);
        self.lost(backend.server)?;
        if let Some(words) = gone.closed {
            self.note_closed(&backend, words);
        }
        Ok(())
    }

    /// Notes what went with a master while no command was being carried.
    pub(super) fn lost(&mut self, server: ServerId) -> Result<(), SessionEnd> {
        if self.state.is_uncertain() {
            return Err(SessionEnd::OutcomeUnknown);
        }
        if let Some(blocker) = self.state.loss_blocker() {
            return Err(SessionEnd::StateLost(blocker));
        }
        if self.state.in_transaction() {
            self.state.transaction_ended();
            self.current.in_transaction = false;
            self.lost_transaction = Some(server);
        }
        Ok(())
    }
}
