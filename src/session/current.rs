//! The command that is being carried, and what is counted of it.

use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::kill::Kill;
use super::relay::Relay;
use super::shared::Shared;
use super::statement::{Statement, Traits, Verb};
use super::statements::statement_id;
use crate::wire::{Command, Header, sql_offset};

/// A command that changes nothing and may be sent again.
const HARMLESS: Statement = Statement { verb: Verb::Show, traits: Traits::NONE };

/// The flags of COM_STMT_EXECUTE that ask for a cursor: read-only, for update, scrollable.
const CURSORS: u8 = 0x07;

/// The command that is being carried.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) command: Command,
    pub(super) statement: Statement,
    /// Where the SQL of a COM_QUERY begins in its payload: behind its attributes.
    pub(super) sql_at: usize,
    /// The prepared statement that it names, by the client's id.
    pub(super) statement_id: Option<u32>,
    /// It is kept at the front of the request until it is answered.
    pub(super) kept: bool,
    /// COM_STMT_EXECUTE asks for a cursor.
    pub(super) cursor: bool,
    /// A transaction was open when it came.
    pub(super) in_transaction: bool,
    /// Part of the answer went to the client.
    pub(super) forwarded: bool,
    /// The answer was an error.
    pub(super) failed: bool,
    /// How many bytes from the answer's front are needed to go on with it.
    pub(super) need: usize,
    /// A refusal by a fenced master, kept from the client.
    pub(super) withheld: Vec<u8>,
    /// Since when it waits for an active master.
    pub(super) held: Option<Held>,
    /// A reader has it, in the place of the active master.
    pub(super) split: bool,
    /// It was sent once and got no answer, though it may be run again.
    pub(super) unanswered: bool,
    /// The master was to be left while it had this: it is well, and will answer.
    pub(super) drained: bool,
    /// It has waited as long as writers are to wait.
    pub(super) paced: bool,
    /// It kills a session of Tandem's.
    pub(super) kill: Option<Box<Kill>>,
    /// When it was first lost on its way to a server.
    pub(super) lost_since: Option<Instant>,
}

impl Current {
    pub(super) fn none() -> Self {
        Self {
            command: Command::Ping,
            statement: HARMLESS,
            sql_at: 1,
            statement_id: None,
            kept: true,
            cursor: false,
            in_transaction: false,
            forwarded: false,
            failed: false,
            need: 0,
            withheld: Vec::new(),
            held: None,
            split: false,
            unanswered: false,
            drained: false,
            paced: false,
            kill: None,
            lost_since: None,
        }
    }
}

impl Relay {
    /// Looks at a command before it is sent. Of one that is not kept only `len` bytes are there.
    #[inline]
    pub(super) fn begin(&mut self, command: Command, len: usize, kept: bool) {
        let payload = &self.request.bytes()[Header::LEN..len];
        let mut cursor = false;
        let mut id = None;
        let capabilities = self.login.capabilities;
        let mut sql_at = 1;
        let mut statement = match command {
            Command::Query => {
                // Attributes that cannot be read leave a text that nobody knows; the server says so.
                sql_at = sql_offset(payload, capabilities).unwrap_or(payload.len());
                Statement::classify(&payload[sql_at..], self.state.backslash_escapes())
            }
            Command::StmtExecute | Command::StmtBulkExecute => {
                id = statement_id(payload);
                cursor = command == Command::StmtExecute
                    && payload.get(5).is_some_and(|flags| flags & CURSORS != 0);
                self.state.prepared.executing(command, id, payload, capabilities)
            }
            Command::StmtSendLongData
            | Command::StmtReset
            | Command::StmtFetch
            | Command::StmtClose => {
                id = statement_id(payload);
                HARMLESS
            }
            Command::Refresh | Command::ProcessKill | Command::Debug | Command::Other(_) => {
                Statement::UNKNOWN
            }
            _ => HARMLESS,
        };
        if !kept && command == Command::Query && statement.verb != Verb::Write {
            statement = Statement::UNKNOWN; // nobody has read it to its end
        }
        let kills = command == Command::ProcessKill || statement.verb == Verb::Kill;
        let kill = if kills && kept { self.read_kill(command, payload) } else { None };
        let current = &mut self.current;
        current.command = command;
        current.statement = statement;
        current.sql_at = sql_at;
        current.statement_id = id;
        current.kept = kept;
        current.cursor = cursor;
        current.in_transaction = self.state.in_transaction();
        current.forwarded = false;
        current.failed = false;
        current.need = 0;
        current.held = None;
        current.split = false;
        current.unanswered = false;
        current.drained = false;
        current.paced = false;
        current.kill = kill;
        current.lost_since = None;
    }
}

/// A statement that waits for an active master: counted as long as this lives.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) since: Instant,
    waiting: Gauge,
}

impl Held {
    pub(super) fn begin(shared: &Shared) -> Self {
        let metrics = shared.metrics();
        metrics.held.inc();
        metrics.held_now.inc();
        Self { since: Instant::now(), waiting: metrics.held_now.clone() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.waiting.dec();
    }
}

/// Commands that are not in the metrics yet. A counter that all workers add to would cost more than
/// all else that is done for a command; so a session delivers its count ten times a second at most,
/// and when it ends.
#[derive(Debug)]
pub(super) struct Uncounted {
    commands: u64,
    delivered_at: u32,
    counter: Counter,
}

impl Uncounted {
    pub(super) fn new(shared: &Shared) -> Self {
        Self { commands: 0, delivered_at: 0, counter: shared.metrics().commands.clone() }
    }

    #[inline]
    pub(super) fn add(&mut self, tick: u32) {
        self.commands += 1;
        if tick != self.delivered_at {
            self.delivered_at = tick;
            self.counter.inc_by(std::mem::take(&mut self.commands));
        }
    }
}

/// A session whose last command came within so many ticks is busy: about a second.
const FRESH: u32 = 10;

impl Uncounted {
    /// Whether there was a command within the last ticks.
    pub(super) fn is_fresh(&self, tick: u32) -> bool {
        tick.wrapping_sub(self.delivered_at) / 2 <= FRESH
    }
}

impl Drop for Uncounted {
    fn drop(&mut self) {
        self.counter.inc_by(self.commands);
    }
}
