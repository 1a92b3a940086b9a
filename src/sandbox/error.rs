//! Every way in which a sandbox can fail.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::BinariesError;
use crate::pair::PairError;

/// Why a sandbox does not come up, or one of its servers does not do what it is told.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// There is no server to start.
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    /// The operating system refused something.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// Its words.
        source: io::Error,
    },
    /// Unix sockets have short names.
    #[error("{0} is too long for a Unix socket (107 bytes); use a directory with a shorter path")]
    PathTooLong(PathBuf),
    /// The program could not make its system tables.
    #[error("the server could not initialise its data directory; it said:\n{log}")]
    Initialise {
        /// The end of its log.
        log: String,
    },
    /// A server ended instead of answering.
    #[error("{server} ended while it was starting ({status}); it said:\n{log}")]
    Ended {
        /// Its name.
        server: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// A server did not answer.
    #[error("{server} did not answer within {within:?}; it said:\n{log}")]
    NotReady {
        /// Its name.
        server: String,
        /// How long was waited.
        within: Duration,
        /// The end of its log.
        log: String,
    },
    /// A server did not end when asked to.
    #[error("{server} did not shut down within {within:?}; it said:\n{log}")]
    NotStopped {
        /// Its name.
        server: String,
        /// How long was waited.
        within: Duration,
        /// The end of its log.
        log: String,
    },
    /// There is no process to act on.
    #[error("{0} is not running")]
    NotRunning(String),
    /// There is nothing in front of the server that could drop packets.
    #[error("{0} has no forwarder in front of it; start the sandbox with `forwarders: true`")]
    NoForwarder(String),
    /// A statement of the sandbox itself failed.
    #[error("{server} refused {doing}: {reason}")]
    Refused {
        /// Its name.
        server: String,
        /// What was asked.
        doing: &'static str,
        /// The server's words.
        reason: String,
    },
    /// The servers did not become a pair.
    #[error(transparent)]
    Pair(#[from] PairError),
}

impl SandboxError {
    /// For `map_err`: what was being done when the operating system refused.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
