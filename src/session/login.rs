//! What a client logged in with, kept so that the session can log in again elsewhere.

use super::credential::Credential;
use crate::wire::{Capabilities, Compression};

/// Everything that a login to a master is made of.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// Who.
    pub(super) user: Vec<u8>,
    /// What proves it.
    pub(super) credential: Credential,
    /// What client and Tandem agreed on.
    pub(super) capabilities: Capabilities,
    /// The collation the session started with; COM_RESET_CONNECTION goes back to it.
    pub(super) collation: u16,
    /// The longest packet the client takes.
    pub(super) max_packet: u32,
    /// The schema to start in.
    pub(super) schema: Option<Vec<u8>>,
    /// The connection attributes, as they came.
    pub(super) attributes: Vec<u8>,
    /// How connections to masters begin.
    pub(super) towards: Towards,
}

/// How a session's connections to masters begin, as configured.
#[derive(Clone, Debug, Default)]
pub(super) struct Towards {
    /// What a master is told before the handshake: where the client is, if it is to know.
    pub(super) preface: Vec<u8>,
    /// What to ask for.
    pub(super) compression: Option<Compression>,
    /// Whether sessions are READ ONLY.
    pub(super) read_only: bool,
}

impl Login {
    /// The session begins anew on the same connection. Servers look at `IGNORE_SPACE` in the first
    /// login only, where it becomes a part of `sql_mode` (sql_acl.cc,
    /// `parse_client_handshake_packet`); a further login must not bring it back.
    pub(super) fn forget_ignore_space(&mut self) {
        self.capabilities = self.capabilities.without(Capabilities::IGNORE_SPACE);
    }
}
