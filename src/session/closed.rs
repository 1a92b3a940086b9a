//! A server closed a session's connection: did it go, or did it mean to?
//!
//! A master that dies closes the connections of its idle clients, and these sessions go on elsewhere.
//! A master that is well closes one because somebody wanted it to: KILL, or a timeout of its own.
//! Then the client's connection ends as well, as it would without a proxy; to take the session to a
//! new connection would undo the order. Both look the same on the wire. What tells them apart is
//! whether the server has been up all the while, and that is asked of it: COM_STATISTICS needs no
//! privilege and says since when it runs.
//!
//! It is asked when the session's next command finds the server active still, or a moment after, so
//! that pools see the end of a connection that they are not using. By then a server that died is
//! known to have.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;

use super::backend::{Accepted, Backend};
use super::end::SessionEnd;
use super::idle::Heard;
use super::relay::Relay;
use crate::topology::ServerId;
use crate::wire::{PacketStream, StreamError};

/// A connection that a server closed while it was the active one.
#[derive(Debug)]
pub(super) struct Closed {
    server: ServerId,
    thread_id: u32,
    /// When the session logged in there.
    since: Instant,
    /// When it was closed.
    at: Instant,
    /// What it said unasked before: an ERR packet, header and all, or nothing.
    words: Vec<u8>,
}

/// After a connection was closed: what is found out of a server's death by then need not be asked.
/// Pools look at a connection before they use it, and shall find it closed.
const ASK_AFTER: Duration = Duration::from_millis(300);

/// The answer to COM_STATISTICS begins with this, and with a number of seconds.
const UPTIME: &[u8] = b"Uptime: ";

impl Relay {
    /// Remembers a connection that its server closed. One whose server is not active any more has a
    /// reason.
    pub(super) fn note_closed(&mut self, backend: &Backend, words: Vec<u8>) {
        if self.shared.table().serves(backend.server) {
            self.closed = Some(Box::new(Closed {
                server: backend.server,
                thread_id: backend.thread_id,
                since: backend.since,
                at: Instant::now(),
                words,
            }));
        }
    }

    /// Waits for the next command, or the time to ask whether a connection was closed on purpose.
    pub(super) async fn hear(&mut self) -> Heard {
        let Some(closed) = &self.closed else {
            return poll_fn(|cx| self.poll_command(cx)).await;
        };
        let ask_at = closed.at + ASK_AFTER;
        tokio::select! {
            biased;
            heard = poll_fn(|cx| self.poll_command(cx)) => heard,
            () = tokio::time::sleep_until(ask_at.into()) => Heard::Closed,
        }
    }

    /// Logs in to the server that closed the connection, if it is active still, and asks it.
    pub(super) async fn ask_why_closed(&mut self) -> Result<(), SessionEnd> {
        let table = self.shared.table();
        let suspect = self.closed.as_ref().map(|closed| closed.server);
        let Some(server) = suspect.filter(|server| table.serves(*server)) else {
            self.closed = None;
            return Ok(());
        };
        match self.connect(table.servers.get(server)).await? {
            Ok(Accepted { mut backend, .. }) => {
                let asked = self.end_if_closed_on_purpose(&mut backend).await;
                let _ = backend.stream.write_all(&[1, 0, 0, 0, 1]).await; // COM_QUIT
                asked
            }
            Err(_) => {
                self.closed = None; // it is not well
                Ok(())
            }
        }
    }

    /// The session is back at a server. Ends it if this server closed its last connection and has been
    /// up all the while.
    pub(super) async fn end_if_closed_on_purpose(
        &mut self,
        backend: &mut Backend,
    ) -> Result<(), SessionEnd> {
        let Some(closed) = self.closed.take() else { return Ok(()) };
        // A server counts its connections up from 1: a smaller id means that it has restarted.
        if closed.server != backend.server || backend.thread_id <= closed.thread_id {
            return Ok(());
        }
        let age = closed.since.elapsed();
        let asking = tokio::time::timeout(self.shared.connect_timeout, uptime(backend));
        match asking.await {
            Ok(Ok(Some(uptime))) if uptime >= age => self.end_as_server(&closed.words).await,
            _ => Ok(()),
        }
    }

    /// Ends the session as its server did: with the same last words.
    pub(super) async fn end_as_server(&mut self, words: &[u8]) -> Result<(), SessionEnd> {
        self.tell_client(words).await?;
        Err(SessionEnd::ServerClosed)
    }
}

/// How long a server has been up at most; it counts in whole seconds.
async fn uptime(backend: &mut Backend) -> Result<Option<Duration>, StreamError> {
    let ahead = std::mem::take(&mut backend.carry);
    let mut packets = PacketStream::resume(&mut backend.stream, ahead);
    packets.write(&[9]).await?; // COM_STATISTICS
    let answer = packets.read().await?;
    let (_, ahead) = packets.into_parts();
    backend.carry = ahead;
    Ok(read_uptime(&answer))
}

fn read_uptime(statistics: &[u8]) -> Option<Duration> {
    let digits = statistics.strip_prefix(UPTIME)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let seconds: u64 = std::str::from_utf8(&digits[..end]).ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_up_is_read_from_both_vendors_statistics() {
        for text in [
            "Uptime: 57  Threads: 2  Questions: 3  Slow queries: 0",
            "Uptime: 57  Threads: 1  Questions: 4  Slow queries: 0  Opens: 0",
        ] {
            assert_eq!(read_uptime(text.as_bytes()), Some(Duration::from_secs(58)));
        }
        for text in ["", "Uptime: ", "Uptime: x", "Threads: 1"] {
            assert_eq!(read_uptime(text.as_bytes()), None, "{text}");
        }
    }
}
