//! Reads that find what clients were told is committed.
//!
//! Before a session of the reads listener reads, it looks what this proxy had acknowledged by then, and
//! what its server is known to have of that (`routing::Positions`). Mostly there is nothing to wait for.
//! Otherwise one statement on the same connection waits for the rest; who had to wait has found out for
//! all. A server that does not get there in time is left for the active master, for a while.

use std::time::{Duration, Instant};

use super::client_error::ClientError;
use super::end::SessionEnd;
use super::relay::Relay;
use super::statement::{Traits, Verb};
use crate::routing::{Needed, Positions};
use crate::wire::{Command, Cursor, Malformed, PacketStream, StreamError};

/// Beyond what a server is asked to wait: for the answer.
const MARGIN: Duration = Duration::from_millis(500);

/// What sessions of the reads listener need for it.
#[derive(Clone, Debug)]
pub struct Causal {
    /// What was acknowledged.
    pub positions: Positions,
    /// How long a read waits on a server.
    pub patience: Duration,
}

/// How waiting on a server ended.
pub(super) enum Waited {
    /// It has everything.
    There,
    /// It did not get there in time.
    Late,
    /// It did not answer, or the connection broke.
    Broken(String),
}

impl Waited {
    pub(super) fn is_there(&self) -> bool {
        matches!(self, Self::There)
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

impl Relay {
    /// Sees to it that the server has what was acknowledged before. False when the session has to look
    /// for its server again. The outer error ends the session, the inner one answers the command.
    pub(super) async fn wait_for_writes(
        &mut self,
    ) -> Result<Result<bool, ClientError>, SessionEnd> {
        let causal = self.shared.reading.as_ref().and_then(|reading| reading.causal.clone());
        let (Some(Causal { positions, patience }), Some(backend)) = (causal, &self.backend) else {
            return Ok(Ok(true));
        };
        let server = backend.server;
        let refuge = self.shared.table().next;
        let incomplete = positions.are_incomplete() && refuge != Some(server);
        let needed = positions.needed_at(server);
        if !self.reads_what_is_written() || needed.is_none() && !incomplete {
            return Ok(Ok(true));
        }
        if self.begin_hold().is_zero() {
            let waited = self.shared.hold;
            let reason = "no server has what was acknowledged before".to_owned();
            return Ok(Err(ClientError::NobodyServesReads { waited, reason }));
        }
        self.entry.set_running();
        let metrics = self.shared.reading.as_ref().map(|reading| reading.metrics.clone());
        let waited = match &needed {
            Some(needed) if !incomplete => self.wait_on_server(&positions, needed, patience).await,
            _ => Waited::Late,
        };
        if let Some(metrics) = &metrics {
            metrics.causal_waits.inc();
        }
        match (waited, needed) {
            (Waited::There, Some(needed)) => {
                positions.reached(server, &needed);
                self.current.held = None;
                return Ok(Ok(true));
            }
            // What the active master itself lacks is lost, and will not come.
            (Waited::Late, Some(needed)) if refuge == Some(server) => {
                positions.reached(server, &needed);
                self.current.held = None;
                return Ok(Ok(true));
            }
            (Waited::Broken(why), _) => {
                let kind = crate::topology::UnreachableKind::Reset;
                self.shared.report(server, kind, why);
                self.half_sent = true; // it would answer in the place of something else
                self.release_backend().await;
                self.half_sent = false;
                self.lost(server)?;
            }
            _ => {}
        }
        if let Some(metrics) = metrics {
            metrics.causal_timeouts.inc();
        }
        self.seek_refuge(refuge.is_some(), server, patience);
        Ok(Ok(false))
    }

    /// Whether the command may read from tables, under a view of its own. In a transaction the view is
    /// that of its beginning; what asks for the diagnostics of the statement before would hear ours.
    fn reads_what_is_written(&self) -> bool {
        let statement = self.current.statement;
        let apart = matches!(
            statement.verb,
            Verb::Set
                | Verb::Use
                | Verb::Prepare
                | Verb::Deallocate
                | Verb::Kill
                | Verb::Commit
                | Verb::Rollback
                | Verb::Savepoint
        );
        matches!(self.current.command, Command::Query | Command::StmtExecute)
            && !self.current.in_transaction
            && (!apart || statement.traits.has(Traits::SEVERAL))
            && !statement.traits.has(Traits::DIAGNOSES)
    }

    /// Has the server of the backend wait until it has all of `needed`.
    pub(super) async fn wait_on_server(
        &mut self,
        positions: &Positions,
        needed: &Needed,
        patience: Duration,
    ) -> Waited {
        self.flush_preamble().await;
        let sql = positions.wait_sql(needed, patience);
        let command = self.login.query(sql.as_bytes());
        let Some(backend) = self.backend.as_mut() else {
            return Waited::Broken("closed while its settings were made".to_owned());
        };
        let carry = std::mem::take(&mut backend.carry);
        let mut packets = PacketStream::resume(&mut backend.stream, carry);
        packets.restart();
        let asking = async {
            packets.write(&command).await?;
            read_number(&mut packets).await
        };
        let bound = Duration::from_secs_f64(patience.as_secs_f64().ceil().max(1.0)) + MARGIN;
        let answer = tokio::time::timeout(bound, asking).await;
        let (_, carry) = packets.into_parts();
        backend.carry = carry;
        match answer {
            Ok(Ok(Some(0))) => Waited::There,
            Ok(Ok(_)) => Waited::Late,
            Ok(Err(error)) => Waited::Broken(error.to_string()),
            Err(_) => Waited::Broken("no answer while a read waited for a write".to_owned()),
        }
    }

    /// The server is too far behind: the active master, if it may be read from, or another one.
    fn seek_refuge(&mut self, allowed: bool, server: crate::topology::ServerId, stay: Duration) {
        if allowed && let Some(reader) = &mut self.reader {
            reader.refuge = Some(Instant::now() + stay);
            reader.seat = None;
        } else {
            self.suspect(server);
        }
        // The table is looked at again.
        self.generation = 0;
    }
}

/// The one number of a result; `None` for NULL, and for an error. With or without an EOF behind the
/// column's definition: the row is what begins with its own length.
async fn read_number<S>(packets: &mut PacketStream<S>) -> Result<Option<i64>, StreamError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    if packets.read().await?.first() == Some(&0xFF) {
        return Ok(None);
    }
    packets.read().await?; // the column
    let mut number = None;
    let mut ends = 0;
    loop {
        let payload = packets.read().await?;
        match payload.first() {
            Some(0xFF) => return Ok(None),
            // The EOF behind the columns, where there is one, is followed by the row.
            Some(0xFE) if number.is_none() && ends == 0 && payload.len() <= 5 => ends += 1,
            Some(0xFE) => return Ok(number.flatten()),
            Some(0xFB) => number = Some(None),
            _ => {
                let text = Cursor::new(&payload).lenenc_bytes()?;
                let text = std::str::from_utf8(text).unwrap_or_default();
                let value = text.parse().map_err(|_| Malformed("a number"))?;
                number = Some(Some(value));
            }
        }
    }
}
