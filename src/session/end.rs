//! How sessions end.

use super::state::MigrationBlocker;
use crate::wire::StreamError;

/// Why a session ended: who ended it, and what for. One label everywhere: in the log, in metrics,
/// on the console.
#[derive(Debug)]
pub enum SessionEnd {
    /// The client said COM_QUIT.
    Quit,
    /// The client closed its connection, or it broke.
    ClientGone(StreamError),
    /// The client sent what no client may send.
    ClientMalformed(String),
    /// The client asked for TLS, and its TLS handshake failed.
    TlsFailed(String),
    /// The client did not finish its handshake within `limits.connect_timeout`.
    HandshakeTimeout,
    /// `limits.max_connections` was reached, and of those that had not logged in the client had been
    /// there for longest.
    PushedOut,
    /// The login was refused, by a master or by Tandem.
    LoginRefused(String),
    /// Nobody was active for as long as a client may be held, before the login.
    NobodyActive(String),
    /// The master closed the session while it was up: KILL, a timeout of its own.
    ServerClosed,
    /// The master sent what no server may send.
    ServerMalformed(String),
    /// A write or a commit got no answer.
    OutcomeUnknown,
    /// A result broke off inside a packet.
    CutOff,
    /// The session had something that cannot be moved.
    StateLost(MigrationBlocker),
    /// The session could not be restored on another master.
    NotRestored(String),
    /// An operator ended it.
    Killed,
    /// Tandem is shutting down.
    Shutdown,
}

impl SessionEnd {
    /// A constant name, for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::ClientGone(_) => "client_gone",
            Self::ClientMalformed(_) => "client_malformed",
            Self::TlsFailed(_) => "tls_failed",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::PushedOut => "pushed_out",
            Self::LoginRefused(_) => "login_refused",
            Self::NobodyActive(_) => "nobody_active",
            Self::ServerClosed => "server_closed",
            Self::ServerMalformed(_) => "server_malformed",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::CutOff => "cut_off",
            Self::StateLost(_) => "state_lost",
            Self::NotRestored(_) => "not_restored",
            Self::Killed => "killed",
            Self::Shutdown => "shutdown",
        }
    }

    /// What there is to say beyond the label.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::ClientGone(error) => error.to_string(),
            Self::ClientMalformed(text)
            | Self::TlsFailed(text)
            | Self::LoginRefused(text)
            | Self::NobodyActive(text)
            | Self::ServerMalformed(text)
            | Self::NotRestored(text) => text.clone(),
            Self::StateLost(blocker) => blocker.to_string(),
            _ => String::new(),
        }
    }

    /// Whether an operator should hear of it without asking.
    #[must_use]
    pub fn is_noteworthy(&self) -> bool {
        !matches!(
            self,
            Self::Quit
                | Self::ClientGone(_)
                | Self::PushedOut
                | Self::ServerClosed
                | Self::Killed
                | Self::Shutdown
        )
    }
}
