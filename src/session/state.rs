//! What a session has become since its login, so that it can be rebuilt on another server.
//!
//! Two sources feed it. The server tells through session tracking which system variables changed
//! and what the schema is; that is exact and needs no parsing. What no tracker tells (the text of
//! SET NAMES, the values of user variables, user locks, prepared statements) is read from the
//! statements themselves, after the server has said OK to them.
//!
//! What can be carried over is kept as the SQL that restores it ([`SessionState::restoring_sql`]).
//! What cannot is kept as a reason, in words that reach the operator
//! ([`SessionState::migration_blocker`]). Anything that looks like state but is not understood is
//! such a reason: a session that is closed is better than one that goes on with something missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::assignment::{self, Assignment};
use super::holdings::Holdings;
use super::prepared::PreparedStatements;
use super::statement::{Keyword, Statement, Token, Tokens, Traits, Verb};
use crate::wire::{OkPacket, SessionChange, StatusFlags};

/// Why a session cannot move to another server now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum MigrationBlocker {
    /// A transaction is open.
    OpenTransaction,
    /// Temporary tables exist.
    TemporaryTables,
    /// LOCK TABLES is in force.
    LockedTables,
    /// GET_LOCK was called, and the lock not released yet.
    UserLocks,
    /// FLUSH TABLES WITH READ LOCK or FOR EXPORT is in force.
    ReadLock,
    /// A HANDLER is open.
    Handler,
    /// An XA transaction was begun.
    Xa,
    /// A cursor is open.
    OpenCursor,
    /// COM_STMT_SEND_LONG_DATA was sent for a statement that is not executed yet.
    LongData,
    /// A user variable has a value that Tandem does not know.
    UserVariables,
    /// The session is a slave's: it has registered, or is sent the binary log.
    Replication,
    /// The server said that something changed, and Tandem does not know what.
    UnknownState,
}

impl fmt::Display for MigrationBlocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenTransaction => "an open transaction",
            Self::TemporaryTables => "temporary tables",
            Self::LockedTables => "tables locked by LOCK TABLES",
            Self::UserLocks => "locks taken by GET_LOCK()",
            Self::ReadLock => "a lock taken by FLUSH TABLES",
            Self::Handler => "an open HANDLER",
            Self::Xa => "an XA transaction",
            Self::OpenCursor => "an open cursor",
            Self::LongData => "parameter data that was sent but not executed yet",
            Self::UserVariables => "user variables whose values the proxy cannot know",
            Self::Replication => "a slave's place in the binary log",
            Self::UnknownState => "session state that the proxy does not follow",
        })
    }
}

/// The state of one session.
#[derive(Clone, Debug, Default)]
pub struct SessionState {
    /// The current schema.
    pub(super) schema: Option<Vec<u8>>,
    /// Statements prepared with COM_STMT_PREPARE.
    pub(super) prepared: PreparedStatements,
    pub(super) status: StatusFlags,
    /// An error may have ended the transaction, or left one open: unknown until the next status.
    pub(super) uncertain: bool,
    pub(super) last_insert_id: u64,
    /// A statement set `insert_id`: the next key is of the client's choice.
    own_insert_id: bool,
    /// The last SET NAMES or SET CHARACTER SET.
    pub(super) names: Option<Box<[u8]>>,
    /// System variables that the server reported as changed.
    pub(super) variables: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// User variables, with the literals they were set to.
    pub(super) user_variables: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// The last SET ROLE.
    pub(super) role: Option<Box<[u8]>>,
    /// SET TRANSACTION for the next transaction only.
    pub(super) next_transaction: Option<Box<[u8]>>,
    /// Statements prepared with SQL's PREPARE, by lower-cased name.
    pub(super) sql_prepared: BTreeMap<Vec<u8>, SqlPrepared>,
    pub(super) temporary_tables: BTreeSet<Vec<u8>>,
    pub(super) holdings: Holdings,
    pub(super) blockers: BTreeSet<MigrationBlocker>,
}

/// A statement of SQL's PREPARE: its names mean what they meant in the schema of then.
#[derive(Clone, Debug)]
pub(super) struct SqlPrepared {
    pub(super) schema: Option<Vec<u8>>,
    pub(super) sql: Box<[u8]>,
}

/// What is kept of one user variable or statement; what is longer holds the session where it is.
const KEPT_TEXT: usize = 64 * 1024;

/// System variables that are reported but must not be set again: they hold for one statement, are
/// read-only, or are Tandem's own business.
const NOT_RESTORED: [&str; 21] = [
    "session_track_gtids",
    "session_track_schema",
    "session_track_state_change",
    "session_track_system_variables",
    "timestamp",
    "statement_id",
    "last_gtid",
    "insert_id",
    "last_insert_id",
    "identity",
    "rand_seed1",
    "rand_seed2",
    "gtid_next",
    "gtid_seq_no",
    "pseudo_thread_id",
    "pseudo_slave_mode",
    "pseudo_replica_mode",
    "warning_count",
    "error_count",
    "skip_replication",
    "error_log",
];

impl SessionState {
    /// A session that has just logged in.
    pub(super) fn new(schema: Option<Vec<u8>>, status: StatusFlags) -> Self {
        Self { schema, status, ..Self::default() }
    }

    /// The status flags that the server sent last.
    #[inline]
    pub(super) fn status(&self) -> StatusFlags {
        self.status
    }

    /// Whether a transaction is open.
    #[inline]
    pub(super) fn in_transaction(&self) -> bool {
        self.status.has(StatusFlags::IN_TRANSACTION)
    }

    /// Whether a backslash escapes inside strings.
    #[inline]
    pub(super) fn backslash_escapes(&self) -> bool {
        !self.status.has(StatusFlags(0x0200))
    }

    /// The server's flags after a response.
    #[inline]
    pub(super) fn set_status(&mut self, status: StatusFlags) {
        self.status = status;
        self.uncertain = false;
    }

    /// Whether an error left it open what became of the transaction.
    #[inline]
    pub(super) fn is_uncertain(&self) -> bool {
        self.uncertain
    }

    /// A statement was answered with an error, which carries no status flags. It may have committed
    /// what was open before it failed, or begun something: a definition commits first, a procedure
    /// may do anything, and some errors roll back with some settings (1020, 1180, 1205, 1614).
    pub(super) fn failed(&mut self, statement: Statement, code: u16) {
        if code == DEADLOCK {
            self.transaction_ended();
        } else if self.in_transaction() {
            self.uncertain = statement.may_commit() || matches!(code, 1020 | 1180 | 1205 | 1614);
        } else {
            self.uncertain = matches!(statement.verb, Verb::Call | Verb::Execute | Verb::Other);
        }
    }

    /// Whether SET TRANSACTION waits for the next transaction.
    #[inline]
    pub(super) fn has_next_transaction(&self) -> bool {
        self.next_transaction.is_some()
    }

    /// The open transaction is gone: rolled back by the server, or with it.
    pub(super) fn transaction_ended(&mut self) {
        self.uncertain = false;
        self.status.0 &= !StatusFlags::IN_TRANSACTION.0;
    }

    /// Why the session cannot move now; `None` when it can.
    #[must_use]
    pub fn migration_blocker(&self) -> Option<MigrationBlocker> {
        if self.in_transaction() {
            return Some(MigrationBlocker::OpenTransaction);
        }
        self.loss_blocker()
    }

    /// The same, after an open transaction has been given up for lost.
    pub(super) fn loss_blocker(&self) -> Option<MigrationBlocker> {
        if let Some(blocker) = self.blockers.first() {
            return Some(*blocker);
        }
        if !self.temporary_tables.is_empty() {
            return Some(MigrationBlocker::TemporaryTables);
        }
        self.holdings.blocker().or_else(|| self.prepared.blocker())
    }

    /// COM_RESET_CONNECTION was answered: everything is as after the login, but for the schema
    /// (tried on MariaDB 10.11).
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.schema.take(), self.status);
    }

    /// A statement of Tandem's own failed that should have made the server report changes.
    pub(super) fn not_tracked(&mut self) {
        self.blockers.insert(MigrationBlocker::UnknownState);
    }

    /// COM_INIT_DB was answered.
    pub(super) fn set_schema(&mut self, schema: &[u8]) {
        self.schema = Some(schema.to_vec());
    }

    /// COM_REGISTER_SLAVE was answered: the server lists the session as a slave.
    pub(super) fn registered_slave(&mut self) {
        self.blockers.insert(MigrationBlocker::Replication);
    }

    /// A key was generated.
    #[inline]
    pub(super) fn set_last_insert_id(&mut self, id: u64) {
        self.last_insert_id = id;
    }

    /// Whether the client itself has a say in which keys its rows get.
    pub(super) fn makes_own_keys(&self) -> bool {
        let set = |name: &[u8]| self.variables.keys().any(|known| known.eq_ignore_ascii_case(name));
        self.own_insert_id || set(b"auto_increment_increment") || set(b"auto_increment_offset")
    }

    /// Takes in what an OK packet says of the session. `statement` is what it answers.
    pub(super) fn told(&mut self, ok: &OkPacket<'_>, statement: Statement) {
        if statement.verb == Verb::SetStatement {
            return; // what it tells holds no longer than it did
        }
        for change in ok.session_changes() {
            match change {
                SessionChange::SystemVariable { name, value } => {
                    self.variable_changed(name, value);
                }
                SessionChange::Schema(schema) => {
                    self.schema = Some(schema.to_vec()).filter(|schema| !schema.is_empty());
                }
                SessionChange::State if !follows_state(statement) => {
                    self.blockers.insert(MigrationBlocker::UnknownState);
                }
                _ => {}
            }
        }
    }

    /// A system variable has a new value.
    pub(super) fn variable_changed(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"insert_id") {
            self.own_insert_id = true;
        }
        let unwanted = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
        if NOT_RESTORED.iter().any(unwanted) {
            return;
        }
        if name.eq_ignore_ascii_case(b"sql_mode") || name.starts_with(b"character_set_") {
            self.literals_change_meaning();
        }
        self.variables.insert(name.into(), value.into());
    }

    /// Texts of user variables would be read otherwise from now on: under another character set, or
    /// with another meaning of quotes and backslashes.
    fn literals_change_meaning(&mut self) {
        let depends = |text: &[u8]| text.iter().any(|&b| b >= 0x80 || b == b'\\' || b == b'"');
        if self.user_variables.values().any(|text| depends(text)) {
            self.blockers.insert(MigrationBlocker::UserVariables);
        }
    }

    /// A statement was answered without an error.
    #[inline]
    pub(super) fn executed(&mut self, statement: Statement, sql: &[u8]) {
        if statement.is_plain()
            && self.next_transaction.is_none()
            && self.holdings.is_empty()
            && (statement.verb != Verb::Write || !assignment::is_load(self.tokens(sql)))
        {
            return;
        }
        self.executed_with_consequences(statement, sql);
    }

    fn executed_with_consequences(&mut self, statement: Statement, sql: &[u8]) {
        if statement.verb != Verb::Set {
            self.next_transaction = None;
        }
        if statement.traits.has(Traits::SEVERAL) {
            if !self.each_is_followed(sql) {
                self.blockers.insert(MigrationBlocker::UnknownState);
            }
            return;
        }
        if statement.traits.has(Traits::TAKES_LOCK) {
            self.holdings.lock_taken(self.tokens(sql));
        }
        if statement.traits.has(Traits::RELEASES_LOCKS) {
            self.holdings.all_locks_released();
        }
        let assigns = statement.traits.has(Traits::ASSIGNS) && statement.verb != Verb::Set
            || statement.traits.has(Traits::INTO) && statement.verb == Verb::Select;
        // A procedure assigns to variables that it is given, and LOAD DATA to those that it names.
        let may_assign = match statement.verb {
            Verb::Call | Verb::Other => sql.contains(&b'@'),
            Verb::Write => assignment::is_load(self.tokens(sql)) && sql.contains(&b'@'),
            _ => false,
        };
        if assigns || may_assign {
            self.blockers.insert(MigrationBlocker::UserVariables);
        }
        match statement.verb {
            Verb::Set => self.assigned(sql),
            Verb::CreateTemporary => {
                self.temporary_tables.extend(assignment::created_table(self.tokens(sql)));
            }
            Verb::DropTable if !self.temporary_tables.is_empty() => {
                for table in assignment::dropped_tables(self.tokens(sql)) {
                    self.temporary_tables.remove(&table);
                }
            }
            Verb::Prepare => {
                let name = assignment::prepared_name(self.tokens(sql));
                // A text that comes from a variable is not known later.
                let literal = assignment::prepared_text(self.tokens(sql)).is_some();
                if let (Some(name), true) = (name, literal && sql.len() <= KEPT_TEXT) {
                    let prepared = SqlPrepared { schema: self.schema.clone(), sql: sql.into() };
                    self.sql_prepared.insert(name, prepared);
                } else {
                    self.blockers.insert(MigrationBlocker::UnknownState);
                }
            }
            Verb::Execute => self.executed_by_name(sql),
            Verb::Deallocate => {
                if let Some(name) = assignment::prepared_name(self.tokens(sql)) {
                    self.sql_prepared.remove(&name);
                }
            }
            Verb::LockTables => {
                self.blockers.insert(MigrationBlocker::LockedTables);
            }
            Verb::UnlockTables => {
                self.blockers.remove(&MigrationBlocker::LockedTables);
                self.blockers.remove(&MigrationBlocker::ReadLock);
            }
            Verb::Flush if statement.traits.has(Traits::LOCKS) => {
                self.blockers.insert(MigrationBlocker::ReadLock);
            }
            Verb::Handler => self.holdings.handler(self.tokens(sql)),
            Verb::Xa => self.holdings.xa(self.tokens(sql)),
            Verb::Select | Verb::Do => self.holdings.lock_released(self.tokens(sql)),
            _ => {}
        }
    }

    fn tokens<'a>(&self, sql: &'a [u8]) -> Tokens<'a> {
        Tokens::new(sql, self.backslash_escapes())
    }

    /// Whether each of several statements in one text leaves nothing behind.
    fn each_is_followed(&self, sql: &[u8]) -> bool {
        let mut start = 0;
        let mut tokens = self.tokens(sql);
        loop {
            let token = tokens.next();
            if matches!(token, None | Some(Token::Symbol(b';'))) {
                let end = tokens.position();
                let one = Statement::classify(&sql[start..end], self.backslash_escapes());
                let ends_here = sql[start..end].iter().all(|&b| b <= b' ' || b == b';');
                let harmless = one.is_plain()
                    || matches!(one.verb, Verb::Begin | Verb::Commit | Verb::Rollback | Verb::Use);
                if !ends_here && !harmless {
                    return false;
                }
                start = end;
            }
            if token.is_none() {
                return true;
            }
        }
    }

    /// EXECUTE leaves behind what the statement that it names leaves behind.
    fn executed_by_name(&mut self, sql: &[u8]) {
        let name = assignment::prepared_name(self.tokens(sql));
        let prepared = name.and_then(|name| self.sql_prepared.get(&name).cloned());
        let inner = prepared.and_then(|prepared| {
            let text = assignment::prepared_text(self.tokens(&prepared.sql))?;
            Some(Statement::classify(&text, self.backslash_escapes()))
        });
        match inner {
            Some(inner) if inner.is_plain() => {}
            Some(inner) if inner.traits.has(Traits::TAKES_LOCK) => self.holdings.some_lock_taken(),
            _ => {
                self.blockers.insert(MigrationBlocker::UnknownState);
            }
        }
    }

    fn assigned(&mut self, sql: &[u8]) {
        for assignment in assignment::assignments(sql, self.backslash_escapes()) {
            match assignment {
                Assignment::Names(text) => {
                    for name in ["client", "results", "connection"] {
                        self.variables.remove(format!("character_set_{name}").as_bytes());
                    }
                    self.variables.remove(&b"collation_connection"[..]);
                    self.literals_change_meaning();
                    self.names = Some(text.into());
                }
                Assignment::UserVariable { name, literal: Some(literal) }
                    if literal.len() <= KEPT_TEXT && self.user_variables.len() < MANY =>
                {
                    // Their names know no case.
                    self.user_variables.insert(name.to_ascii_lowercase().into(), literal.into());
                }
                Assignment::Timestamp(Some(literal)) => {
                    self.variables.insert(b"timestamp"[..].into(), literal.into());
                }
                Assignment::Timestamp(None) => {
                    self.variables.remove(&b"timestamp"[..]);
                }
                Assignment::UserVariable { .. } => {
                    self.blockers.insert(MigrationBlocker::UserVariables);
                }
                Assignment::Role(text) => self.role = Some(text.into()),
                Assignment::NextTransaction(text) => self.next_transaction = Some(text.into()),
                Assignment::Variable => {}
            }
        }
    }
}

/// ER_LOCK_DEADLOCK: the transaction is rolled back, whatever the settings.
const DEADLOCK: u16 = 1213;

/// More user variables than any session has for a purpose.
const MANY: usize = 1000;

/// Whether a statement's state change is understood from its text.
fn follows_state(statement: Statement) -> bool {
    matches!(
        statement.verb,
        Verb::Set
            | Verb::Use
            | Verb::CreateTemporary
            | Verb::DropTable
            | Verb::Prepare
            | Verb::Deallocate
            | Verb::Execute
            | Verb::LockTables
            | Verb::UnlockTables
            | Verb::Begin
            | Verb::Commit
            | Verb::Rollback
    )
}

/// Whether a word of a statement is this keyword.
pub(super) fn is_word(token: Option<Token<'_>>, keyword: &str) -> bool {
    matches!(token, Some(Token::Word(word)) if Keyword(word).is(keyword))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
