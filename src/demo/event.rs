//! What the demo has to tell: the scenario says these, whoever shows them finds the words.

use std::time::Duration;

use super::findings::Findings;
use super::idle::IdleAnswer;
use crate::sandbox::Progress;

/// Something that happened, and when: since the demo began.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) at: Duration,
    pub(super) event: Event,
}

/// Something that happened. Masters are 0 (`m1`) and 1 (`m2`).
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A part of the story begins.
    Chapter(&'static str),
    /// What takes a while now, for as long as nothing else is said.
    Doing(&'static str),
    /// The servers come up.
    Setup(Progress),
    /// Two lines of `SHOW SLAVE STATUS`, as the server names them.
    SlaveStatus(SlaveStatus),
    /// A commit of this master is on both before it is acknowledged; the line in which it says so.
    SemiSync { master: usize, said: String },
    /// What that is worth.
    Promise,
    /// Three rows were inserted on m1 and one on m2, and both were read.
    KeysTried(KeysTried),
    /// The proxy takes connections.
    Listening { url: String },
    /// A master takes writes.
    Active { master: usize, term: u64 },
    /// The idle client is set up.
    IdleConnected,
    /// The writers write.
    Writing { writers: u16, pace: Duration },
    /// A look at what is going on, several times a second.
    Beat(Beat),
    /// Some keys that were handed out.
    Keys { master: usize, keys: Vec<u64> },
    /// kill -9.
    Killed { master: usize, pid: Option<u32> },
    /// Tandem changed its mind. It was a little earlier than it is told.
    Transition { from: &'static str, to: &'static str, reason: String },
    /// The first row after the kill.
    WritesAgain { master: usize, gap: Duration },
    /// The idle client's first statement after the kill.
    Idle { answer: IdleAnswer, took: Duration },
    /// A master was started again and answers.
    Back { master: usize, took: Duration },
    /// The writers have stopped.
    Stopped { acknowledged: usize },
    /// `CHECKSUM TABLE` of both.
    Compared { checksums: [Option<u64>; 2], rows: [usize; 2] },
    /// The end of the story.
    Found(Box<Findings>),
    /// Everything stays as it is, to be tried.
    Stays(Stays),
    /// A signal came.
    Interrupted,
}

/// What a member says of its replication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlaveStatus {
    pub(super) master: usize,
    /// `Slave_IO_Running: Yes`.
    pub(super) io: String,
    /// `Slave_SQL_Running: Yes`.
    pub(super) sql: String,
    /// Whether both say `Yes`.
    pub(super) runs: bool,
}

/// The test that shows why two masters hand no key out twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeysTried {
    /// Keys of three rows on m1.
    pub(super) first: Vec<u64>,
    /// The key of one row on m2, after that.
    pub(super) second: Vec<u64>,
    /// What each of them holds then.
    pub(super) read: [Vec<u64>; 2],
}

impl KeysTried {
    /// A server takes the next number of its own class above what it has seen.
    pub(super) fn right(&self) -> bool {
        let all = [1, 3, 5, 6];
        self.first == all[..3]
            && self.second == all[3..]
            && self.read.iter().all(|keys| *keys == all)
    }
}

/// The state of things at one moment.
#[derive(Clone, Debug)]
pub(super) struct Beat {
    pub(super) masters: [MasterState; 2],
    /// Rows acknowledged by each since the last beat.
    pub(super) rows: [u64; 2],
    /// Rows acknowledged by each since the beginning.
    pub(super) total: [u64; 2],
    /// Statements that wait now, and that ever had to.
    pub(super) held: [u64; 2],
    pub(super) errors: usize,
    pub(super) term: u64,
}

/// What the proxy thinks of a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MasterState {
    Active,
    Standby,
    Down,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub(super) struct Stays {
    pub(super) url: String,
    pub(super) client: String,
    pub(super) console: Option<String>,
    pub(super) http: Option<String>,
    pub(super) pids: [Option<u32>; 2],
}
