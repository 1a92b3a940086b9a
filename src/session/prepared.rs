//! Statements prepared with COM_STMT_PREPARE, across servers.
//!
//! A client keeps the ids that it was given, whatever server it is on now. On the server where a
//! statement was prepared its id is the client's, so that nothing need be translated before the
//! first migration. After one, a statement is prepared again when it is first used, and its new id
//! is kept beside the old one.

use rustc_hash::FxHashMap;

use super::state::MigrationBlocker;
use super::statement::Statement;
use crate::wire::{Capabilities, Command, ExecutedTypes};

/// One statement.
#[derive(Clone, Debug)]
pub(super) struct PreparedStatement {
    /// Its text.
    pub(super) sql: Box<[u8]>,
    /// The schema of then: unqualified names go on to mean it.
    pub(super) schema: Option<Box<[u8]>>,
    /// What it is.
    pub(super) statement: Statement,
    /// How many parameters it takes.
    pub(super) parameters: u16,
    /// The types of the parameters as last sent: two bytes each, and a name for each where there
    /// are query attributes.
    pub(super) types: Box<[u8]>,
    /// The login on which it is prepared, and its id there.
    pub(super) prepared: (u64, u32),
    /// A cursor is open.
    pub(super) cursor: bool,
    /// Long data was sent and not executed yet.
    pub(super) long_data: bool,
}

impl PreparedStatement {
    /// Whether it holds the session where it is.
    #[inline]
    fn holds(&self) -> bool {
        self.cursor || self.long_data
    }

    #[inline]
    fn remember_types(&mut self, command: Command, payload: &[u8], capabilities: Capabilities) {
        let types = ExecutedTypes::of(command, payload, self.parameters, capabilities)
            .and_then(|place| place.read(payload));
        if let Some(types) = types
            && *self.types != *types
        {
            self.types = types.into();
        }
    }
}

/// The statements of a session, by the id that the client knows. The ids are the server's: nobody
/// can choose them so that they collide.
#[derive(Clone, Debug, Default)]
pub(super) struct PreparedStatements {
    by_id: FxHashMap<u32, PreparedStatement>,
    /// The statement prepared last: MariaDB clients may call it 0xFFFFFFFF.
    last: u32,
    /// How many of them hold the session where it is.
    holding: usize,
}

/// "The statement prepared last", in MariaDB's protocol.
const LAST: u32 = u32::MAX;

impl PreparedStatements {
    /// The statement that the client calls `id`.
    #[inline]
    pub(super) fn get(&self, id: u32) -> Option<&PreparedStatement> {
        self.by_id.get(&self.resolve(id))
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut PreparedStatement> {
        let id = self.resolve(id);
        self.by_id.get_mut(&id)
    }

    #[inline]
    fn resolve(&self, id: u32) -> u32 {
        if id == LAST { self.last } else { id }
    }

    /// What an execution of statement `id` is. Takes note of the parameter types that it brings.
    #[inline]
    pub(super) fn executing(
        &mut self,
        command: Command,
        id: Option<u32>,
        payload: &[u8],
        capabilities: Capabilities,
    ) -> Statement {
        let Some(prepared) = id.and_then(|id| self.get_mut(id)) else { return Statement::UNKNOWN };
        prepared.remember_types(command, payload, capabilities);
        prepared.statement
    }

    /// Remembers a statement. Returns the id for the client: the server's, unless the client has
    /// another statement of that id from an earlier server.
    pub(super) fn insert(&mut self, statement: PreparedStatement) -> u32 {
        let (login, server_id) = statement.prepared;
        let taken = |id: u32, known: &Self| {
            known.by_id.get(&id).is_some_and(|other| other.prepared != (login, id))
        };
        let mut id = server_id;
        // Servers count up from 1; ids from the upper half are free but for our own.
        while taken(id, self) || id == LAST {
            id = id.wrapping_add(1) | 1 << 31;
        }
        self.remove(id);
        self.by_id.insert(id, statement);
        self.last = id;
        id
    }

    /// A statement was refused: until the next one "the statement prepared last" is none.
    pub(super) fn refused(&mut self) {
        self.last = LAST;
    }

    /// Forgets a statement.
    pub(super) fn remove(&mut self, id: u32) -> Option<PreparedStatement> {
        let id = self.resolve(id);
        let removed = self.by_id.remove(&id);
        self.holding -= usize::from(removed.as_ref().is_some_and(PreparedStatement::holds));
        removed
    }

    /// A statement has, or has not, a cursor or long data now.
    #[inline]
    pub(super) fn change(&mut self, id: u32, change: impl FnOnce(&mut PreparedStatement)) {
        let Some(statement) = self.by_id.get_mut(&self.resolve(id)) else { return };
        let held = statement.holds();
        change(statement);
        let holds = statement.holds();
        self.holding = self.holding + usize::from(holds) - usize::from(held);
    }

    /// What of the statements would be lost by moving.
    #[inline]
    pub(super) fn blocker(&self) -> Option<MigrationBlocker> {
        if self.holding == 0 {
            return None;
        }
        self.by_id.values().find_map(|statement| match statement {
            PreparedStatement { cursor: true, .. } => Some(MigrationBlocker::OpenCursor),
            PreparedStatement { long_data: true, .. } => Some(MigrationBlocker::LongData),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(login: u64, id: u32) -> PreparedStatement {
        PreparedStatement {
            sql: b"select 1".as_slice().into(),
            schema: None,
            statement: Statement::UNKNOWN,
            parameters: 0,
            types: Box::default(),
            prepared: (login, id),
            cursor: false,
            long_data: false,
        }
    }

    #[test]
    fn a_client_keeps_its_ids_and_never_gets_one_twice() {
        let mut statements = PreparedStatements::default();
        assert_eq!(statements.insert(statement(1, 1)), 1);
        assert_eq!(statements.insert(statement(1, 2)), 2);
        // On another server the ids begin again.
        let third = statements.insert(statement(2, 1));
        assert!(third > 2);
        let fourth = statements.insert(statement(3, 1));
        assert!(fourth > 2 && fourth != third);
        assert_eq!(statements.get(third).map(|s| s.prepared), Some((2, 1)));
        assert_eq!(statements.get(LAST).map(|s| s.prepared), Some((3, 1)));
        assert!(statements.remove(1).is_some() && statements.get(1).is_none());
        statements.refused();
        assert!(statements.get(LAST).is_none());
    }

    #[test]
    fn cursors_and_long_data_hold_a_session_where_it_is() {
        let mut statements = PreparedStatements::default();
        let id = statements.insert(statement(1, 1));
        assert_eq!(statements.blocker(), None);
        let other = statements.insert(statement(1, 2));
        statements.change(id, |statement| statement.cursor = true);
        statements.change(other, |statement| statement.long_data = true);
        assert!(statements.blocker().is_some());
        statements.change(other, |statement| statement.long_data = false);
        assert_eq!(statements.blocker(), Some(MigrationBlocker::OpenCursor));
        statements.remove(id);
        assert_eq!(statements.blocker(), None);
    }
}
