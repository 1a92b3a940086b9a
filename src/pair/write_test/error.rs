//! Every way in which the write test ends without a proof.

use std::time::Duration;

use crate::monitor::ConnectionError;
use crate::topology::KeyClass;

/// Why nothing was proven, or what was proven to be wrong.
#[derive(Debug, thiserror::Error)]
pub enum WriteTestError {
    /// With one master there is nothing to prove.
    #[error("the write test needs at least two masters, and {0} is configured")]
    TooFew(usize),
    /// A server that cannot be asked proves nothing.
    #[error("cannot log in to {server}: {reason}")]
    Connect {
        /// Its name.
        server: String,
        /// Whose failure it is.
        reason: ConnectionError,
    },
    /// The servers are of both families.
    #[error("{0} and {1} are not of one family: one is MySQL and the other MariaDB")]
    Families(String, String),
    /// Two masters hand out the same numbers: no insert is needed to see that.
    #[error(
        "{first} and {second} hand out the same numbers ({} and {}): auto_increment_increment has to be \
         equal on all masters and auto_increment_offset different on each; nothing was written", .classes.0, .classes.1
    )]
    SameNumbers {
        /// A master.
        first: String,
        /// The other.
        second: String,
        /// What each of them hands out.
        classes: (KeyClass, KeyClass),
    },
    /// Somebody is moving the writers.
    #[error("a switchover is going on ({0} is claimed for it); nothing was written")]
    Switching(String),
    /// A server refused a statement, or died over it.
    #[error("{server} could not {doing}: {reason}{}", mending(.mend.as_deref()))]
    Refused {
        /// Its name.
        server: String,
        /// What was asked of it.
        doing: &'static str,
        /// The server's words.
        reason: ConnectionError,
        /// The statement that gives the account what it lacks, if that is why.
        mend: Option<String>,
    },
    /// Somebody else is making this server active, or discarding transactions there.
    #[error("another Tandem is at work on {0}")]
    Busy(String),
    /// Nothing can be waited for without GTIDs.
    #[error("{0} numbers its transactions with no GTID (gtid_mode): there is nothing to wait for")]
    NoGtids(String),
    /// A direction does not work, or not in time.
    #[error("{to} had not executed after {within:?} what {from} wrote; it says: {said}")]
    NotReceived {
        /// Where it was written.
        from: String,
        /// Where it did not arrive.
        to: String,
        /// How long was waited.
        within: Duration,
        /// How its replication does.
        said: String,
    },
    /// The next free number was another.
    #[error(
        "{server} took the key {got} where {expected} was the next free number of its class ({class})"
    )]
    Key {
        /// The master.
        server: String,
        /// What it took.
        got: u64,
        /// What it should have taken.
        expected: u64,
        /// What it hands out.
        class: KeyClass,
    },
    /// A server has other rows than were written.
    #[error("{server} has the rows {found} where {written} were written")]
    Rows {
        /// The server.
        server: String,
        /// What it has: keys, and who wrote them.
        found: String,
        /// What was written.
        written: String,
    },
    /// The table is still there.
    #[error("the scratch table {table} is still on {server}; drop it: DROP TABLE {table}")]
    NotDropped {
        /// Its name.
        table: String,
        /// The server.
        server: String,
    },
    /// Nothing shows that a server is closed again.
    #[error(
        "{server} may be left with super_read_only=0 (read_only is on, so that applications cannot \
         write): {reason}; mend it with: SET GLOBAL super_read_only=1"
    )]
    LeftOpen {
        /// The server.
        server: String,
        /// Why.
        reason: ConnectionError,
    },
}

fn mending(mend: Option<&str>) -> String {
    mend.map_or_else(String::new, |mend| format!("; mend it with: {mend}"))
}
