//! Everything that Tandem itself may say to a client: the one place that decides it.
//!
//! The codes are chosen by what drivers and frameworks do with them (`docs/errors.md`): 1213/40001
//! only where the transaction is certainly rolled back, because every framework retries it; 1927
//! with SQLSTATE 08S01 where a connection, or knowledge of an outcome, is lost, because every pool
//! discards such a connection and none retries the statement by itself.

use std::time::Duration;

use super::state::MigrationBlocker;
use crate::topology::Flavor;
use crate::wire::{Command, ErrorPacket};

/// The C client library keeps a message in 512 bytes, the last of them a zero (`MYSQL_ERRMSG_SIZE` of
/// mysql_com.h), and cuts off what is longer.
const LONGEST_MESSAGE: usize = 511;
/// So much of the end of a longer message is kept, in bytes.
const LAST_WORDS: usize = 180;
/// Stands for the rest.
const LEFT_OUT: &str = " … ";

/// An error of Tandem's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClientError {
    /// What came is no handshake response.
    #[error("Bad handshake: {0}")]
    BadHandshake(String),
    /// More clients than `limits.max_connections`.
    #[error("Too many connections: Tandem serves at most {0} at once (limits.max_connections)")]
    TooManyConnections(usize),
    /// It came without TLS.
    #[error(
        "Connections using insecure transport are prohibited: Tandem is configured to take clients \
         over TLS only ([tls] of proxy.toml)"
    )]
    InsecureTransport,
    /// A master's connection cannot be encrypted, or the master not be trusted.
    #[error("No connection to {server}: {reason}")]
    NotTrusted {
        /// Its name.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// A client without plugins, and an account that wants another one than the client has.
    #[error(
        "Client does not support authentication protocol requested by server; consider upgrading \
         {} client",
        family(*.0)
    )]
    OldClient(Flavor),
    /// The account cannot be used through Tandem.
    #[error("Access denied for user '{user}': {reason}")]
    CannotLogIn {
        /// Who.
        user: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Nobody became active in time.
    #[error("No active master for {}: {reason}", seconds(.waited))]
    HoldExpired {
        /// How long the statement waited.
        waited: Duration,
        /// The routing table's reason.
        reason: String,
    },
    /// Nobody could serve reads in time.
    #[error("No server for reads for {}: {reason}", seconds(.waited))]
    NobodyServesReads {
        /// How long the statement waited.
        waited: Duration,
        /// Every server, and why it does not.
        reason: String,
    },
    /// A session of the reads listener wants to write.
    #[error(
        "Cannot execute statement in a READ ONLY transaction: sessions of the reads listener stay \
         READ ONLY"
    )]
    StaysReadOnly,
    /// The active master answers, but does not let the session in.
    #[error("The active master {server} does not accept the session: {reason}")]
    NotAccepted {
        /// Its name.
        server: String,
        /// Its words.
        reason: String,
    },
    /// The transaction was rolled back when its master went.
    #[error("Transaction rolled back by failover from {from}; restart it")]
    RolledBack {
        /// The master that went.
        from: String,
    },
    /// A statement that was too large to be kept did not reach the server whole.
    #[error(
        "Statement not executed: {from} went while it was being sent, and it is too large for the \
         proxy to keep; run it again"
    )]
    NotExecuted {
        /// The master that went.
        from: String,
    },
    /// Whether a write or a commit was carried out cannot be known.
    #[error(
        "Outcome unknown: {from} went before it answered; the statement may or may not have been \
         executed, and the proxy does not run it again"
    )]
    OutcomeUnknown {
        /// The master that went.
        from: String,
    },
    /// A result broke off.
    #[error("Result broken off: {from} went while it was sending rows")]
    CutOff {
        /// The master that went.
        from: String,
    },
    /// The session had something that cannot be moved.
    #[error(
        "Connection was lost in failover from {from}: {blocker} cannot be moved to another server"
    )]
    StateLost {
        /// The master that went.
        from: String,
        /// What it was.
        blocker: MigrationBlocker,
    },
    /// Restoring the session failed.
    #[error(
        "Connection was lost in failover: the session could not be restored on {server}: {reason}"
    )]
    NotRestored {
        /// The new master.
        server: String,
        /// Its words.
        reason: String,
    },
    /// A command that this version does not carry.
    #[error("Tandem does not carry {0} in this version")]
    NotCarried(&'static str),
    /// Somebody ended the statement with KILL QUERY.
    #[error("Query execution was interrupted")]
    Interrupted,
    /// A KILL names a session that is not there, or not logged in.
    #[error("Unknown thread id: {0}")]
    UnknownThread(u32),
    /// A KILL by another user than the session's own, while no server knows of the session.
    #[error(
        "You are not owner of thread {0}: it is on no server now, so that only its own user can end \
         it here; the console can (KILL)"
    )]
    NotOwner(u32),
    /// A prepared statement that the client does not have.
    #[error("Unknown prepared statement handler ({0}) given to {1}")]
    UnknownStatement(u32, &'static str),
}

impl ClientError {
    /// Its code and SQLSTATE.
    pub(super) fn code(&self) -> (u16, [u8; 5]) {
        match self {
            Self::BadHandshake(_) => (1043, *b"08S01"),
            Self::TooManyConnections(_) => (1040, *b"08004"),
            // ER_SECURE_TRANSPORT_REQUIRED
            Self::InsecureTransport => (3159, *b"HY000"),
            Self::OldClient(_) => (1251, *b"08004"),
            Self::CannotLogIn { .. } => (1045, *b"28000"),
            Self::RolledBack { .. } | Self::NotExecuted { .. } => (1213, *b"40001"),
            // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
            Self::StaysReadOnly => (1792, *b"25006"),
            Self::HoldExpired { .. }
            | Self::NobodyServesReads { .. }
            | Self::NotAccepted { .. }
            | Self::NotTrusted { .. }
            | Self::OutcomeUnknown { .. }
            | Self::CutOff { .. }
            | Self::StateLost { .. }
            | Self::NotRestored { .. } => (1927, *b"08S01"),
            Self::NotCarried(_) => (1235, *b"42000"),
            Self::Interrupted => (1317, *b"70100"),
            Self::UnknownThread(_) => (1094, *b"HY000"),
            Self::NotOwner(_) => (1095, *b"HY000"),
            Self::UnknownStatement(..) => (1243, *b"HY000"),
        }
    }

    /// The payload of the ERR packet.
    pub(super) fn to_payload(&self) -> Vec<u8> {
        let (code, state) = self.code();
        let message = fitting(self.to_string()).into();
        ErrorPacket { code, state: Some(state), message }.to_payload()
    }

    /// The payload for a client that was not greeted yet: without an SQLSTATE.
    pub(super) fn to_early_payload(&self) -> Vec<u8> {
        let (code, _) = self.code();
        let message = fitting(self.to_string()).into();
        ErrorPacket { code, state: None, message }.to_payload()
    }

    /// The refusal of a command that is not carried; `None` when it is.
    pub(super) fn refusing(command: Command) -> Option<Self> {
        Some(Self::NotCarried(match command {
            Command::Clone => "COM_CLONE",
            Command::SubscribeGroupReplication => "COM_SUBSCRIBE_GROUP_REPLICATION_STREAM",
            Command::Multi => "COM_MULTI",
            _ => return None,
        }))
    }
}

/// `text`, as far as clients keep it. What is in the way is named first, and what to do about it last:
/// of a longer text the middle is left out.
fn fitting(text: String) -> String {
    if text.len() <= LONGEST_MESSAGE {
        return text;
    }
    let head = text.floor_char_boundary(LONGEST_MESSAGE - LAST_WORDS - LEFT_OUT.len());
    let tail = text.ceil_char_boundary(text.len() - LAST_WORDS);
    format!("{}{LEFT_OUT}{}", &text[..head], &text[tail..])
}

fn family(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MySql => "MySQL",
        Flavor::MariaDb => "MariaDB",
    }
}

fn seconds(duration: &Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_is_never_called_rolled_back() {
        let from = || "m1".to_owned();
        let unknown = ClientError::OutcomeUnknown { from: from() };
        assert_eq!(unknown.code(), (1927, *b"08S01"));
        assert_eq!(ClientError::RolledBack { from: from() }.code(), (1213, *b"40001"));
        let payload = unknown.to_payload();
        let parsed = ErrorPacket::parse(&payload).expect("an ERR packet");
        assert!(parsed.message.starts_with("Outcome unknown: m1"));
    }

    #[test]
    fn a_long_message_keeps_its_beginning_and_its_end() {
        let waited = Duration::from_secs(10);
        for letter in ["a", "é", "€"] {
            for more in 0..4 {
                let states = format!("m1 {}; m2 {}", letter.repeat(400 + more), letter.repeat(400));
                let reason = format!("{states}; waiting for one that can be active");
                let payload = ClientError::HoldExpired { waited, reason }.to_payload();
                let message = ErrorPacket::parse(&payload).expect("an ERR packet").message;
                assert!((500..=LONGEST_MESSAGE).contains(&message.len()), "{}", message.len());
                assert!(message.starts_with("No active master for 10.0 s: m1 "), "{message}");
                assert!(message.ends_with("; waiting for one that can be active"), "{message}");
            }
        }
        let fits = "x".repeat(LONGEST_MESSAGE);
        assert_eq!(fitting(fits.clone()), fits);
    }

    #[test]
    fn no_code_is_one_that_clients_keep_for_themselves() {
        // 2000 to 2999 and 5000 to 5999 are the client library's own (MariaDB, "ERR_Packet").
        for error in [
            ClientError::BadHandshake(String::new()),
            ClientError::TooManyConnections(1),
            ClientError::HoldExpired { waited: Duration::ZERO, reason: String::new() },
            ClientError::NotCarried("COM_CLONE"),
            ClientError::UnknownStatement(1, "EXECUTE"),
        ] {
            let (code, _) = error.code();
            assert!(!(2000..3000).contains(&code) && !(5000..6000).contains(&code));
        }
    }
}
