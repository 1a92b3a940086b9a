//! What a client hears of its login, and what is kept of it.

use super::credential::Credential;
use super::end::SessionEnd;
use super::migration::{Refusal, words_of};
use super::relay::Relay;
use crate::wire::{Capabilities, ErrorPacket, Header, Malformed, put_packet, strip_session_state};

/// Where a client stands at the end of its half of a login.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// The sequence number of the next packet.
    pub(super) seq: u8,
    /// It waits to be told that it was recognised, before the OK.
    pub(super) recognised: bool,
}

/// `caching_sha2_password`: the token was enough.
const RECOGNISED: &[u8] = &[1, 3];

impl Relay {
    /// Tells the client what became of its login; a refusal ends the session.
    pub(super) async fn answer_login(
        &mut self,
        answer: Result<Vec<u8>, Refusal>,
        turn: Turn,
    ) -> Result<(), SessionEnd> {
        match answer {
            Ok(ok) => self.welcome(ok, turn).await,
            Err(Refusal::Server(packet)) => {
                self.note_refusal(&packet);
                self.shared.metrics().login_failures.inc();
                self.tell_turn(&packet, turn).await?;
                Err(SessionEnd::LoginRefused(words_of(&packet)))
            }
            Err(Refusal::Tandem(error)) => {
                self.shared.metrics().login_failures.inc();
                self.tell_turn(&error.to_payload(), turn).await?;
                Err(SessionEnd::LoginRefused(error.to_string()))
            }
            Err(Refusal::Ended(end)) => Err(end),
        }
    }

    async fn welcome(&mut self, ok: Vec<u8>, turn: Turn) -> Result<(), SessionEnd> {
        self.current.held = None;
        let login = &self.login;
        // Without one it came in because somebody vouched for it.
        if self.backend.is_some() {
            let voucher = self.shared.voucher(login, self.entry.client());
            self.shared.registry.accepted(&self.entry, voucher);
            if let Credential::Password(password) = &login.credential {
                self.shared.passwords().remember(&login.user, password);
            }
            if self.reader.is_none() {
                self.shared.standby().note(login);
            }
        }
        let mut packets = Vec::with_capacity(64);
        let mut seq = turn.seq;
        if turn.recognised {
            seq = put_packet(&mut packets, seq, RECOGNISED);
        }
        let ok = self
            .without_foreign_state(ok)
            .and_then(|ok| self.with_own_proof(&ok))
            .map_err(|error| SessionEnd::ServerMalformed(error.to_string()))?;
        put_packet(&mut packets, seq, &ok);
        self.tell_client(&packets).await
    }

    /// The OK without the session state that the client did not ask for.
    fn without_foreign_state(&self, ok: Vec<u8>) -> Result<Vec<u8>, Malformed> {
        if self.login.capabilities.has(Capabilities::SESSION_TRACK) {
            return Ok(ok);
        }
        let mut packet = Vec::with_capacity(Header::LEN + ok.len());
        put_packet(&mut packet, 0, &ok);
        let len = strip_session_state(&mut packet)?;
        Ok(packet[Header::LEN..len].to_vec())
    }

    /// Tells the client something that ends its login.
    pub(super) async fn tell_turn(&mut self, payload: &[u8], turn: Turn) -> Result<(), SessionEnd> {
        let mut packet = Vec::with_capacity(Header::LEN + payload.len());
        put_packet(&mut packet, turn.seq, payload);
        self.tell_client(&packet).await
    }

    /// A master has refused a login: if it was for the password, that is forgotten.
    pub(super) fn note_refusal(&self, packet: &[u8]) {
        const ACCESS_DENIED: u16 = 1045;
        if let Credential::Password(password) = &self.login.credential
            && ErrorPacket::code_of(packet) == Some(ACCESS_DENIED)
        {
            self.shared.passwords().forget(&self.login.user, password);
        }
    }
}
