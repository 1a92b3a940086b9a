//! The loop of one session: hear a command, send it to the active master, pass the answer back.
//!
//! A session owns its client, and a backend that it can let go of. Between two commands it may be
//! without one: its master died, or another became active. The next command takes it to the active
//! master ([`super::migration`]), where it finds its session as it left it.
//!
//! Commands are carried one at a time. What a client sends ahead waits in [`Request`], so that each
//! decision (is a transaction open, may this be run again) is made with the answer to everything
//! before it. Commands without an answer go along with the next one.
//!
//! The ordinary query takes four system calls: read from the client, write to the server, read from
//! the server, write to the client. Everything else on that path is a look at some bytes.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};

use super::backend::Backend;
use super::client_error::ClientError;
use super::end::SessionEnd;
use super::login::Login;
use super::pump::Pumped;
use super::registry::{Activity, Entry};
use super::request::{Front, Request};
use super::scratch;
use super::shared::Shared;
use super::state::SessionState;
use super::statement::{Statement, Traits, Verb};
use super::verdict::{InFlight, Verdict};
use crate::topology::{ServerId, UnreachableKind};
use crate::wire::{
    Capabilities, Command, Header, OkPacket, ResponseTracker, StatusFlags, Stream, StreamError,
    put_packet,
};

/// A session after its login.
pub(super) struct Relay {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<Entry>,
    pub(super) client: Stream,
    pub(super) request: Request,
    pub(super) backend: Option<Backend>,
    /// Bytes of an answer that the client has not taken yet.
    pub(super) unsent: Vec<u8>,
    pub(super) tracker: ResponseTracker,
    pub(super) state: SessionState,
    pub(super) login: Login,
    /// The generation of the routing table that was last acted on.
    pub(super) generation: u64,
    /// How many logins to masters there were.
    pub(super) logins: u64,
    /// The master that took an open transaction with it, which the client has not been told yet.
    pub(super) lost_transaction: Option<ServerId>,
    pub(super) uncounted: Uncounted,
    pub(super) current: Current,
}

/// Commands that are not in the metrics yet. A counter that all workers add to would cost more than
/// all else that is done for a command; so a session delivers its count ten times a second at most,
/// and when it ends.
#[derive(Debug)]
pub(super) struct Uncounted {
    commands: u64,
    delivered_at: u32,
    counter: Counter,
}

impl Uncounted {
    pub(super) fn new(shared: &Shared) -> Self {
        Self { commands: 0, delivered_at: 0, counter: shared.metrics().commands.clone() }
    }

    #[inline]
    fn add(&mut self, tick: u32) {
        self.commands += 1;
        if tick != self.delivered_at {
            self.delivered_at = tick;
            self.counter.inc_by(std::mem::take(&mut self.commands));
        }
    }
}

impl Drop for Uncounted {
    fn drop(&mut self) {
        self.counter.inc_by(self.commands);
    }
}

/// The command that is being carried.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) command: Command,
    pub(super) statement: Statement,
    /// The prepared statement that it names, by the client's id.
    pub(super) statement_id: Option<u32>,
    /// It is kept at the front of the request until it is answered.
    pub(super) kept: bool,
    /// COM_STMT_EXECUTE asks for a cursor.
    pub(super) cursor: bool,
    /// A transaction was open when it came.
    pub(super) in_transaction: bool,
    /// Part of the answer went to the client.
    pub(super) forwarded: bool,
    /// The answer was an error.
    pub(super) failed: bool,
    /// How many bytes from the answer's front are needed to go on with it.
    pub(super) need: usize,
    /// A refusal by a fenced master, kept from the client.
    pub(super) withheld: Vec<u8>,
    /// Since when it waits for an active master.
    pub(super) held: Option<Held>,
    /// It was sent to this login and got no answer, though it may be run again.
    pub(super) unanswered_by: Option<(ServerId, u32)>,
}

impl Current {
    pub(super) fn none() -> Self {
        Self {
            command: Command::Ping,
            statement: HARMLESS,
            statement_id: None,
            kept: true,
            cursor: false,
            in_transaction: false,
            forwarded: false,
            failed: false,
            need: 0,
            withheld: Vec::new(),
            held: None,
            unanswered_by: None,
        }
    }
}

/// A statement that waits for an active master: counted as long as this lives.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) since: Instant,
    waiting: Gauge,
}

impl Held {
    pub(super) fn begin(shared: &Shared) -> Self {
        let metrics = shared.metrics();
        metrics.held.inc();
        metrics.held_now.inc();
        Self { since: Instant::now(), waiting: metrics.held_now.clone() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.waiting.dec();
    }
}

/// A command that changes nothing and may be sent again.
const HARMLESS: Statement = Statement { verb: Verb::Show, traits: Traits::NONE };

/// What a session waits for between two commands.
enum Heard {
    Command(Front),
    ClientGone(StreamError),
    BackendGone(UnreachableKind, String),
    RoutesChanged,
    Killed,
    Shutdown,
}

impl Relay {
    /// Carries commands until the session ends.
    pub(super) async fn run(&mut self) -> SessionEnd {
        loop {
            self.entry.set_activity(Activity::Idle);
            let front = match poll_fn(|cx| self.poll_command(cx)).await {
                Heard::Command(front) => front,
                Heard::ClientGone(error) => return SessionEnd::ClientGone(error),
                Heard::BackendGone(kind, detail) => match self.lose_idle_backend(kind, detail) {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                Heard::RoutesChanged => match self.follow_routes() {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                Heard::Killed => return SessionEnd::Killed,
                Heard::Shutdown => return SessionEnd::Shutdown,
            };
            self.entry.set_activity(Activity::Running);
            if let Err(end) = self.carry(front).await {
                return end;
            }
        }
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        if self.entry.is_killed() {
            return Poll::Ready(Heard::Killed);
        }
        if self.shared.generation() != self.generation {
            return Poll::Ready(Heard::RoutesChanged);
        }
        loop {
            match self.request.front() {
                Front::Incomplete => {}
                // A master that has gone already shall not get the command: nobody could tell then
                // whether it did. Costs no system call while nothing came from it.
                front => {
                    return Poll::Ready(match self.poll_idle_backend(cx) {
                        Some((kind, detail)) => Heard::BackendGone(kind, detail),
                        None => Heard::Command(front),
                    });
                }
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
        if self.shared.generation() != self.generation || self.entry.is_killed() {
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
    fn poll_idle_backend(&mut self, cx: &mut Context<'_>) -> Option<(UnreachableKind, String)> {
        let backend = self.backend.as_mut()?;
        if backend.swallow > 0 && backend.preamble.is_empty() {
            return None; // it still has an answer of ours to give
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
    fn lose_idle_backend(
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

    /// Carries the command at the front of the request.
    async fn carry(&mut self, front: Front) -> Result<(), SessionEnd> {
        let bytes = self.request.bytes();
        let command = Command::from_byte(bytes.get(Header::LEN).copied().unwrap_or(0));
        self.uncounted.add(self.shared.registry.tick());
        match (command, front) {
            (Command::Quit, _) => return Err(SessionEnd::Quit),
            (Command::ChangeUser, Front::Whole(total)) => return self.change_user(total).await,
            (command, Front::Whole(total)) => {
                if let Some(error) = ClientError::refusing(command) {
                    return self.answer_error(&error).await;
                }
                self.begin(command, total, true);
                self.carry_whole().await
            }
            (command, _) => {
                let there = bytes.len();
                self.begin(command, there, false);
                self.carry_long().await
            }
        }
    }

    /// Looks at a command before it is sent. Of one that is not kept only `len` bytes are there.
    #[inline]
    fn begin(&mut self, command: Command, len: usize, kept: bool) {
        let payload = &self.request.bytes()[Header::LEN..len];
        let mut cursor = false;
        let mut id = None;
        let mut statement = match command {
            Command::Query => Statement::classify(&payload[1..], self.state.backslash_escapes()),
            Command::StmtExecute | Command::StmtBulkExecute => {
                id = statement_id(payload);
                cursor = command == Command::StmtExecute
                    && payload.get(5).is_some_and(|flags| flags & 0x0F != 0);
                self.state.prepared.executing(command, id, payload)
            }
            Command::StmtSendLongData
            | Command::StmtReset
            | Command::StmtFetch
            | Command::StmtClose => {
                id = statement_id(payload);
                HARMLESS
            }
            Command::ProcessKill | Command::Debug | Command::Other(_) => Statement::UNKNOWN,
            _ => HARMLESS,
        };
        if !kept && command == Command::Query && statement.verb != Verb::Write {
            statement = Statement::UNKNOWN; // nobody has read it to its end
        }
        let current = &mut self.current;
        current.command = command;
        current.statement = statement;
        current.statement_id = id;
        current.kept = kept;
        current.cursor = cursor;
        current.in_transaction = self.state.in_transaction();
        current.forwarded = false;
        current.failed = false;
        current.need = 0;
        current.held = None;
        current.unanswered_by = None;
    }

    /// The length of the command at the front, which is kept.
    #[inline]
    fn front_len(&self) -> usize {
        Header::read(self.request.bytes()).map_or(0, Header::total)
    }

    /// Carries a command that is kept until it is answered.
    async fn carry_whole(&mut self) -> Result<(), SessionEnd> {
        loop {
            if self.lost_transaction.is_some() && self.tell_lost_transaction().await? {
                return Ok(());
            }
            if self.backend.is_none() || self.shared.generation() != self.generation {
                if let Err(error) = self.reach_active().await? {
                    return self.answer_error(&error).await;
                }
                if self.backend.is_none() {
                    continue; // it left a server, and a transaction with it
                }
            }
            if self.current.statement_id.is_some() && !self.statement_is_ready().await? {
                return self.answer_unknown_statement().await;
            }
            if let Err(error) = self.send().await {
                match self.lost_in_flight(error, false).await? {
                    After::Again => continue,
                    After::Answered => break,
                }
            }
            if self.current.command.is_silent() {
                self.silent_done();
                break;
            }
            match self.hear_answer().await? {
                After::Again => {}
                After::Answered => break,
            }
        }
        self.request.consume(self.front_len());
        Ok(())
    }

    /// Writes the command, and what must go before it, to the server.
    #[inline]
    async fn send(&mut self) -> Result<(), std::io::Error> {
        let total = self.front_len();
        let Some(backend) = self.backend.as_mut() else {
            return Err(std::io::ErrorKind::NotConnected.into());
        };
        if backend.swallow > 0 {
            self.tracker.start(Command::Query, false);
        } else {
            self.tracker.start(self.current.command, self.current.cursor);
        }
        self.entry.set_waiting_since(self.shared.registry.tick());
        if backend.preamble.is_empty() {
            return backend.stream.write_all(&self.request.bytes()[..total]).await;
        }
        let mut both = std::mem::take(&mut backend.preamble);
        both.extend_from_slice(&self.request.bytes()[..total]);
        backend.stream.write_all(&both).await
    }

    /// Passes the answer on, and sees to what the client must not see of it.
    pub(super) async fn hear_answer(&mut self) -> Result<After, SessionEnd> {
        loop {
            let pumped = poll_fn(|cx| self.poll_pump(cx)).await;
            match pumped {
                Pumped::Answered => {
                    self.entry.set_waiting_since(0);
                    self.answered();
                    return Ok(After::Answered);
                }
                Pumped::Fenced => {
                    self.entry.set_waiting_since(0);
                    return self.refused_by_fence().await;
                }
                Pumped::WantsFile => {
                    self.flush_unsent().await?;
                    self.send_file().await?;
                }
                Pumped::RoutesChanged => {
                    let table = self.shared.table();
                    self.generation = table.generation;
                    let here = self.backend.as_ref().map(|backend| backend.server);
                    if table.active().is_some() && table.active() != here {
                        let gone = std::io::Error::other("another master is active now");
                        return self.lost_in_flight(gone, true).await;
                    }
                }
                Pumped::BackendLost(error) => return self.lost_in_flight(error, true).await,
                Pumped::ClientGone(error) => return Err(SessionEnd::ClientGone(error)),
                Pumped::Malformed(error) => {
                    return Err(SessionEnd::ServerMalformed(error.to_string()));
                }
                Pumped::Killed => return Err(SessionEnd::Killed),
            }
        }
    }

    /// The whole answer is with the client: what it means for the session.
    #[inline]
    fn answered(&mut self) {
        if self.current.failed {
            return;
        }
        self.state.set_status(self.tracker.status());
        if !self.current.kept {
            if !self.current.statement.is_plain() {
                self.state.not_tracked();
            }
            return;
        }
        match self.current.command {
            Command::Query => {
                let sql = &self.request.bytes()[Header::LEN + 1..self.front_len()];
                self.state.executed(self.current.statement, sql);
            }
            Command::StmtExecute | Command::StmtBulkExecute => self.executed_prepared(),
            _ => self.answered_otherwise(),
        }
    }

    fn answered_otherwise(&mut self) {
        let payload = &self.request.bytes()[Header::LEN..self.front_len()];
        match self.current.command {
            Command::StmtFetch if self.tracker.status().has(StatusFlags::LAST_ROW_SENT) => {
                self.change_statement(|statement| statement.cursor = false);
            }
            Command::StmtReset => self.change_statement(|statement| {
                statement.cursor = false;
                statement.long_data = false;
            }),
            Command::InitDb => {
                let schema = payload[1..].to_vec();
                self.state.set_schema(&schema);
            }
            Command::SetOption => {
                let on = payload.get(1..3) == Some(&[0, 0]);
                let agreed = self.login.capabilities;
                self.login.capabilities = if on {
                    agreed.with(Capabilities::MULTI_STATEMENTS)
                } else {
                    agreed.without(Capabilities::MULTI_STATEMENTS)
                };
            }
            Command::ResetConnection => {
                self.state.reset();
                if let Some(backend) = self.backend.as_mut() {
                    super::migration::ask_for_tracking(backend);
                }
            }
            _ => {}
        }
    }

    /// A fenced master refused the command, which proves that it was not executed.
    async fn refused_by_fence(&mut self) -> Result<After, SessionEnd> {
        let Some(server) = self.backend.as_ref().map(|backend| backend.server) else {
            return Ok(After::Again);
        };
        if self.current.in_transaction {
            // Its transaction cannot be committed there any more. Letting go of the connection
            // rolls it back for certain.
            self.release_backend().await;
            self.state.transaction_ended();
            return self.conclude(Verdict::RolledBack, server).await;
        }
        match self.wait_for_routes().await? {
            Ok(()) => Ok(After::Again),
            // Nothing changed for as long as a statement may wait: the refusal is the answer.
            Err(_) => {
                let refusal = std::mem::take(&mut self.current.withheld);
                self.to_client(&refusal).await?;
                Ok(After::Answered)
            }
        }
    }

    /// The master went while it had the command, or part of it.
    pub(super) async fn lost_in_flight(
        &mut self,
        error: std::io::Error,
        delivered: bool,
    ) -> Result<After, SessionEnd> {
        self.entry.set_waiting_since(0);
        let Some(backend) = self.backend.take() else { return Ok(After::Again) };
        self.entry.set_server(None);
        let kind = super::backend::kind_of(&error);
        self.shared.report(backend.server, kind, error.to_string());
        let resets = self.current.command == Command::ResetConnection;
        if resets {
            // All that a lost session could lose is what was to be thrown away.
            self.state.reset();
            self.state.transaction_ended();
            self.current.in_transaction = false;
        }
        let verdict = InFlight {
            statement: self.current.statement,
            in_transaction: self.current.in_transaction,
            delivered,
            forwarded: self.current.forwarded,
            blocker: self.state.loss_blocker(),
        }
        .verdict();
        self.state.transaction_ended();
        if delivered && verdict == Verdict::RunAgain {
            self.current.unanswered_by = Some((backend.server, backend.thread_id));
        }
        self.conclude(verdict, backend.server).await
    }

    /// Tells the client what became of its command.
    async fn conclude(&mut self, verdict: Verdict, server: ServerId) -> Result<After, SessionEnd> {
        let from = self.shared.table().servers.name(server).to_owned();
        let metrics = self.shared.metrics();
        match verdict {
            Verdict::RunAgain => return Ok(After::Again),
            Verdict::Done => {
                let status = StatusFlags(self.state.status().0 & StatusFlags::AUTOCOMMIT.0);
                let mut ok = Vec::new();
                put_packet(&mut ok, self.tracker.next_seq(), &OkPacket::plain(status));
                self.to_client(&ok).await?;
            }
            Verdict::RolledBack => {
                metrics.rolled_back.inc();
                self.error_in_place(&ClientError::RolledBack { from }).await?;
            }
            Verdict::Unknown => {
                metrics.outcome_unknown.inc();
                self.error_in_place(&ClientError::OutcomeUnknown { from }).await?;
                return Err(SessionEnd::OutcomeUnknown);
            }
            Verdict::CutOff if !self.tracker.at_boundary() => return Err(SessionEnd::CutOff),
            Verdict::CutOff => {
                self.flush_unsent().await?;
                let error = if self.current.in_transaction {
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

    /// An error of our own as the next packet of the answer.
    pub(super) async fn error_in_place(&mut self, error: &ClientError) -> Result<(), SessionEnd> {
        let mut packet = Vec::new();
        put_packet(&mut packet, self.tracker.next_seq(), &error.to_payload());
        self.to_client(&packet).await
    }

    /// An error of our own as the whole answer to the command at the front.
    pub(super) async fn answer_error(&mut self, error: &ClientError) -> Result<(), SessionEnd> {
        let packet = self.as_answer(&error.to_payload());
        self.request.consume(self.front_len());
        self.to_client(&packet).await
    }

    /// A payload as the first packet of the answer to the command at the front.
    pub(super) fn as_answer(&self, payload: &[u8]) -> Vec<u8> {
        let seq = Header::read(self.request.bytes()).map_or(0, |header| header.seq);
        let mut packet = Vec::new();
        put_packet(&mut packet, seq.wrapping_add(1), payload);
        packet
    }

    /// Lets the client take what it has not taken yet.
    async fn flush_unsent(&mut self) -> Result<(), SessionEnd> {
        let unsent = std::mem::take(&mut self.unsent);
        self.to_client(&unsent).await
    }

    /// Writes packets to the client.
    pub(super) async fn to_client(&mut self, packets: &[u8]) -> Result<(), SessionEnd> {
        self.client.write_all(packets).await.map_err(|error| SessionEnd::ClientGone(error.into()))
    }

    /// Tells of a transaction that went with its master while the session was idle. True when that
    /// was the answer to the command.
    async fn tell_lost_transaction(&mut self) -> Result<bool, SessionEnd> {
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
            Verb::Begin => return Ok(false),
            Verb::Rollback => {
                let status = StatusFlags(self.state.status().0 & StatusFlags::AUTOCOMMIT.0);
                let ok = self.as_answer(&OkPacket::plain(status));
                self.request.consume(self.front_len());
                self.to_client(&ok).await?;
            }
            _ => {
                self.shared.metrics().rolled_back.inc();
                self.answer_error(&ClientError::RolledBack { from }).await?;
            }
        }
        Ok(true)
    }
}

/// Whether a command is answered, or has to be sent (again).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Answered,
    Again,
}

/// The statement id of a COM_STMT_ command: four bytes behind the first.
#[inline]
pub(super) fn statement_id(payload: &[u8]) -> Option<u32> {
    payload.get(1..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
