//! One look at one server.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{GtidSet, ServerId};

/// What one look at one server found.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Who was looked at.
    pub server: ServerId,
    /// When the look ended.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// Who looked.
    pub source: Source,
    /// What was seen.
    pub outcome: Outcome,
}

/// Who made an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A health check of the monitor: counts towards `fall` and `rise`.
    Probe,
    /// A client session that lost its connection, or heard nothing for too long. Never a verdict:
    /// a reason to probe at once.
    Session,
    /// The write of a heartbeat row: counts by itself, beside the probes.
    Writing,
}

/// The result of a look.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The server answered every question.
    Alive(Box<Facts>),
    /// The server answered with an error (too many connections, access denied, ...). It is alive;
    /// nothing else is known of it.
    SaysNo {
        /// The server's error code.
        code: u16,
        /// The server's text.
        message: String,
    },
    /// The server answers, but its storage takes no writes.
    CannotWrite {
        /// The server's words.
        reason: String,
    },
    /// Nothing answered.
    Unreachable {
        /// How it failed.
        kind: UnreachableKind,
        /// The operating system's words.
        detail: String,
    },
}

impl fmt::Display for Outcome {
    /// What can be said after the server's name: "refuses connections (…)".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive(_) => f.write_str("answers"),
            Self::SaysNo { code, message } => write!(f, "answers with error {code}: {message}"),
            Self::CannotWrite { reason } => write!(f, "cannot write: {reason}"),
            Self::Unreachable { kind, detail } => write!(f, "{kind} ({detail})"),
        }
    }
}

/// How a server failed to answer. The strength of the evidence differs: a refusal is the kernel's
/// word that nobody listens, a silence may be the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnreachableKind {
    /// Connection refused, or no such socket: nobody listens.
    Refused,
    /// The connection was reset or closed.
    Reset,
    /// No answer within the timeout.
    Silent,
    /// The network says that there is no way to it.
    NoRoute,
    /// Its name does not resolve.
    Unresolvable,
}

impl fmt::Display for UnreachableKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refuses connections",
            Self::Reset => "closed the connection",
            Self::Silent => "does not answer",
            Self::NoRoute => "cannot be reached over the network",
            Self::Unresolvable => "has an address that does not resolve",
        })
    }
}

/// Which of the two families a server belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// Oracle's MySQL and what keeps close to it (Percona Server).
    MySql,
    /// MariaDB.
    MariaDb,
}

/// What a server says of itself in its greeting, as far as clients must see the same from Tandem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The family.
    pub flavor: Flavor,
    /// The version string of the greeting, byte for byte (`5.5.5-10.11.19-MariaDB`, `9.7.4`).
    pub version: String,
    /// The capability bits it offers: the 32 bits of the protocol in the low half, MariaDB's
    /// extended bits in the high half.
    pub capabilities: u64,
    /// The default collation id of the greeting.
    pub collation: u8,
    /// The authentication plugin of the greeting.
    pub plugin: String,
}

/// The number of a decision about who is active. A key of `tandem.term`; 0 is "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl Term {
    /// The lock (`GET_LOCK`) of whoever writes a term on a server, or does what no new term may come
    /// across.
    pub const LOCK: &str = "tandem.term";
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a server's `tandem.term` table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TermStore {
    /// The highest row: the term, and the name of the master that it makes active. `None` when the
    /// table is empty.
    Present(Option<(Term, String)>),
    /// There is no such table (yet).
    Missing,
    /// The monitor's user may not read it; the server's words.
    Denied(String),
}

/// State of a replication thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadState {
    /// Stopped.
    No,
    /// Trying to reach its source (IO thread only).
    Connecting,
    /// Running.
    Yes,
}

impl fmt::Display for ThreadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "No",
            Self::Connecting => "Connecting",
            Self::Yes => "Yes",
        })
    }
}

/// One replication channel of a server: what it receives from one source, and how far it is.
/// Columns of `SHOW SLAVE STATUS` / `SHOW REPLICA STATUS`, found by name in either spelling.
#[derive(Clone, Debug)]
pub struct Channel {
    /// `Connection_name` or `Channel_Name`; empty for the default one.
    pub name: String,
    /// `Master_Host`.
    pub source_host: String,
    /// `Master_Port`.
    pub source_port: u16,
    /// `Master_Server_Id`; 0 before the first contact.
    pub source_server_id: u32,
    /// `Slave_IO_Running`.
    pub io: ThreadState,
    /// `Last_IO_Errno`, `Last_IO_Error`; code 0 for none.
    pub io_error: (u16, String),
    /// `Slave_SQL_Running`.
    pub sql: ThreadState,
    /// `Last_SQL_Errno`, `Last_SQL_Error`; code 0 for none.
    pub sql_error: (u16, String),
    /// What was received: `Gtid_IO_Pos` (MariaDB), `Retrieved_Gtid_Set` (MySQL).
    pub received: GtidSet,
    /// Whether GTID positions are in use (`Using_Gtid`, `Auto_Position`).
    pub uses_gtid: bool,
    /// `Seconds_Behind_Master`; NULL is `None` and does not mean zero.
    pub seconds_behind: Option<u64>,
    /// `Slave_received_heartbeats` / `COUNT_RECEIVED_HEARTBEATS`, where it is to be had.
    pub heartbeats: Option<u64>,
    /// `Slave_heartbeat_period`: after so long without an event the source sends a heartbeat; zero
    /// for never. `None` where it is not to be had.
    pub heartbeat_period: Option<Duration>,
}

/// What a healthy server tells of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its greeting.
    pub identity: Arc<Identity>,
    /// `@@server_id`.
    pub server_id: u32,
    /// `Uptime`: since when it runs.
    pub uptime: Duration,
    /// `@@read_only`: ordinary users cannot write.
    pub read_only: bool,
    /// `@@auto_increment_increment`.
    pub auto_increment_increment: u32,
    /// `@@auto_increment_offset`.
    pub auto_increment_offset: u32,
    /// What it has executed: `@@gtid_executed` (MySQL), `@@gtid_current_pos` (MariaDB).
    pub executed: GtidSet,
    /// What it receives from others. Empty when it is nobody's slave.
    pub channels: Vec<Channel>,
    /// Whether somebody holds the lock of a switchover that leaves it (`tandem.switchover`).
    pub claimed: bool,
    /// The connection that asks other proxies to drain it (it holds the lock `tandem.draining`).
    pub draining: Option<u32>,
    /// The connection that looked.
    pub connection: u32,
    /// Its view of the terms.
    pub terms: TermStore,
    /// Whether the highest of them is that of a planned switchover.
    pub planned: bool,
    /// What it knows of heartbeats; `None` without a table that may be read.
    pub beats: Option<Beats>,
    /// How it passes on what it commits.
    pub sending: Sending,
}

/// How a server passes on what it commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// Who numbers its transactions.
    pub numbering: Numbering,
    /// Whether it waits for a standby.
    pub semi_sync: SemiSync,
}

/// Who numbers the transactions that clients commit on a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbering {
    /// It was not asked.
    #[default]
    Unknown,
    /// The server itself: MySQL with GTIDs.
    Own,
    /// A domain of MariaDB (`gtid_domain_id`), which should be the server's own.
    Domain(u32),
    /// Nobody: `gtid_mode` is OFF or OFF_PERMISSIVE.
    NoGtids,
    /// Nobody: it has no binary log.
    NoLog,
}

/// The sender's side of semi-synchronous replication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SemiSync {
    /// It is switched off, or not there.
    #[default]
    Off,
    /// A commit is acknowledged when a standby has received it.
    Waiting,
    /// It is switched on, and the server goes on without: no standby acknowledged in time, or none is
    /// there (`Rpl_semi_sync_master_status`, `Rpl_semi_sync_source_status`: OFF).
    FellBack,
}

impl fmt::Display for SemiSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Waiting => "on",
            Self::FellBack => "fell back",
        })
    }
}

/// What a server's `tandem.heartbeat` table says: the moment that was last written into each
/// master's row, by the clock of that master. Microseconds since the start of 2020, UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beats {
    /// The server's own clock at the time of the look.
    pub clock: u64,
    /// `server_id` and `at` of each row.
    pub rows: Vec<(u32, u64)>,
}

impl Beats {
    /// What is in the row of the server with this id.
    #[must_use]
    pub fn of(&self, server_id: u32) -> Option<u64> {
        self.rows.iter().find(|(id, _)| *id == server_id).map(|(_, at)| *at)
    }
}
