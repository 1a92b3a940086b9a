//! COM_CHANGE_USER: another user, or the same again, on the connection that is there.
//!
//! The client is asked for its secret as at a first login, and the session's own connection to the
//! master becomes that of the new user: same thread id, no new connection. Where there is none (the
//! master went, another is active), it is a login like the first.
//!
//! A refusal is what it is before a server of the family: MySQL says it and closes. MariaDB says it
//! and goes on as the user of before, with a session that is cleared, temporary tables and variables
//! gone, the schema kept (tried on 10.11 and 11.8; `sql_parse.cc`, COM_CHANGE_USER).

use super::answering;
use super::backend::{Backend, ConnectFailure};
use super::client_error::ClientError;
use super::end::SessionEnd;
use super::learning::{Learnt, Lesson, LoginFailure};
use super::login::Login;
use super::migration::Refusal;
use super::plugin::NATIVE;
use super::registry::Activity;
use super::relay::Relay;
use super::request::Request;
use super::state::SessionState;
use super::tracking::ask_for_tracking;
use super::welcome::Turn;
use crate::topology::Flavor;
use crate::wire::{ChangeUser, Header, OkPacket, PacketStream, StatusFlags};

impl Relay {
    /// Carries COM_CHANGE_USER, which is the first `total` bytes of the request.
    pub(super) async fn change_user(&mut self, total: usize) -> Result<(), SessionEnd> {
        let bytes = self.request.bytes()[..total].to_vec();
        self.request.consume(total);
        let seq = Header::read(&bytes).map_or(0, |header| header.seq);
        let change = ChangeUser::parse(&bytes[Header::LEN..], self.login.capabilities)
            .map_err(|error| SessionEnd::ClientMalformed(error.to_string()))?;
        self.client.answer_all();
        self.rest(Activity::Running); // the client is asked first, which may take it a while
        let flavor = self.shared.table().identity.as_ref().map_or(Flavor::MySql, |i| i.flavor);
        let (learnt, turn) = self.learn_anew(&change, seq.wrapping_add(1), flavor).await?;
        let wanted = Login {
            user: change.user,
            credential: learnt.credential,
            schema: change.schema,
            collation: change.collation.unwrap_or(self.login.collation),
            attributes: change.attributes,
            towards: self.login.towards.clone(),
            ..self.login
        };
        let mut before = std::mem::replace(&mut self.login, wanted);
        self.login.forget_ignore_space();
        before.schema.clone_from(&self.state.schema);
        self.lost_transaction = None;
        self.pipelined_was_lost = false;
        self.decline_invitation();
        self.leave_reader().await;
        match self.become_user().await {
            Err(Refusal::Server(packet)) if flavor == Flavor::MariaDb => {
                self.note_refusal(&packet);
                self.shared.metrics().login_failures.inc();
                self.begin_session(before.schema.clone(), StatusFlags::AUTOCOMMIT);
                self.login = before;
                self.login.forget_ignore_space();
                self.tell_turn(&packet, turn).await
            }
            answer => {
                if answer.is_ok() {
                    self.entry.set_user(&self.login.user);
                }
                self.answer_login(answer, turn).await
            }
        }
    }

    /// Asks the client for the secret of the user that it wants to be.
    async fn learn_anew(
        &mut self,
        change: &ChangeUser,
        seq: u8,
        flavor: Flavor,
    ) -> Result<(Learnt, Turn), SessionEnd> {
        let ahead = std::mem::take(self.request.bytes_mut());
        let mut packets = PacketStream::resume(&mut self.client, ahead);
        packets.set_seq(seq);
        let lesson = Lesson {
            packets: &mut packets,
            shared: &self.shared,
            user: &change.user,
            flavor,
            salt: self.salt,
            may_switch: true,
        };
        let asking = lesson.learn_anew(change.plugin.as_deref().unwrap_or(NATIVE));
        let asked: Result<Learnt, LoginFailure> =
            match tokio::time::timeout(self.shared.connect_timeout, asking).await {
                Ok(asked) => asked,
                Err(_) => return Err(SessionEnd::HandshakeTimeout),
            };
        let learnt = match asked {
            Ok(learnt) => learnt,
            Err(failure) => return Err(failure.tell(&mut packets).await),
        };
        let turn = Turn { seq: packets.next_seq(), recognised: learnt.recognised };
        let (_, ahead) = packets.into_parts();
        self.request = Request::new(ahead);
        Ok((learnt, turn))
    }

    /// Makes the session one of the user that `login` names now: the master's OK, or its refusal.
    async fn become_user(&mut self) -> Result<Vec<u8>, Refusal> {
        self.entry.set_running(); // before the table is looked at
        let Some(backend) = self.take_settled_backend() else {
            self.release_backend().await;
            return self.log_in().await;
        };
        let server = backend.server;
        let (shared, login) = (self.shared.clone(), self.login_to_send());
        let mut routes = shared.routes();
        let changing = tokio::time::timeout(shared.connect_timeout, rename(backend, &login));
        let changed = tokio::select! {
            changed = changing => changed.ok(),
            _ = routes.wait_for(|table| !table.serves(server)) => None,
        };
        match changed {
            Some((backend, Ok(ok))) => {
                let status = OkPacket::parse(&ok).map_or(StatusFlags::AUTOCOMMIT, |ok| ok.status);
                self.backend = Some(backend);
                self.begin_session(login.schema, status);
                Ok(ok)
            }
            Some((backend, Err(ConnectFailure::Refused(packet)))) => {
                self.backend = Some(backend);
                Err(Refusal::Server(packet))
            }
            Some((_, Err(ConnectFailure::Unsupported(reason)))) => {
                self.entry.set_place(None);
                let user = String::from_utf8_lossy(&login.user).into_owned();
                Err(Refusal::Tandem(ClientError::CannotLogIn { user, reason }))
            }
            // It broke on the way, or another master is active.
            Some((_, Err(_))) | None => {
                self.entry.set_place(None);
                self.log_in().await
            }
        }
    }

    /// The connection to the active master, if it waits for a command.
    fn take_settled_backend(&mut self) -> Option<Backend> {
        let table = self.shared.table();
        let settled = self.backend.as_ref().is_some_and(|backend| {
            let answers_pending = backend.swallow > 0 && backend.preamble.is_empty();
            table.serves(backend.server) && backend.carry.is_empty() && !answers_pending
        });
        if !settled || self.half_sent {
            return None;
        }
        let mut backend = self.backend.take()?;
        // What was to go out before the next command is undone by this one.
        backend.preamble.clear();
        backend.swallow = 0;
        backend.question = None;
        Some(backend)
    }

    /// The session has just begun, on the connection that it has.
    fn begin_session(&mut self, schema: Option<Vec<u8>>, status: StatusFlags) {
        self.logins += 1;
        self.state = SessionState::new(schema, status);
        self.tracking = None;
        self.acknowledging.change_user();
        if let Some(backend) = &mut self.backend {
            backend.login = self.logins; // what was prepared before is gone
            backend.preamble.clear();
            backend.swallow = 0;
            backend.question = None;
            ask_for_tracking(backend, &self.login, false);
        }
    }
}

async fn rename(backend: Backend, login: &Login) -> (Backend, Result<Vec<u8>, ConnectFailure>) {
    let Backend { stream, capabilities, .. } = backend;
    let mut packets = PacketStream::new(stream);
    let answer = answering::change_user(&mut packets, login, capabilities).await;
    let (stream, carry) = packets.into_parts();
    (Backend { stream, carry, ..backend }, answer)
}
