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
use std::sync::Arc;
use std::time::Duration;

use super::acknowledging::Acknowledging;
use super::backend::Backend;
use super::client_error::ClientError;
use super::closed::Closed;
use super::current::{Current, Uncounted};
use super::end::SessionEnd;
use super::idle::{Gone, Heard};
use super::invitation::Invitation;
use super::login::Login;
use super::pump::Pumped;
use super::reading::Reader;
use super::registry::{Activity, Entry};
use super::request::{Front, Request};
use super::shared::Shared;
use super::splitting::Splits;
use super::state::SessionState;
use super::tracking::Tracking;
use crate::topology::ServerId;
use crate::wire::{Command, Compression, Header, Peer, ResponseTracker, Salt, Stream};

/// A session after its login.
pub(super) struct Relay {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<Entry>,
    pub(super) client: Stream,
    pub(super) request: Request,
    pub(super) backend: Option<Backend>,
    /// Bytes of an answer that the client has not taken yet.
    pub(super) unsent: Vec<u8>,
    /// TLS has taken what the client has not.
    pub(super) unflushed: bool,
    /// SHA-256 of the certificate that the client was shown, and the salt that it answered last.
    pub(super) shown: Option<[u8; 32]>,
    pub(super) salt: Salt,
    pub(super) tracker: ResponseTracker,
    pub(super) state: SessionState,
    /// What the client asked to be told of its session, once that is known.
    pub(super) tracking: Option<Tracking>,
    pub(super) login: Login,
    /// The generation of the routing table that was last acted on.
    pub(super) generation: u64,
    /// That table does not name the server where the session is: the next command looks again.
    pub(super) unsettled: bool,
    /// How long a statement that may begin to write waits, by that table.
    pub(super) pace: Option<Duration>,
    /// What of that it has not waited yet.
    pub(super) owed: Duration,
    /// A login to the next master, made ahead.
    pub(super) invitation: Option<Box<Invitation>>,
    /// How many logins to masters there were.
    pub(super) logins: u64,
    /// Its last server closed the connection, perhaps on purpose.
    pub(super) closed: Option<Box<Closed>>,
    /// The master that took an open transaction with it, which the client has not been told yet.
    pub(super) lost_transaction: Option<ServerId>,
    /// It was told, and what the client had sent by then is still to be told the same.
    pub(super) pipelined_was_lost: bool,
    /// The server has the beginning of something that it will not get the rest of.
    pub(super) half_sent: bool,
    pub(super) uncounted: Uncounted,
    pub(super) acknowledging: Acknowledging,
    /// When a key of another master's class was last told, in ticks.
    pub(super) foreign_key_at: Option<u32>,
    /// It came by the reads listener.
    pub(super) reader: Option<Box<Reader>>,
    /// Some of its reads go elsewhere.
    pub(super) splits: Option<Box<Splits>>,
    pub(super) current: Current,
}

/// How long a master that is not the active one any more may be silent before it is given up.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Relay {
    /// Goes over to compression towards the client, which does the same behind its OK. What it sent
    /// ahead of that was compressed already.
    pub(super) fn compressed(mut self, compression: Compression) -> Self {
        let ahead = std::mem::take(self.request.bytes_mut());
        let client = self.client.compressed(compression, Peer::Client, ahead);
        Self { client, ..self }
    }

    /// Carries commands until the session ends.
    pub(super) async fn run(&mut self) -> SessionEnd {
        loop {
            self.rest(Activity::Idle);
            let front = match self.hear().await {
                Heard::Command(front) => front,
                Heard::ClientGone(error) => return SessionEnd::ClientGone(error),
                Heard::BackendGone(gone) => match self.lose_idle_backend(gone).await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                Heard::Closed => match self.ask_why_closed().await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                Heard::RoutesChanged => match self.follow_routes().await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                Heard::Killed => return SessionEnd::Killed,
                Heard::Shutdown => return SessionEnd::Shutdown,
            };
            self.entry.set_running();
            if let Err(end) = self.carry(front).await {
                return end;
            }
            if self.pipelined_was_lost && self.request.bytes().is_empty() {
                self.pipelined_was_lost = false;
                self.lost_transaction = None;
            }
        }
    }

    /// Carries the command at the front of the request.
    async fn carry(&mut self, front: Front) -> Result<(), SessionEnd> {
        let bytes = self.request.bytes();
        let end = if let Front::Whole(total) = front { total } else { bytes.len() };
        self.client.answer_all_but(bytes.len() - end);
        let command = Command::from_byte(bytes[..end].get(Header::LEN).copied().unwrap_or(0));
        self.uncounted.add(self.shared.registry.tick());
        match (command, front) {
            (Command::Quit, _) => Err(SessionEnd::Quit),
            (Command::ChangeUser, Front::Whole(total)) => self.change_user(total).await,
            (command, Front::Whole(total)) => {
                if let Some(error) = ClientError::refusing(command) {
                    return self.answer_error(&error).await;
                }
                self.begin(command, total, true);
                if command.is_dump() {
                    return self.carry_dump().await;
                }
                self.carry_whole().await
            }
            (Command::ChangeUser, _) => {
                Err(SessionEnd::ClientMalformed("a COM_CHANGE_USER above 1 MiB".to_owned()))
            }
            (command, _) => {
                self.begin(command, end, false);
                self.doubt_reader();
                if let Some(error) = ClientError::refusing(command) {
                    return self.drop_command(&error).await;
                }
                self.carry_long().await
            }
        }
    }

    /// The length of the command at the front, which is kept.
    #[inline]
    pub(super) fn front_len(&self) -> usize {
        Header::read(self.request.bytes()).map_or(0, Header::total)
    }

    /// Carries a command that is kept until it is answered.
    async fn carry_whole(&mut self) -> Result<(), SessionEnd> {
        if self.leaves_read_only() {
            return self.answer_error(&ClientError::StaysReadOnly).await;
        }
        if self.may_split() && self.split().await? {
            self.request.consume(self.front_len());
            return Ok(());
        }
        loop {
            if self.lost_transaction.is_some() {
                if self.closed.is_some() {
                    self.ask_why_closed().await?; // it may not have been a failover
                }
                if self.tell_lost_transaction().await? {
                    return Ok(());
                }
            }
            if self.current.kill.is_some() && self.kill_here().await? {
                return Ok(());
            }
            if self.backend.is_none() && self.current.command == Command::StmtClose {
                return self.answer_unknown_statement().await; // whoever knew it is gone
            }
            if self.backend.is_none()
                || self.unsettled
                || self.shared.generation() > self.generation
                || self.is_stale()
            {
                if let Err(error) = self.reach_active().await? {
                    return self.give_up(&error).await;
                }
                if self.backend.is_none() {
                    continue; // it left a server, and a transaction with it
                }
            }
            if let Some(pause) = self.pause_before() {
                if let Err(error) = self.pause(pause).await? {
                    return self.give_up(&error).await;
                }
                continue;
            }
            if !self.statement_is_ready() {
                if !self.make_statement_ready().await? {
                    return self.answer_unknown_statement().await;
                }
                if self.shared.generation() > self.generation {
                    continue; // it took a while
                }
            }
            if self.reader.is_some() {
                match self.wait_for_writes().await? {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => return self.give_up(&error).await,
                }
            }
            if self.names_tracking() {
                self.give_back_tracking().await;
            }
            if self.current.kill.is_some() && self.kill_there().await? {
                return Ok(());
            }
            if let Err(error) = self.send().await? {
                if self.current.command.is_silent() {
                    self.lose_idle_backend(Gone::broken(&error)).await?;
                    continue;
                }
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
        if self.names_tracking() {
            self.take_back_tracking();
        }
        self.stay_read_only();
        self.request.consume(self.front_len());
        Ok(())
    }

    /// No server will have the command: says so, where there is an answer to say it in.
    async fn give_up(&mut self, error: &ClientError) -> Result<(), SessionEnd> {
        match self.current.command {
            Command::StmtClose => self.answer_unknown_statement().await,
            // Its execution would go on without it.
            Command::StmtSendLongData => Err(SessionEnd::NobodyActive(error.to_string())),
            _ => self.answer_error(error).await,
        }
    }

    /// Passes the answer on, and sees to what the client must not see of it.
    pub(super) async fn hear_answer(&mut self) -> Result<After, SessionEnd> {
        let mut superseded = false;
        loop {
            let pumping = poll_fn(|cx| self.poll_pump(cx));
            let pumped = if superseded {
                match tokio::time::timeout(LAST_WORDS, pumping).await {
                    Ok(pumped) => pumped,
                    // Between two packets of a long result there may be a while, and a client
                    // may take its time.
                    Err(_) if self.has_heard_of_late() || self.is_answered() => continue,
                    Err(_) => return self.gone_in_flight(true).await,
                }
            } else {
                pumping.await
            };
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
                Pumped::RoutesChanged => match self.overtaken() {
                    Patience::Unlimited => {}
                    Patience::LastWords => superseded = true,
                    Patience::None => return self.gone_in_flight(true).await,
                },
                Pumped::BackendLost(error) => return self.lost_in_flight(error, true).await,
                Pumped::ClientGone(error) => return Err(SessionEnd::ClientGone(error)),
                Pumped::Malformed(error) => {
                    return Err(SessionEnd::ServerMalformed(error.to_string()));
                }
                Pumped::Killed => return Err(SessionEnd::Killed),
            }
        }
    }
}

/// For how long the answer of a server is still waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As for any statement.
    Unlimited,
    /// As long as it says something now and then.
    LastWords,
    /// No longer.
    None,
}

/// Whether a command is answered, or has to be sent (again).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Answered,
    Again,
}
