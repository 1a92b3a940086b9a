//! Getting a session to the active master, whatever that is now.
//!
//! Failover, a first login, a master that closed an idle connection: all are the same movement. Let
//! go of the server, wait until somebody is active, log in there as the client did, make the session
//! what it was, go on. It happens between two statements only, so that nobody sees half of it.

use std::future::poll_fn;
use std::time::Duration;

use super::ahead::Ahead;
use super::attributes;
use super::backend::{Accepted, Backend, ConnectFailure};
use super::client_error::ClientError;
use super::end::SessionEnd;
use super::holding::{Stop, Unheeded};
use super::login::Login;
use super::reading::Destination;
use super::registry::Activity;
use super::relay::Relay;
use super::state::SessionState;
use super::tracking::{Tracking, ask_for_tracking};
use crate::routing::Writer;
use crate::topology::Server;
use crate::wire::{ErrorPacket, OkPacket, PacketStream, StatusFlags, StreamError, put_packet};

/// Between two attempts to log in to a master that is said to be active and does not let us in.
const RETRY: Duration = Duration::from_millis(50);

impl Relay {
    /// The first login: the master's OK, or its refusal, word for word.
    pub(super) async fn log_in(&mut self) -> Result<Vec<u8>, Refusal> {
        loop {
            let table = self.shared.table();
            self.take_in(&table);
            let Destination::There(active) = self.destination(&table) else {
                if self.is_vouched_for() {
                    let status = StatusFlags::AUTOCOMMIT;
                    self.state = SessionState::new(self.login.schema.clone(), status);
                    return Ok(OkPacket::plain(status));
                }
                self.held_or_refused().await?;
                continue;
            };
            let server = table.servers.get(active);
            match self.connect(server).await? {
                Ok(Accepted { mut backend, ok, status }) => {
                    self.tracking = None;
                    ask_for_tracking(&mut backend, &self.login, false);
                    self.state = SessionState::new(self.login.schema.clone(), status);
                    self.entry.set_place(Some((active, backend.thread_id)));
                    self.backend = Some(backend);
                    self.current.held = None;
                    return Ok(ok);
                }
                Err(ConnectFailure::Refused(packet))
                    if !is_overloaded(&packet) || is_users_limit(&packet) =>
                {
                    return Err(Refusal::Server(packet));
                }
                Err(ConnectFailure::Unsupported(reason)) => {
                    let user = String::from_utf8_lossy(&self.login.user).into_owned();
                    return Err(Refusal::Tandem(ClientError::CannotLogIn { user, reason }));
                }
                Err(ConnectFailure::NotTrusted(reason)) => {
                    let server = server.name.clone();
                    return Err(Refusal::Tandem(ClientError::NotTrusted { server, reason }));
                }
                Err(failure) => {
                    let full = match &failure {
                        ConnectFailure::Refused(packet) => Some(packet.clone()),
                        _ => None,
                    };
                    if let Some(refused) = self.after_failed_connect(server, failure).await? {
                        // A client without a session knows what a server means that has no room.
                        return Err(full.map_or(Refusal::Tandem(refused), Refusal::Server));
                    }
                }
            }
        }
    }

    /// Whether the client may come in though no master can be asked now, because one has accepted the
    /// same login from the same host, and that session lives: it comes to KILL a statement that waits.
    /// Anything else that it wants waits as well, until a master has let it in.
    fn is_vouched_for(&self) -> bool {
        self.shared
            .voucher(&self.login, self.entry.client())
            .is_some_and(|voucher| self.shared.registry.vouches_for(&voucher))
    }

    async fn held_or_refused(&mut self) -> Result<(), Refusal> {
        self.wait_for_routes().await?.map_err(Refusal::Tandem)
    }

    /// Sees to it that the session is on the active master, or where what it has open is. It is
    /// nowhere afterwards if it had to leave a server and a transaction with it.
    ///
    /// The outer error ends the session; the inner one answers the command.
    pub(super) async fn reach_active(&mut self) -> Result<Result<(), ClientError>, SessionEnd> {
        let mut ahead = Ahead::default();
        let reached = self.approach_active(&mut ahead).await;
        ahead.leave().await;
        reached
    }

    async fn approach_active(
        &mut self,
        ahead: &mut Ahead,
    ) -> Result<Result<(), ClientError>, SessionEnd> {
        loop {
            self.entry.set_running(); // before the table is looked at
            let table = self.shared.table();
            self.take_in(&table);
            let here = self.backend.as_ref().map(|backend| backend.server);
            let active = match self.destination(&table) {
                Destination::Here => break,
                Destination::There(active) => active,
                // What comes after what is open waits.
                Destination::Nobody if self.may_finish(&table) => return Ok(Ok(())),
                Destination::Nobody => {
                    if let Err(error) = self.log_in_ahead(ahead, &table).await? {
                        return Ok(Err(error));
                    }
                    if let Err(error) = self.wait_for_routes().await? {
                        return Ok(Err(error));
                    }
                    continue;
                }
            };
            self.rest(Activity::Held);
            if here.is_some() {
                self.leave_server().await?;
                if self.lost_transaction.is_some() {
                    return Ok(Ok(())); // the client has to be told first
                }
            }
            if self.adopt(ahead, active).await {
                continue;
            }
            // Whoever was active when the login began may not be when it ends: the table is looked
            // at again in either case.
            if let Err(Some(error)) = self.move_to(table.servers.get(active)).await? {
                return Ok(Err(error));
            }
        }
        self.current.held = None;
        Ok(Ok(()))
    }

    /// Logs in to `server` and restores the session there. The inner error says why that cannot
    /// work any more; without one it is to be tried again.
    async fn move_to(
        &mut self,
        server: &Server,
    ) -> Result<Result<(), Option<ClientError>>, SessionEnd> {
        self.login.schema = self.state.schema.clone();
        let mut accepted = match self.connect(server).await? {
            Ok(accepted) => accepted,
            Err(ConnectFailure::Refused(packet)) if !is_overloaded(&packet) => {
                self.note_refusal(&packet);
                return self.not_restored(server, words_of(&packet)).await.map(Err);
            }
            Err(ConnectFailure::Unsupported(reason) | ConnectFailure::NotTrusted(reason)) => {
                return self.not_restored(server, reason).await.map(Err);
            }
            Err(failure) => {
                return self.after_failed_connect(server, failure).await.map(
                    |waited| match waited {
                        Some(error) => Err(Some(error)),
                        None => Err(None),
                    },
                );
            }
        };
        self.end_if_closed_on_purpose(&mut accepted.backend).await?;
        let Accepted { mut backend, .. } = accepted;
        match self.restore(&mut backend).await {
            Ok(()) => {
                self.shared.metrics().migrations_done.inc();
                tracing::debug!(session = self.entry.id, server = server.name, "session restored");
                self.entry.set_place(Some((server.id, backend.thread_id)));
                self.backend = Some(backend);
                Ok(Ok(()))
            }
            Err(NotRestored::Refused(reason)) => self.not_restored(server, reason).await.map(Err),
            Err(NotRestored::Broken(error)) => {
                let failure = ConnectFailure::from(error);
                self.after_failed_connect(server, failure).await.map(Err)
            }
        }
    }

    /// Logs in to a server, for as long as it is the active one or to be it, and the client is there.
    pub(super) async fn connect(
        &mut self,
        server: &Server,
    ) -> Result<Result<Accepted, ConnectFailure>, SessionEnd> {
        self.logins += 1;
        let invitation = self.take_invitation(server.id);
        let (shared, login, number) = (self.shared.clone(), self.login_to_send(), self.logins);
        let connecting = async {
            if let Some(invitation) = invitation
                && let Some(accepted) = invitation.accepted().await
            {
                return Ok(accepted);
            }
            // The permit can only fail when the semaphore is closed, which nobody does.
            let _permit = shared.logins(server.id).acquire().await.ok();
            let timeout = shared.connect_timeout;
            Backend::connect(server, &login, number, &shared.master_tls, timeout).await
        };
        let mut routes = shared.routes();
        let connected = tokio::select! {
            connected = connecting => connected,
            _ = routes.wait_for(|table| !table.leads_to(server.id)) => {
                let detail = "another master is active now".to_owned();
                Err(ConnectFailure::Replaced(detail))
            }
            stop = poll_fn(|cx| self.poll_stop(cx)) => match stop {
                Stop::End(end) => return Err(end),
                Stop::Interrupted => Err(ConnectFailure::Interrupted),
            },
        };
        Ok(connected.map(|mut accepted| {
            accepted.backend.seat = self.take_seat(server.id);
            accepted
        }))
    }

    /// The client's login, with where it came from.
    pub(super) fn login_to_send(&self) -> Login {
        let (own, entry) = (&self.login.attributes, &self.entry);
        let attributes = attributes::towards_server(own, entry.client(), entry.id);
        Login { attributes, ..self.login.clone() }
    }

    /// The active master cannot be reached, or has no room: wait for a new table or a little while.
    /// An error says that the statement has waited long enough.
    async fn after_failed_connect(
        &mut self,
        server: &Server,
        failure: ConnectFailure,
    ) -> Result<Option<ClientError>, SessionEnd> {
        let reason = match failure {
            ConnectFailure::Unreachable(kind, detail) => {
                let reason = format!("it {kind} ({detail})");
                self.shared.report(server.id, kind, detail);
                reason
            }
            ConnectFailure::Refused(packet) => words_of(&packet),
            ConnectFailure::Unsupported(reason)
            | ConnectFailure::NotTrusted(reason)
            | ConnectFailure::Replaced(reason) => reason,
            ConnectFailure::Interrupted => return Ok(Some(ClientError::Interrupted)),
        };
        self.suspect(server.id);
        let waited = self.wait(Some(RETRY)).await?;
        Ok(waited.err().map(|unheeded| match unheeded {
            Unheeded::Expired => ClientError::NotAccepted { server: server.name.clone(), reason },
            Unheeded::Interrupted => ClientError::Interrupted,
        }))
    }

    /// Makes a fresh login what the session is, and waits until the server has agreed to all of it.
    pub(super) async fn restore(&self, backend: &mut Backend) -> Result<(), NotRestored> {
        let statements = self.state.restoring_sql();
        let mut packets = Vec::new();
        for sql in &statements {
            put_packet(&mut packets, 0, &self.login.query(sql));
        }
        // What the client asked to be told can only be asked for before Tandem's own wishes.
        let mut expected = statements.len();
        if self.tracking.is_some() || !self.login.tracks() {
            if let Some(sql) = self.tracking.as_ref().and_then(Tracking::beforehand) {
                put_packet(&mut packets, 0, &self.login.query(sql));
                expected += 1;
            }
            put_packet(&mut packets, 0, &self.login.track());
            expected += 1;
        } else {
            ask_for_tracking(backend, &self.login, false);
        }
        let exchange = async {
            let carry = std::mem::take(&mut backend.carry);
            let mut stream = PacketStream::resume(&mut backend.stream, carry);
            stream.write_raw(&packets).await?;
            for _ in 0..expected {
                let answer = stream.read().await?;
                if answer.first() == Some(&0xFF) {
                    return Err(NotRestored::Refused(words_of(&answer)));
                }
            }
            Ok(())
        };
        match tokio::time::timeout(self.shared.connect_timeout, exchange).await {
            Ok(restored) => restored,
            Err(_) => Err(NotRestored::Refused("no answer while restoring the session".into())),
        }
    }

    /// The session cannot be what it was: with an error for the command that waits, and an end.
    async fn not_restored(
        &mut self,
        server: &Server,
        reason: String,
    ) -> Result<Option<ClientError>, SessionEnd> {
        self.shared.metrics().migrations_failed.inc();
        tracing::warn!(
            session = self.entry.id,
            server = server.name,
            reason,
            "session not restored"
        );
        let error =
            ClientError::NotRestored { server: server.name.clone(), reason: reason.clone() };
        let packet = self.as_answer(&error.to_payload());
        self.tell_client(&packet).await?;
        Err(SessionEnd::NotRestored(reason))
    }

    /// A new routing table while nothing is being carried.
    pub(super) async fn follow_routes(&mut self) -> Result<(), SessionEnd> {
        let table = self.shared.table();
        self.take_in(&table);
        let Some(server) = self.backend.as_ref().map(|backend| backend.server) else {
            return Ok(());
        };
        match &table.writer {
            Writer::Active(active) if *active != server => {
                self.release_backend().await;
                self.lost(server)?;
                self.accept_invitation(*active).await;
                Ok(())
            }
            Writer::Held { .. } if self.is_sent_away(&table, server) => {
                self.release_backend().await;
                self.lost(server)
            }
            Writer::Held { .. } if table.draining == Some(server) && self.state.is_uncertain() => {
                self.resolve_doubt().await
            }
            // While nobody is active, whoever still has its server keeps it: it may come back.
            _ => Ok(()),
        }
    }

    /// Another master is active: let go of this one, and note what goes with it.
    async fn leave_server(&mut self) -> Result<(), SessionEnd> {
        let Some(server) = self.backend.as_ref().map(|backend| backend.server) else {
            return Ok(());
        };
        self.release_backend().await;
        let Err(end) = self.lost(server) else { return Ok(()) };
        let from = self.shared.table().servers.name(server).to_owned();
        let error = match end {
            SessionEnd::StateLost(blocker) => ClientError::StateLost { from, blocker },
            _ => ClientError::OutcomeUnknown { from },
        };
        let packet = self.as_answer(&error.to_payload());
        self.tell_client(&packet).await?;
        Err(end)
    }

    /// Says goodbye to the server, so that it does not count the connection as broken off. It need
    /// not hear it, and must not where it would take it for the end of something else.
    pub(super) async fn release_backend(&mut self) {
        self.entry.set_place(None);
        if let Some(backend) = self.backend.take()
            && !self.half_sent
        {
            backend.leave().await;
        }
    }
}

/// Why a login came to nothing.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The master's ERR packet.
    Server(Vec<u8>),
    /// Tandem's own word.
    Tandem(ClientError),
    /// The session is over anyway.
    Ended(SessionEnd),
}

impl From<SessionEnd> for Refusal {
    fn from(end: SessionEnd) -> Self {
        Self::Ended(end)
    }
}

/// Why a session could not be made what it was.
pub(super) enum NotRestored {
    /// The server said no to a part of it.
    Refused(String),
    /// The connection broke.
    Broken(StreamError),
}

impl From<StreamError> for NotRestored {
    fn from(error: StreamError) -> Self {
        Self::Broken(error)
    }
}

/// Whether a server has no room now: too many connections, in all or of this user; going down,
/// offline, or tired of this host.
pub(super) fn is_overloaded(packet: &[u8]) -> bool {
    matches!(ErrorPacket::code_of(packet), Some(1040 | 1053 | 1129 | 1203 | 1226 | 3032))
}

/// Whether it is the user who has too many connections. Its next one is refused as by the server;
/// one that it had, and that is moved, waits for those before it to be gone.
fn is_users_limit(packet: &[u8]) -> bool {
    matches!(ErrorPacket::code_of(packet), Some(1203 | 1226))
}

/// A server's refusal, in its own words.
pub(super) fn words_of(packet: &[u8]) -> String {
    match ErrorPacket::parse(packet) {
        Ok(error) => format!("error {}: {}", error.code, error.message),
        Err(malformed) => malformed.to_string(),
    }
}
