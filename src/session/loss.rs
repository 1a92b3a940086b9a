//! A master went, or refused, while a command was with it: acts on the verdict.
//!
//! What becomes of the command is decided in [`super::verdict`]; here it is carried out, and the client
//! told.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::client_error::ClientError;
use super::end::SessionEnd;
use super::relay::{After, Relay};
use super::request::KEPT;
use super::statement::{Traits, Verb};
use super::verdict::{InFlight, Verdict};
use crate::topology::ServerId;
use crate::wire::{Capabilities, Command, Header, OkPacket, put_packet};

impl Relay {
    /// A fenced master refused the command, and it is one of those that are refused whole: it was not
    /// executed.
    pub(super) async fn refused_by_fence(&mut self) -> Result<After, SessionEnd> {
        let Some(server) = self.backend.as_ref().map(|backend| backend.server) else {
            return Ok(After::Again);
        };
        if self.current.in_transaction {
            // Its transaction cannot be committed there any more. Letting go of the connection
            // rolls it back for certain.
            self.release_backend().await;
            self.state.transaction_ended();
            let verdict = self.state.loss_blocker().map_or(Verdict::RolledBack, Verdict::StateLost);
            // Ours takes the place of the refusal, and its number.
            let seq = Header::read(&self.current.withheld).map_or(1, |header| header.seq);
            self.tracker.begin_after(seq.wrapping_sub(1));
            return self.conclude(verdict, server).await;
        }
        let replaced = self.shared.table().active().is_some_and(|active| active != server);
        let waited = if replaced { Ok(()) } else { self.wait_for_routes().await? };
        match waited {
            Ok(()) => {
                self.shared.metrics().retried.inc();
                // The table is looked at again, whether or not its news came this way already.
                self.generation = 0;
                Ok(After::Again)
            }
            Err(ClientError::Interrupted) => {
                let seq = Header::read(&self.current.withheld).map_or(1, |header| header.seq);
                self.current.withheld.clear();
                self.tracker.begin_after(seq.wrapping_sub(1));
                self.error_in_place(&ClientError::Interrupted).await?;
                Ok(After::Answered)
            }
            // Nothing changed for as long as a statement may wait: the refusal is the answer.
            Err(_) => {
                let refusal = std::mem::take(&mut self.current.withheld);
                self.tell_client(&refusal).await?;
                Ok(After::Answered)
            }
        }
    }

    /// The master went while it had the command, or part of it.
    pub(super) async fn lost_in_flight(
        &mut self,
        error: io::Error,
        delivered: bool,
    ) -> Result<After, SessionEnd> {
        if let Some(backend) = &self.backend {
            let kind = super::backend::kind_of(&error);
            self.shared.report(backend.server, kind, error.to_string());
        }
        self.gone_in_flight(delivered).await
    }

    /// The same for a master that is no longer heard, for whatever reason.
    pub(super) async fn gone_in_flight(&mut self, delivered: bool) -> Result<After, SessionEnd> {
        self.entry.set_waiting_since(0);
        let Some(backend) = self.backend.take() else { return Ok(After::Again) };
        self.entry.set_place(None);
        if self.entry.is_condemned(backend.thread_id) {
            return Err(SessionEnd::ServerClosed);
        }
        let resets = self.current.command == Command::ResetConnection;
        if resets {
            // All that a lost session could lose is what was to be thrown away.
            self.state.reset();
            self.state.transaction_ended();
            self.current.in_transaction = false;
        }
        let mut verdict = self.in_flight(delivered).verdict();
        self.state.transaction_ended();
        let since = *self.current.lost_since.get_or_insert_with(Instant::now);
        if delivered && verdict == Verdict::RunAgain {
            // A statement that two masters did not survive is not shown to a third.
            if self.current.unanswered {
                verdict = Verdict::Unknown;
            }
            self.current.unanswered = true;
            // The server may have ended this session because somebody wanted it to. Running the
            // statement again would undo that.
            self.note_closed(&backend, Vec::new());
        } else if verdict == Verdict::RunAgain && since.elapsed() > self.shared.hold {
            verdict = Verdict::Unknown;
        }
        self.conclude(verdict, backend.server).await
    }

    pub(super) fn in_flight(&self, delivered: bool) -> InFlight {
        let mut statement = self.current.statement;
        if !self.current.kept && self.login.capabilities.has(Capabilities::MULTI_STATEMENTS) {
            statement.traits = Traits::SEVERAL; // who knows how it went on
        }
        InFlight {
            statement,
            in_transaction: self.current.in_transaction,
            delivered,
            forwarded: self.current.forwarded,
            uncertain: self.state.is_uncertain(),
            blocker: self.state.loss_blocker(),
        }
    }

    /// Tells the client what became of its command.
    pub(super) async fn conclude(
        &mut self,
        verdict: Verdict,
        server: ServerId,
    ) -> Result<After, SessionEnd> {
        let from = self.shared.table().servers.name(server).to_owned();
        let shared = Arc::clone(&self.shared);
        let metrics = shared.metrics();
        if !self.tracker.at_boundary() {
            // Inside a packet there is no place for a word.
            return Err(match verdict {
                Verdict::Unknown => {
                    metrics.outcome_unknown.inc();
                    SessionEnd::OutcomeUnknown
                }
                Verdict::StateLost(blocker) => SessionEnd::StateLost(blocker),
                _ => SessionEnd::CutOff,
            });
        }
        self.flush_unsent().await?;
        match verdict {
            Verdict::RunAgain => {
                metrics.retried.inc();
                return Ok(After::Again);
            }
            Verdict::Done => {
                let mut ok = Vec::new();
                let status = self.state.status();
                put_packet(&mut ok, self.tracker.next_seq(), &OkPacket::plain(status));
                self.tell_client(&ok).await?;
            }
            Verdict::RolledBack => {
                metrics.rolled_back.inc();
                self.lose_pipelined(server).await;
                self.error_in_place(&ClientError::RolledBack { from }).await?;
            }
            Verdict::Unknown => {
                metrics.outcome_unknown.inc();
                self.error_in_place(&ClientError::OutcomeUnknown { from }).await?;
                return Err(SessionEnd::OutcomeUnknown);
            }
            Verdict::CutOff => {
                let error = if self.current.in_transaction {
                    self.lose_pipelined(server).await;
                    ClientError::RolledBack { from }
                } else {
                    ClientError::CutOff { from }
                };
                self.error_in_place(&error).await?;
            }
            Verdict::StateLost(blocker) => {
                self.error_in_place(&ClientError::StateLost { from, blocker }).await?;
                return Err(SessionEnd::StateLost(blocker));
            }
        }
        Ok(After::Answered)
    }

    /// What the client sent before it could know that its transaction is gone belongs to it.
    pub(super) async fn lose_pipelined(&mut self, server: ServerId) {
        let sent = |relay: &mut Self, cx: &mut Context<'_>| {
            while relay.request.bytes().len() < KEPT {
                if !matches!(relay.poll_client(cx), Poll::Ready(Ok(()))) {
                    break; // an end is there the next time as well
                }
            }
            Poll::Ready(())
        };
        poll_fn(|cx| sent(self, cx)).await;
        let front = if self.current.kept { self.front_len() } else { 0 };
        self.pipelined_was_lost = self.request.bytes().len() > front;
        self.lost_transaction = self.pipelined_was_lost.then_some(server);
    }

    /// Tells of a transaction that went with its master while the session was idle. True when that
    /// was the answer to the command.
    pub(super) async fn tell_lost_transaction(&mut self) -> Result<bool, SessionEnd> {
        let Some(server) = self.lost_transaction else { return Ok(false) };
        let statement = match self.current.command {
            Command::Query | Command::StmtExecute | Command::StmtBulkExecute => {
                self.current.statement
            }
            Command::ResetConnection => {
                self.lost_transaction = None;
                return Ok(false);
            }
            // These ask nothing of the transaction; the next statement hears of it.
            _ => return Ok(false),
        };
        self.lost_transaction = None;
        let from = self.shared.table().servers.name(server).to_owned();
        match statement.verb {
            Verb::Begin if statement.is_only(Verb::Begin) => return Ok(false),
            Verb::Rollback if statement.is_only(Verb::Rollback) => {
                let status = self.state.status();
                let ok = self.as_answer(&OkPacket::plain(status));
                self.request.consume(self.front_len());
                self.tell_client(&ok).await?;
            }
            _ => {
                self.shared.metrics().rolled_back.inc();
                self.lose_pipelined(server).await;
                self.answer_error(&ClientError::RolledBack { from }).await?;
            }
        }
        Ok(true)
    }
}
