//! A statement waits for an active master: for how long, and what ends the wait.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use super::client_error::ClientError;
use super::current::Held;
use super::end::SessionEnd;
use super::registry::Activity;
use super::relay::Relay;
use super::request::KEPT;
use crate::routing::Writer;

/// Between two looks at servers that were not seen in time.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why a wait came to nothing, though the session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unheeded {
    /// The statement has waited for as long as it may.
    Expired,
    /// Somebody ended the statement.
    Interrupted,
}

/// What comes between a statement and its master.
#[derive(Debug)]
pub(super) enum Stop {
    /// The session ends.
    End(SessionEnd),
    /// The statement does.
    Interrupted,
}

impl Relay {
    /// Waits for a new routing table, for as long as a statement may be held.
    pub(super) async fn wait_for_routes(&mut self) -> Result<Result<(), ClientError>, SessionEnd> {
        // That a server was seen again makes no new table.
        let serve = !self.shared.table().readers.is_empty();
        let waited = self.wait(serve.then_some(LOOK_AGAIN)).await?;
        Ok(waited.map_err(|unheeded| {
            if unheeded == Unheeded::Interrupted {
                return ClientError::Interrupted;
            }
            let reason = match &self.shared.table().writer {
                Writer::Held { reason, .. } => reason.to_string(),
                Writer::Active(_) => "the active master refuses writes".to_owned(),
            };
            let waited =
                self.current.held.as_ref().map_or(Duration::ZERO, |held| held.since.elapsed());
            if self.reader.is_some() {
                return ClientError::NobodyServesReads { waited, reason };
            }
            ClientError::HoldExpired { waited, reason }
        }))
    }

    /// Waits for a new routing table, or `pause`. The inner error says that the time of the hold is
    /// over, or the statement. A client that goes away meanwhile ends the session.
    pub(super) async fn wait(
        &mut self,
        pause: Option<Duration>,
    ) -> Result<Result<(), Unheeded>, SessionEnd> {
        let left = self.begin_hold();
        if left.is_zero() {
            return Ok(Err(Unheeded::Expired));
        }
        let mut routes = self.shared.routes();
        if routes.borrow_and_update().generation != self.generation {
            return Ok(Ok(()));
        }
        let patience = pause.unwrap_or(left).min(left);
        tokio::select! {
            changed = routes.changed() => {
                if changed.is_err() {
                    return Err(SessionEnd::Shutdown);
                }
            }
            () = tokio::time::sleep(patience) => {
                return Ok(if pause.is_some() { Ok(()) } else { Err(Unheeded::Expired) });
            }
            stop = poll_fn(|cx| self.poll_stop(cx)) => return match stop {
                Stop::End(end) => Err(end),
                Stop::Interrupted => Ok(Err(Unheeded::Interrupted)),
            },
        }
        Ok(Ok(()))
    }

    /// The statement waits from here on, if it does not yet. Returns for how long it still may.
    pub(super) fn begin_hold(&mut self) -> Duration {
        if self.current.held.is_none() {
            self.entry.take_interrupt(); // it was for a statement before
            self.current.held = Some(Held::begin(&self.shared));
        }
        self.rest(Activity::Held);
        let waited = self.current.held.as_ref().map_or(Duration::ZERO, |h| h.since.elapsed());
        self.shared.hold.saturating_sub(waited)
    }

    /// Resolves when the client goes away, or the session or its statement is killed. What the client
    /// sends meanwhile is kept, up to a bound; beyond it nobody looks.
    pub(super) fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        self.entry.register(cx.waker());
        if self.entry.is_killed() {
            return Poll::Ready(Stop::End(SessionEnd::Killed));
        }
        if self.shared.is_shutting_down() {
            return Poll::Ready(Stop::End(SessionEnd::Shutdown));
        }
        if self.entry.take_interrupt() {
            return Poll::Ready(Stop::Interrupted);
        }
        while self.request.bytes().len() < 2 * KEPT {
            match self.poll_client(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Stop::End(SessionEnd::ClientGone(error)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }
}
