//! From the server to the client, at whatever pieces the bytes come in.
//!
//! Whole reads are passed on as they are. Three kinds of packets are touched on their way: OK
//! packets lose the session state that the client did not ask for, a prepared statement gets the id
//! that the client will know it by, and the refusal of a fenced master is kept back, because the
//! statement will run elsewhere. Touched packets never grow, so that the bytes behind them move up
//! in the same buffer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::relay::Relay;
use super::scratch::{self, CHUNK};
use crate::topology::ServerId;
use crate::wire::{
    Command, ErrorPacket, Header, Malformed, Prepared, StatusFlags, Step, StreamError, Told,
};

/// How far passing an answer on has come.
#[derive(Debug)]
pub(super) enum Pumped {
    /// To its end.
    Answered,
    /// A fenced master refused the statement, or a reader did; the client has not been told.
    Fenced,
    /// The server waits for a file of the client's.
    WantsFile,
    /// There is a new routing table.
    RoutesChanged,
    /// The connection to the server broke.
    BackendLost(io::Error),
    /// The connection to the client broke.
    ClientGone(StreamError),
    /// The server sent what no server may send.
    Malformed(Malformed),
    /// An operator ended the session.
    Killed,
}

/// Whether there is more to do with what is at hand.
enum Flow {
    Again,
    Pending,
    Stop(Pumped),
}

/// What became of the bytes of one read.
struct Followed {
    /// This many, from the front, go to the client.
    out: usize,
    /// This many were dealt with.
    used: usize,
    /// The answer ends, or something else has to be done first.
    stop: Option<Pumped>,
}

impl Relay {
    /// Passes on what there is.
    pub(super) fn poll_pump(&mut self, cx: &mut Context<'_>) -> Poll<Pumped> {
        loop {
            if self.owes_client() {
                match self.poll_unsent(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Pumped::ClientGone(error.into()));
                    }
                    Poll::Pending => break,
                }
            }
            if self.is_answered() {
                return Poll::Ready(Pumped::Answered);
            }
            match scratch::with(|scratch| self.read_and_pass_on(scratch, cx)) {
                Flow::Again => {}
                Flow::Pending => break,
                Flow::Stop(pumped) => return Poll::Ready(pumped),
            }
        }
        self.entry.register(cx.waker());
        if self.entry.is_killed() {
            return Poll::Ready(Pumped::Killed);
        }
        if self.shared.generation() > self.generation {
            return Poll::Ready(Pumped::RoutesChanged);
        }
        Poll::Pending
    }

    /// Swallows the answers to Tandem's own statements, or finds out that there will be none.
    pub(super) fn poll_preamble(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.backend.as_ref().is_some_and(|backend| backend.swallow > 0) {
            match scratch::with(|scratch| self.read_and_pass_on(scratch, cx)) {
                Flow::Again => {}
                Flow::Pending => return Poll::Pending,
                Flow::Stop(_) => break,
            }
        }
        Poll::Ready(())
    }

    /// Whether all of the answer is here, so that only the client has to take it.
    pub(super) fn is_answered(&self) -> bool {
        self.tracker.is_done() && self.backend.as_ref().is_none_or(|backend| backend.swallow == 0)
    }

    /// Whether the client has yet to take bytes that were meant for it.
    fn owes_client(&self) -> bool {
        !self.unsent.is_empty() || self.unflushed
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match Pin::new(&mut self.client).poll_write(cx, &self.unsent[sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(len)) => sent += len,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.unsent.drain(..sent);
                    return Poll::Pending;
                }
            }
        }
        self.unsent = Vec::new();
        self.acknowledging.delivered();
        let flushed = Pin::new(&mut self.client).poll_flush(cx);
        self.unflushed = flushed.is_pending();
        flushed
    }

    fn read_and_pass_on(&mut self, scratch: &mut Vec<u8>, cx: &mut Context<'_>) -> Flow {
        let Some(backend) = self.backend.as_mut() else {
            return Flow::Stop(Pumped::BackendLost(io::ErrorKind::NotConnected.into()));
        };
        let mut end = backend.carry.len();
        if end <= self.current.need {
            let room = CHUNK.max(self.current.need).max(end + CHUNK / 2);
            if scratch.len() < room {
                scratch.resize(room, 0);
            }
            let mut buffer = ReadBuf::new(&mut scratch[end..]);
            match Pin::new(&mut backend.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Flow::Pending,
                Poll::Ready(Err(error)) => return Flow::Stop(Pumped::BackendLost(error)),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    let closed =
                        io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the server");
                    return Flow::Stop(Pumped::BackendLost(closed));
                }
                Poll::Ready(Ok(())) => {}
            }
            let read = buffer.filled().len();
            scratch[..end].copy_from_slice(&backend.carry);
            end += read;
        } else {
            scratch.resize(CHUNK.max(end), 0);
            scratch[..end].copy_from_slice(&backend.carry);
        }
        backend.carry.clear();
        self.entry.set_waiting_since(self.shared.registry.tick());
        let flow = self.pass_on(&mut scratch[..end], cx);
        scratch::shrink(scratch);
        flow
    }

    /// Deals with the bytes at hand: to the client, or to the carry.
    fn pass_on(&mut self, bytes: &mut [u8], cx: &mut Context<'_>) -> Flow {
        let followed = match self.follow(bytes) {
            Ok(followed) => followed,
            Err(malformed) => return Flow::Stop(Pumped::Malformed(malformed)),
        };
        if let (Some(backend), true) = (self.backend.as_mut(), followed.used < bytes.len()) {
            backend.carry.extend_from_slice(&bytes[followed.used..]);
        }
        let mut out = &bytes[..followed.out];
        while !out.is_empty() {
            match Pin::new(&mut self.client).poll_write(cx, out) {
                Poll::Ready(Ok(len)) if len > 0 => out = &out[len..],
                Poll::Ready(Ok(_)) => {
                    let error = io::Error::from(io::ErrorKind::WriteZero);
                    return Flow::Stop(Pumped::ClientGone(error.into()));
                }
                Poll::Ready(Err(error)) => return Flow::Stop(Pumped::ClientGone(error.into())),
                Poll::Pending => {
                    self.unsent.extend_from_slice(out);
                    break;
                }
            }
        }
        if self.unsent.is_empty() {
            self.acknowledging.delivered();
            match Pin::new(&mut self.client).poll_flush(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Flow::Stop(Pumped::ClientGone(error.into())),
                Poll::Pending => self.unflushed = true,
            }
        }
        match followed.stop {
            Some(Pumped::Answered) if self.owes_client() => Flow::Again,
            Some(stop) => Flow::Stop(stop),
            None => Flow::Again,
        }
    }

    /// Follows the answer through the bytes at hand, touching what must be touched.
    fn follow(&mut self, bytes: &mut [u8]) -> Result<Followed, Malformed> {
        let (mut used, mut out) = (0, 0);
        let mut stop = None;
        self.current.need = 0;
        while stop.is_none() {
            let keep = match self.tracker.step(&bytes[used..])? {
                Step::Wait(need) => {
                    // At least one byte more than is there.
                    self.current.need = need.max(bytes.len() - used + 1) - 1;
                    break;
                }
                Step::Pass(len) => Kept { from: len, keep: len },
                Step::Packet { total, told } => {
                    self.look_at(&mut bytes[used..used + total], told, &mut stop)?
                }
            };
            let swallow = self.backend.as_ref().is_some_and(|backend| backend.swallow > 0);
            if swallow {
                if let Some(backend) = self.backend.as_mut()
                    && let Some(question) = backend.question.as_mut()
                {
                    question.hear(&bytes[used..used + keep.from]);
                }
                used += keep.from;
                self.swallowed();
                continue;
            }
            if keep.keep > 0 {
                if out != used {
                    bytes.copy_within(used..used + keep.keep, out);
                }
                out += keep.keep;
                self.current.forwarded = true;
            }
            used += keep.from;
            if stop.is_none() {
                if self.tracker.is_done() {
                    stop = Some(Pumped::Answered);
                } else if self.tracker.wants_file() {
                    stop = Some(Pumped::WantsFile);
                }
            }
        }
        Ok(Followed { out, used, stop })
    }

    /// One answer to a statement of our own went by.
    fn swallowed(&mut self) {
        let Some(backend) = self.backend.as_mut() else { return };
        if !self.tracker.is_done() {
            return;
        }
        if let Some(question) = backend.question.take() {
            self.tracking_told(&question);
        }
        let Some(backend) = self.backend.as_mut() else { return };
        backend.swallow -= 1;
        if backend.swallow > 0 {
            self.tracker.start(Command::Query, false);
        } else {
            self.tracker.start(self.current.command, self.current.cursor);
        }
    }

    /// A packet that means something. Returns how much of it the client shall have.
    #[inline]
    fn look_at(
        &mut self,
        packet: &mut [u8],
        told: Told,
        stop: &mut Option<Pumped>,
    ) -> Result<Kept, Malformed> {
        let total = packet.len();
        let mut keep = total;
        match told {
            Told::Ok { .. } | Told::Error(_)
                if self.backend.as_ref().is_some_and(|backend| backend.swallow > 0) =>
            {
                if matches!(told, Told::Error(_)) {
                    self.state.not_tracked();
                }
            }
            Told::Ok { status, last_insert_id } => {
                self.state.set_status(status);
                if last_insert_id != 0 {
                    self.state.set_last_insert_id(last_insert_id);
                    self.look_at_key(last_insert_id, packet);
                }
                if status.has(StatusFlags::SESSION_STATE_CHANGED) {
                    keep = self.read_session_state(packet)?;
                }
            }
            Told::Error(code) => {
                self.current.failed = true;
                let kept =
                    self.is_fenced(code, &packet[Header::LEN..]) || self.is_readers_own(code);
                if kept && !self.current.forwarded {
                    self.current.withheld = packet.to_vec();
                    *stop = Some(Pumped::Fenced);
                    keep = 0;
                } else {
                    if !self.is_unheard_of(code) {
                        self.state.failed(self.current.statement, code);
                    }
                    if self.current.command == Command::StmtPrepare {
                        self.state.prepared.refused();
                    }
                }
            }
            Told::Prepared(prepared) => self.name_statement(packet, prepared),
            Told::Eof(status) => self.state.set_status(status),
            Told::LocalInfile | Told::Other => {}
        }
        Ok(Kept { from: total, keep })
    }

    /// Whether an error says that the server does not know the command (1047), or the statement that
    /// it names (1243): then nothing was begun.
    fn is_unheard_of(&self, code: u16) -> bool {
        let known = |id| self.state.prepared.get(id).is_some();
        code == 1047 || code == 1243 && self.current.statement_id.is_some_and(|id| !known(id))
    }

    /// Whether an error is a fenced master's, and proves that nothing was executed. 1290 names several options; only `read_only` is a
    /// fence. 1792 is also a session's own READ ONLY transaction, unless the master is no longer
    /// the active one.
    fn is_fenced(&self, code: u16, payload: &[u8]) -> bool {
        // A session that only reads was not refused because of a term.
        let proof = self.reader.is_none()
            && self.current.statement.is_refused_whole()
            && self.current.command != Command::StmtBulkExecute;
        match code {
            _ if !proof => false,
            1290 => ErrorPacket::parse(payload).is_ok_and(|error| {
                error.message.contains("read-only") || error.message.contains("read_only")
            }),
            1836 => true,
            1792 => {
                let here: Option<ServerId> = self.backend.as_ref().map(|backend| backend.server);
                self.shared.table().active() != here
            }
            _ => false,
        }
    }

    /// Whether an error is of a reader that has a read of the main port: the active master is asked then.
    /// Not so where somebody ended the statement (1317).
    fn is_readers_own(&self, code: u16) -> bool {
        self.current.split && code != 1317
    }

    /// Remembers a statement that was prepared and, if need be, puts the client's id in place of
    /// the server's: bytes 1 to 4 of the payload.
    fn name_statement(&mut self, packet: &mut [u8], prepared: Prepared) {
        let id = self.statement_prepared(prepared);
        packet[Header::LEN + 1..Header::LEN + 5].copy_from_slice(&id.to_le_bytes());
    }
}

/// Of so many bytes, so many go to the client.
#[derive(Clone, Copy)]
struct Kept {
    from: usize,
    keep: usize,
}
