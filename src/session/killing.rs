//! Carrying out a KILL that names a session by the id of its greeting.
//!
//! Whether the issuer may is the server's to say: the statement goes to the server where the victim
//! is, with that server's id in it, over the issuer's own connection or a short login as the issuer,
//! and the answer is the server's. Only what no server has is ended here: a statement that waits for
//! an active master, a session that is on no server now. Then the issuer must be the victim's own
//! user, which is what servers allow without a privilege; more than that nobody could confirm.

use std::future::poll_fn;
use std::sync::Arc;

use super::backend::{Accepted, Backend, ConnectFailure};
use super::client_error::ClientError;
use super::end::SessionEnd;
use super::holding::Stop;
use super::kill::{Kill, Victim};
use super::registry::{Activity, Entry};
use super::relay::Relay;
use super::statement::Verb;
use crate::topology::ServerId;
use crate::wire::{Command, Header, OkPacket, PacketStream};

/// Who has to act.
enum Hand {
    /// The server where the victim is.
    Server,
    /// Tandem: no server knows of the statement, or of the session.
    Tandem,
    /// Nobody, because of this.
    Nobody(ClientError),
}

impl Relay {
    /// The KILL that is being carried, if it names a session of Tandem's: by the id of its greeting, or
    /// by that of the server where the issuer is.
    pub(super) fn read_kill(&self, command: Command, payload: &[u8]) -> Option<Box<Kill>> {
        let mut kill = Kill::read(command, payload, self.state.backslash_escapes())?;
        let registry = &self.shared.registry;
        if kill.is_of_issuer() {
            kill.id = self.entry.id;
        } else if registry.get(kill.id).is_none() {
            let here = self.backend.as_ref()?.server;
            kill.id = registry.at(here, kill.id)?.id;
        }
        Some(Box::new(kill))
    }

    /// Ends what no server has. True when the command is answered.
    pub(super) async fn kill_here(&mut self) -> Result<bool, SessionEnd> {
        let Some(kill) = self.current.kill.clone().filter(|_| self.kills_only()) else {
            return Ok(false);
        };
        let victim = self.shared.registry.get(kill.id);
        match self.hand(&kill, victim.as_deref()) {
            Hand::Server => return Ok(false),
            Hand::Tandem => {
                let answer = self.as_answer(&OkPacket::plain(self.state.status()));
                self.request.consume(self.front_len());
                self.tell_client(&answer).await?;
                victim.iter().for_each(|victim| end_here(&kill, victim));
            }
            Hand::Nobody(error) => self.answer_error(&error).await?,
        }
        Ok(true)
    }

    /// Puts the server's id into a KILL that goes to the server where this session is; one for another
    /// server is carried out there. True when the command is answered.
    pub(super) async fn kill_there(&mut self) -> Result<bool, SessionEnd> {
        let Some(kill) = self.current.kill.clone() else { return Ok(false) };
        let Some(victim) = self.shared.registry.get(kill.id) else {
            self.answer_error(&ClientError::UnknownThread(kill.id)).await?;
            return Ok(true);
        };
        let Some((server, thread_id)) = victim.place() else {
            return self.kill_here().await; // it has gone from there just now
        };
        let here = self.backend.as_ref().is_some_and(|backend| backend.server == server);
        if !here && !self.kills_only() {
            return Ok(false); // other statements follow, which are for this server
        }
        let front = Header::LEN..self.front_len();
        let mut aimed = self.request.bytes()[front.clone()].to_vec();
        if !kill.aim(&mut aimed, thread_id) {
            return Ok(false);
        }
        if kill.victim == Victim::Connection {
            victim.condemn(thread_id, true);
        }
        if here {
            self.request.bytes_mut()[front].copy_from_slice(&aimed);
            return Ok(false);
        }
        let answer = match self.ask_another_server(server, &aimed).await? {
            Ok(answer) if answer.first() == Some(&0xFF) => {
                self.current.failed = true;
                answer
            }
            // What the OK says of a session is said of another one than the client's.
            Ok(_) => OkPacket::plain(self.state.status()),
            Err(error) => {
                self.current.failed = true;
                error.to_payload()
            }
        };
        self.kill_answered();
        let packet = self.as_answer(&answer);
        self.request.consume(self.front_len());
        self.tell_client(&packet).await?;
        Ok(true)
    }

    /// The server has answered a KILL.
    pub(super) fn kill_answered(&mut self) {
        let Some(kill) = self.current.kill.take() else { return };
        let Some(victim) = self.shared.registry.get(kill.id) else { return };
        if !self.current.failed {
            if victim.activity() == Activity::Held {
                end_here(&kill, &victim); // the server found it idle
            }
        } else if victim.id != self.entry.id {
            // An error is a refusal, unless a session kills itself: then it is the end.
            victim.condemn(0, false);
        }
    }

    fn kills_only(&self) -> bool {
        self.current.command == Command::ProcessKill || self.current.statement.is_only(Verb::Kill)
    }

    fn hand(&self, kill: &Kill, victim: Option<&Entry>) -> Hand {
        let Some(victim) = victim.filter(|victim| victim.activity() != Activity::LoggingIn) else {
            return Hand::Nobody(ClientError::UnknownThread(kill.id));
        };
        let own = victim.user() == self.entry.user();
        match victim.place() {
            _ if own && victim.activity() == Activity::Held => Hand::Tandem,
            Some(_) => Hand::Server,
            None if own => Hand::Tandem,
            None => Hand::Nobody(ClientError::NotOwner(kill.id)),
        }
    }

    /// Has a command carried out on a server where this session is not, as its user. The outer error
    /// ends the session.
    async fn ask_another_server(
        &mut self,
        server: ServerId,
        command: &[u8],
    ) -> Result<Result<Vec<u8>, ClientError>, SessionEnd> {
        let table = self.shared.table();
        let server = table.servers.get(server);
        self.logins += 1;
        let (login, number, timeout) =
            (self.login_to_send(), self.logins, self.shared.connect_timeout);
        let shared = Arc::clone(&self.shared);
        let asking = async {
            let Accepted { mut backend, .. } =
                Backend::connect(server, &login, number, &shared.master_tls, timeout).await?;
            let ahead = std::mem::take(&mut backend.carry);
            let mut packets = PacketStream::resume(&mut backend.stream, ahead);
            packets.write(command).await?;
            let answer = packets.read().await?;
            packets.restart();
            let _ = packets.write(&[1]).await; // COM_QUIT, as a courtesy
            Ok::<_, ConnectFailure>(answer)
        };
        let asked = tokio::select! {
            asked = tokio::time::timeout(timeout, asking) => asked,
            stop = poll_fn(|cx| self.poll_stop(cx)) => return match stop {
                Stop::End(end) => Err(end),
                Stop::Interrupted => Ok(Err(ClientError::Interrupted)),
            },
        };
        Ok(match asked {
            Ok(Ok(answer)) | Ok(Err(ConnectFailure::Refused(answer))) => Ok(answer),
            Ok(Err(ConnectFailure::Unreachable(_, reason)))
            | Ok(Err(ConnectFailure::Unsupported(reason)))
            | Ok(Err(ConnectFailure::NotTrusted(reason)))
            | Ok(Err(ConnectFailure::Replaced(reason))) => Err(reason),
            Ok(Err(ConnectFailure::Interrupted)) => return Ok(Err(ClientError::Interrupted)),
            Err(_) => Err(format!("no answer within {timeout:?}")),
        }
        .map_err(|reason| ClientError::NotAccepted { server: server.name.clone(), reason }))
    }
}

/// Ends what Tandem alone has.
fn end_here(kill: &Kill, victim: &Entry) {
    match kill.victim {
        Victim::Query => victim.interrupt(),
        Victim::Connection => victim.kill(),
    }
}
