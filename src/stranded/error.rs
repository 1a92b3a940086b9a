//! Why what is stranded could not be read.

use crate::topology::Term;

/// Why what is stranded could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// The log that has them was purged.
    #[error("the binary log that has them is gone ({0})")]
    Purged(String),
    /// The account may not read the binary log, or its position.
    #[error("{0}")]
    Denied(String),
    /// A server answered with another error.
    #[error("error {code}: {message}")]
    Server {
        /// The server's code.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// A connection broke.
    #[error("{0}")]
    Broken(String),
    /// A server answered something that Tandem does not understand.
    #[error("{0}")]
    Unintelligible(String),
    /// The log ended before all of them had been seen.
    #[error("the binary log has only {found} of {expected}")]
    Incomplete {
        /// How many were found.
        found: u64,
        /// How many there are.
        expected: u64,
    },
}

/// Why what is stranded could not be undone. Whatever it is, no row was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscardError {
    /// It could not be read, or a server was lost on the way.
    #[error(transparent)]
    Inspect(InspectError),
    /// The account may not see or write what it is about.
    #[error("{0}")]
    Denied(String),
    /// It cannot be undone, for this reason.
    #[error("{0}")]
    Impossible(String),
    /// Somebody was made active since: what is stranded may be what clients have written after that.
    #[error("term {term} made {active} active")]
    Superseded {
        /// The term.
        term: Term,
        /// Whom it makes active, by name.
        active: String,
    },
}

impl From<InspectError> for DiscardError {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Denied(message) => Self::Denied(message),
            other => Self::Inspect(other),
        }
    }
}

/// `ER_MASTER_FATAL_ERROR_READING_BINLOG`: of the reasons that it covers, a purged log is one.
const FATAL_READING_LOG: u16 = 1236;

impl From<mysql_async::Error> for InspectError {
    fn from(error: mysql_async::Error) -> Self {
        use mysql_async::Error as E;
        match error {
            E::Server(error) => {
                let message = error.message;
                match error.code {
                    // MySQL says "purged required binary logs"; MariaDB "the master has purged", "not in
                    // the master's binlog" or "Could not find GTID state requested by slave in any
                    // binlog files".
                    FATAL_READING_LOG
                        if message.contains("purged")
                            || message.contains("not in the master's binlog")
                            || message.contains("Could not find GTID state") =>
                    {
                        Self::Purged(message)
                    }
                    1044 | 1045 | 1142 | 1143 | 1227 => Self::Denied(message),
                    code => Self::Server { code, message },
                }
            }
            E::Io(error) => Self::Broken(error.to_string()),
            E::Driver(mysql_async::DriverError::ConnectionClosed) => {
                Self::Broken("the server closed the connection".to_owned())
            }
            other => Self::Unintelligible(other.to_string()),
        }
    }
}
