//! Replication through the proxy: a slave is sent the binary log.
//!
//! The answer to COM_BINLOG_DUMP has no end, and the slave speaks in between: a semi-synchronous one
//! acknowledges what it has received. So from the command on, bytes pass both ways unread, until
//! one side closes: servers close behind the last packet of a dump, an error included (MySQL
//! source, `dispatch_command`: "if we get here, the thread needs to terminate").
//!
//! A place in one master's binary log means nothing on another. When another master becomes active
//! the connection closes; a slave that follows by GTID connects again and goes on there.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};

use super::end::SessionEnd;
use super::registry::{Activity, Entry};
use super::relay::Relay;
use super::scratch::CHUNK;
use super::shared::Shared;
use super::state::MigrationBlocker;
use crate::topology::ServerId;
use crate::wire::StreamError;

impl Relay {
    /// Carries COM_BINLOG_DUMP or COM_BINLOG_DUMP_GTID; nothing comes after it.
    pub(super) async fn carry_dump(&mut self) -> Result<(), SessionEnd> {
        if self.backend.is_none() || self.unsettled || self.shared.generation() > self.generation {
            if let Some(blocker) = self.state.loss_blocker()
                && self.backend.is_none()
            {
                return Err(SessionEnd::StateLost(blocker));
            }
            if let Err(error) = self.reach_active().await? {
                return self.answer_error(&error).await;
            }
        }
        // What Tandem asked for itself must not be answered in the middle of the log.
        self.flush_preamble().await;
        let Some(backend) = self.backend.as_mut() else { return Err(SessionEnd::ServerClosed) };
        self.entry.set_waiting_since(0);
        // A slave goes on elsewhere by itself: nobody waits for it.
        self.entry.set_doing(Activity::Running, None);
        self.shared.registry.let_go();
        let server = backend.server;
        let ahead = std::mem::take(self.request.bytes_mut());
        let (mut from_client, mut to_client) = tokio::io::split(&mut self.client);
        let (mut from_server, mut to_server) = tokio::io::split(&mut backend.stream);
        let watch = Watch { shared: &self.shared, entry: &self.entry, server };
        let mut generation = self.generation;
        let acknowledgements = async {
            to_server.write_all(&ahead).await?;
            pass(&mut from_client, &mut to_server).await
        };
        let log = async {
            to_client.write_all(&backend.carry).await?;
            pass(&mut from_server, &mut to_client).await
        };
        let end = tokio::select! {
            gone = acknowledgements => match gone {
                Ok(()) => SessionEnd::ClientGone(StreamError::Closed),
                Err(error) => SessionEnd::ClientGone(error.into()),
            },
            _ = log => SessionEnd::ServerClosed,
            end = poll_fn(|cx| watch.poll(cx, &mut generation)) => end,
        };
        self.half_sent = true; // no goodbye in the place of an acknowledgement
        Err(end)
    }
}

/// Passes bytes on until there are no more.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    tokio::io::copy_buf(&mut BufReader::with_capacity(CHUNK, from), to).await?;
    to.flush().await
}

/// What ends a dump from outside.
struct Watch<'a> {
    shared: &'a Arc<Shared>,
    entry: &'a Arc<Entry>,
    server: ServerId,
}

impl Watch<'_> {
    fn poll(&self, cx: &mut Context<'_>, generation: &mut u64) -> Poll<SessionEnd> {
        self.entry.register(cx.waker());
        if self.entry.is_killed() {
            return Poll::Ready(SessionEnd::Killed);
        }
        if self.shared.is_shutting_down() {
            return Poll::Ready(SessionEnd::Shutdown);
        }
        if self.shared.generation() > *generation {
            let table = self.shared.table();
            *generation = table.generation;
            if table.active().is_some_and(|active| active != self.server) {
                return Poll::Ready(SessionEnd::StateLost(MigrationBlocker::Replication));
            }
        }
        Poll::Pending
    }
}
