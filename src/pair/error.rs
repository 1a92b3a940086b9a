//! Every way in which making a pair can fail.

use std::time::Duration;

use super::Replication;
use super::dialect::VersionError;
use crate::topology::ServerAddress;

/// Why the servers are no pair.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// One server cannot be the slave of itself.
    #[error("a pair needs at least two masters, and {0} was given")]
    TooFew(usize),
    /// A slave reaches its master over TCP only.
    #[error("{member} must have a TCP address for the other masters, and has {address}")]
    NotTcp {
        /// The member's name.
        member: String,
        /// Its address.
        address: ServerAddress,
    },
    /// Nobody answers there, or the login is refused.
    #[error("cannot log in to {member} at {address}: {reason}")]
    Connect {
        /// The member's name.
        member: String,
        /// Where it was looked for.
        address: ServerAddress,
        /// The server's or the operating system's words.
        reason: String,
    },
    /// A member is of a version that Tandem does not speak.
    #[error("{member}: {source}")]
    Version {
        /// The member's name.
        member: String,
        /// What is wrong with it.
        source: VersionError,
    },
    /// A member refused a statement, or died over it.
    #[error("{member} could not {doing}: {reason}")]
    Refused {
        /// The member's name.
        member: String,
        /// What was asked of it, without the passwords.
        doing: &'static str,
        /// The server's words.
        reason: String,
    },
    /// A member does not replicate, or not yet.
    #[error("{member} did not replicate within {within:?}; it says: {said}")]
    NotReplicating {
        /// The member's name.
        member: String,
        /// How long was waited.
        within: Duration,
        /// What was seen last.
        said: LastSaid,
    },
}

/// The last word of a member that does not replicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastSaid {
    /// Its replication status.
    Status(Box<Replication>),
    /// It follows nobody.
    NoSource,
    /// It did not answer any more.
    Nothing,
}

impl std::fmt::Display for LastSaid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(replication) => replication.fmt(f),
            Self::NoSource => f.write_str("that it follows nobody"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}
