//! From the client to the server, when it is too much to be kept: commands above a mebibyte, and
//! the file of a LOAD DATA LOCAL.
//!
//! The bytes pass through in chunks of bounded size. Should the server go meanwhile, the rest of
//! what the client is sending is read and dropped, so that the error that follows is the answer to
//! all of it.

use std::future::poll_fn;
use std::io;

use tokio::io::AsyncWriteExt as _;

use super::client_error::ClientError;
use super::end::SessionEnd;
use super::relay::{After, Relay};
use super::sending::Bytes;
use super::state::MigrationBlocker;
use super::verdict::{InFlight, Verdict};
use crate::wire::{Command, Header};

/// Where packets that pass through end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// With the command: the first packet that is not continued.
    Command,
    /// With an empty packet.
    Empty,
}

impl Relay {
    /// Carries a command that is not kept. It can be sent once only.
    pub(super) async fn carry_long(&mut self) -> Result<(), SessionEnd> {
        if let Some(pause) = self.pause_before()
            && let Err(error) = self.pause(pause).await?
        {
            return self.drop_command(&error).await;
        }
        let settled = self.backend.is_some() && !self.unsettled && !self.is_stale();
        if (!settled || self.shared.generation() > self.generation)
            && let Err(error) = self.reach_active().await?
        {
            if self.current.command.is_silent() {
                return Err(SessionEnd::NobodyActive(error.to_string()));
            }
            return self.drop_command(&error).await;
        }
        // A command without an answer leaves the news to the next one.
        if self.current.command.is_silent() && self.backend.is_none() {
            if let Err(error) = self.reach_active().await? {
                return Err(SessionEnd::NobodyActive(error.to_string()));
            }
        } else if let Some(server) = self.lost_transaction.take() {
            let from = self.shared.table().servers.name(server).to_owned();
            return self.drop_command(&ClientError::RolledBack { from }).await;
        }
        if !self.statement_is_ready() && !self.make_statement_ready().await? {
            let error = self.unknown_statement();
            return self.drop_command(&error).await;
        }
        self.flush_preamble().await;
        self.tracker.start(self.current.command, self.current.cursor);
        let (seq, failure) = self.pass_through(Until::Command, true).await?;
        self.tracker.begin_after(seq);
        if failure.is_some() {
            return self.not_delivered().await;
        }
        if self.current.command.is_silent() {
            self.silent_done();
            return Ok(());
        }
        self.entry.set_waiting_since(self.shared.registry.tick());
        match self.hear_answer().await? {
            After::Answered => Ok(()),
            // Provably not executed, and not here any more to be sent again.
            After::Again => {
                let from = "the active master".to_owned();
                self.error_in_place(&ClientError::NotExecuted { from }).await
            }
        }
    }

    /// Tandem's own statements have to be answered first: what is not kept cannot wait for that.
    pub(super) async fn flush_preamble(&mut self) {
        let Some(backend) = self.backend.as_mut() else { return };
        if backend.swallow == 0 {
            return;
        }
        let current = std::mem::replace(&mut self.current, super::current::Current::none());
        self.tracker.start(Command::Query, false);
        let preamble = std::mem::take(&mut backend.preamble);
        let sending = async {
            backend.stream.write_all(&preamble).await?;
            backend.stream.flush().await
        };
        if sending.await.is_ok() {
            let patience = self.shared.connect_timeout;
            let answered = poll_fn(|cx| self.poll_preamble(cx));
            if tokio::time::timeout(patience, answered).await.is_err() {
                self.backend = None; // sending the command finds out
            }
        }
        self.current = current;
    }

    /// The server went before it had the whole command: it was not executed.
    async fn not_delivered(&mut self) -> Result<(), SessionEnd> {
        let Some(backend) = self.backend.take() else { return Ok(()) };
        self.entry.set_place(None);
        let kind = crate::topology::UnreachableKind::Reset;
        self.shared.report(backend.server, kind, "closed while a command was sent".into());
        let from = self.shared.table().servers.name(backend.server).to_owned();
        let verdict = InFlight {
            statement: self.current.statement,
            in_transaction: self.current.in_transaction,
            delivered: false,
            forwarded: false,
            uncertain: self.state.is_uncertain(),
            blocker: self.state.loss_blocker(),
        }
        .verdict();
        self.state.transaction_ended();
        if self.current.command.is_silent() {
            // What the server has of a parameter is lost, and so is its execution.
            return Err(SessionEnd::StateLost(MigrationBlocker::LongData));
        }
        match verdict {
            Verdict::StateLost(blocker) => {
                self.error_in_place(&ClientError::StateLost { from, blocker }).await?;
                Err(SessionEnd::StateLost(blocker))
            }
            Verdict::Unknown => {
                self.error_in_place(&ClientError::OutcomeUnknown { from }).await?;
                Err(SessionEnd::OutcomeUnknown)
            }
            Verdict::RolledBack => self.error_in_place(&ClientError::RolledBack { from }).await,
            _ => self.error_in_place(&ClientError::NotExecuted { from }).await,
        }
    }

    /// Reads a command to its end without a server, and answers it with an error.
    pub(super) async fn drop_command(&mut self, error: &ClientError) -> Result<(), SessionEnd> {
        let (seq, _) = self.pass_through(Until::Command, false).await?;
        self.tracker.begin_after(seq);
        if self.current.command.is_silent() {
            return Ok(());
        }
        self.error_in_place(error).await
    }

    /// Sends the client's file to the server that asked for it.
    pub(super) async fn send_file(&mut self) -> Result<(), SessionEnd> {
        // The command that asked is kept at the front; the file stands behind it.
        let command = match self.current.kept {
            true => Header::read(self.request.bytes()).map_or(0, Header::total),
            false => 0,
        };
        let asked: Vec<u8> = self.request.bytes()[..command].to_vec();
        self.request.consume(command);
        let (seq, _) = self.pass_through(Until::Empty, true).await?;
        let mut rest = asked;
        rest.extend_from_slice(self.request.bytes());
        *self.request.bytes_mut() = rest;
        // A server that went is noticed by whoever waits for its answer.
        self.tracker.file_sent(seq);
        Ok(())
    }

    /// Passes packets through, to the server or, without `forward`, nowhere. Returns the sequence
    /// number of the last one, and the server's failure; everything was read all the same.
    async fn pass_through(
        &mut self,
        until: Until,
        forward: bool,
    ) -> Result<(u8, Option<io::Error>), SessionEnd> {
        let mut failure = None;
        let (mut missing, mut last) = (0, None::<Header>);
        let mut file = FileOrder::of(until, self.tracker.next_seq());
        loop {
            let bytes = self.request.bytes();
            let mut take = 0;
            let mut over = false;
            while take < bytes.len() && !over {
                if missing == 0 {
                    let Some(header) = Header::read(&bytes[take..]) else { break };
                    if !file.accepts(header) {
                        self.half_sent = forward;
                        let what = "a command where the rest of a file was due".to_owned();
                        return Err(SessionEnd::ClientMalformed(what));
                    }
                    missing = header.len;
                    take += Header::LEN;
                    last = Some(header);
                }
                let part = missing.min(bytes.len() - take);
                missing -= part;
                take += part;
                over = missing == 0 && last.is_some_and(|header| ends(header, until));
            }
            self.half_sent = forward && !over;
            if forward && failure.is_none() {
                failure = self.write_to_server(Bytes::Request(take)).await?.err();
            }
            self.request.consume(take);
            self.client.answer_all_but(self.request.bytes().len());
            if over {
                let seq = last.map_or(0, |header| header.seq);
                return Ok((seq, failure));
            }
            let read = poll_fn(|cx| self.poll_client(cx)).await;
            read.map_err(SessionEnd::ClientGone)?;
        }
    }
}

/// The sequence numbers of a file's packets. A client that does not find its file and says nothing of
/// it (mysql-connector-python) goes on with a command, which a server recognises by its number, and
/// closes the connection (net_serv.cc, "Packets out of order"). Taken for a part of the file it would
/// leave both waiting for each other.
struct FileOrder {
    /// `None` for what is no file.
    next: Option<u8>,
}

impl FileOrder {
    fn of(until: Until, next_seq: u8) -> Self {
        Self { next: (until == Until::Empty).then_some(next_seq) }
    }

    fn accepts(&mut self, header: Header) -> bool {
        let Some(next) = &mut self.next else { return true };
        let fits = header.seq == *next;
        *next = header.seq.wrapping_add(1);
        fits
    }
}

fn ends(header: Header, until: Until) -> bool {
    match until {
        Until::Command => !header.is_continued(),
        Until::Empty => header.len == 0,
    }
}
