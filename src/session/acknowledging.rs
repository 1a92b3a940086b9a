//! Which transaction a write became: noted before the client hears that it is committed.
//!
//! The server says it in the very OK that acknowledges the write, whatever committed it: a statement by
//! itself, COMMIT, a definition that commits what was open, a prepared statement, XA. Reads do not
//! repeat it. Writes that are not in the binary log (`sql_log_bin=0`) have none; no other server ever gets
//! them.
//!
//! MySQL names all transactions that a command committed. MariaDB names the last one of each OK: of a
//! procedure that committed several, and of a definition inside a transaction, which commits that
//! transaction first, the others stay unknown (tried on 10.11 and 11.8). What may have such company is
//! noted as *partial*.
//!
//! It is noted before the OK goes out, so that nothing is acknowledged that was not noted. What then
//! could not be handed to the client is taken back.

use std::sync::Arc;
use std::time::Instant;

use super::acknowledgements::{Acknowledgements, Run, UserNumber};
use super::relay::Relay;
use super::statement::{Traits, Verb};
use super::tracking::Tracking;
use crate::topology::{Numbered, last_gtid, own_gtids};
use crate::wire::{OkPacket, SessionChange};

/// What a session knows of its acknowledged writes.
#[derive(Debug)]
pub(super) struct Acknowledging {
    book: Arc<Acknowledgements>,
    /// Who writes; looked up with the first write.
    user: Option<UserNumber>,
    /// What was noted last.
    last: Option<Run>,
    /// What was noted and is not with the client yet.
    undelivered: Vec<Run>,
}

impl Acknowledging {
    pub(super) fn new(book: Arc<Acknowledgements>) -> Self {
        Self { book, user: None, last: None, undelivered: Vec::new() }
    }

    /// Another user goes on with the session.
    pub(super) fn change_user(&mut self) {
        self.user = None;
    }

    /// Everything that was passed on is with the client.
    #[inline]
    pub(super) fn delivered(&mut self) {
        if !self.undelivered.is_empty() {
            self.undelivered.clear();
        }
    }

    /// The client has gone: what it was to be told it was not.
    pub(super) fn retract(&mut self) {
        for run in self.undelivered.drain(..) {
            self.book.retract(run);
        }
    }

    /// Leaves of `run` what is not noted yet: MySQL repeats the transactions of a procedure in each of
    /// its results.
    fn news(&self, run: Run) -> Option<Run> {
        let Some(last) =
            self.last.filter(|last| (last.server, last.stream) == (run.server, run.stream))
        else {
            return Some(run);
        };
        if run.first > last.last || run.last < last.last {
            return Some(run);
        }
        (run.last > last.last).then_some(Run { first: last.last + 1, ..run })
    }
}

impl Relay {
    /// Notes what an OK says of writes.
    #[inline]
    pub(super) fn note_write(&mut self, ok: &OkPacket<'_>) {
        if self.reader.is_some() || self.current.split {
            return;
        }
        for change in ok.session_changes() {
            match change {
                SessionChange::SystemVariable { name: b"last_gtid", value } => {
                    if let Some(told) = last_gtid(value) {
                        self.note(told, self.names_only_the_last());
                    }
                }
                SessionChange::Gtids(text) => self.note_set(text),
                _ => {}
            }
        }
    }

    fn note_set(&mut self, text: &[u8]) {
        if self.tracking.as_ref().is_some_and(Tracking::hides_own_gtids) {
            if !matches!(self.current.statement.verb, Verb::Select | Verb::Show) {
                self.write_untold();
            }
            return;
        }
        if !own_gtids(text, |told| self.note(told, false)) {
            self.write_untold();
        }
    }

    fn note(&mut self, told: Numbered<'_>, partial: bool) {
        let Some(server) = self.backend.as_ref().map(|backend| backend.server) else { return };
        if let Some(positions) = &self.shared.positions {
            positions.acknowledged(server, told);
        }
        let notes = &mut self.acknowledging;
        let run = Run::new(server, notes.book.stream(told.origin), told);
        let Some(run) = notes.news(run) else { return };
        notes.last = Some(run);
        let user = *notes.user.get_or_insert_with(|| notes.book.user(&self.login.user));
        notes.book.acknowledge(user, run, partial, Instant::now());
        notes.undelivered.push(run);
    }

    /// The server does not say which transactions there may be.
    pub(super) fn write_untold(&mut self) {
        if let (Some(backend), None) = (&self.backend, &self.reader) {
            self.acknowledging.book.untold(backend.server);
            self.read_at_home();
        }
    }

    /// Whether what is being answered may have committed more than the one transaction that MariaDB
    /// names.
    fn names_only_the_last(&self) -> bool {
        let statement = self.current.statement;
        match statement.verb {
            Verb::Call | Verb::Execute => true,
            Verb::CreateTemporary | Verb::DropTable | Verb::Other | Verb::Flush => {
                self.current.in_transaction || statement.traits.has(Traits::SEVERAL)
            }
            Verb::Begin => statement.traits.has(Traits::SEVERAL),
            _ => false,
        }
    }
}
