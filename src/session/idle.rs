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
use crate::wire::StreamError;

/// What a session waits for between two commands.
pub(super) enum Heard {
    Command(Front),
    ClientGone(StreamError),
    BackendGone(UnreachableKind, String),
    RoutesChanged,
    Killed,
    Shutdown,
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
                    Some((kind, detail)) => {
                        return Poll::Ready(Heard::BackendGone(kind, detail));
                    }
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
        if let Some((kind, detail)) = self.poll_idle_backend(cx) {
            return Poll::Ready(Heard::BackendGone(kind, detail));
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
    pub(super) fn poll_idle_backend(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Option<(UnreachableKind, String)> {
        let backend = self.backend.as_mut()?;
        if backend.swallow > 0 && backend.preamble.is_empty() {
            return None; // it still has an answer of ours to give
        }
        if !backend.carry.is_empty() {
            return Some((UnreachableKind::Reset, "spoke unasked".to_owned()));
        }
        scratch::with(|scratch| {
            let mut room = ReadBuf::new(&mut scratch[..512]);
            match Pin::new(&mut backend.stream).poll_read(cx, &mut room) {
                Poll::Pending => None,
                Poll::Ready(Err(error)) => {
                    Some((super::backend::kind_of(&error), error.to_string()))
                }
                Poll::Ready(Ok(())) => {
                    Some((UnreachableKind::Reset, "closed an idle connection".to_owned()))
                }
            }
        })
    }

    /// The master closed the connection of an idle session. The session lives on: what was open is
    /// remembered as lost, and the next command finds an active master.
    pub(super) fn lose_idle_backend(
        &mut self,
        kind: UnreachableKind,
        detail: String,
    ) -> Result<(), SessionEnd> {
        let Some(backend) = self.backend.take() else { return Ok(()) };
        self.entry.set_server(None);
        self.shared.report(backend.server, kind, detail);
        self.lost(backend.server)
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
