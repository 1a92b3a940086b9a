//! What a session holds on its server under a name: locks of GET_LOCK, HANDLERs, an XA transaction.
//!
//! None of it can be carried over, so it has to be known when it ends, or a pooled connection that once
//! took a lock would stand in the way of every switchover. Names are counted only where a statement does
//! one thing that can be read off its text; whatever else takes something leaves it held for good
//! (a lock until RELEASE_ALL_LOCKS). Counting errs to one side: a lock that was not obtained counts, and a
//! release takes one away only from the same name, so that what is counted is never less than what
//! is held. The same lock can be taken several times and has to be released as often
//! (<https://dev.mysql.com/doc/refman/8.4/en/locking-functions.html>,
//! <https://mariadb.com/kb/en/get_lock/>); names know no case.

use std::collections::{BTreeMap, BTreeSet};

use super::state::MigrationBlocker;
use super::statement::{Keyword, Token, Tokens};

/// What is held.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings {
    /// How often each was taken.
    locks: BTreeMap<Vec<u8>, u32>,
    /// Locks of unknown names.
    other_locks: bool,
    handlers: BTreeSet<Vec<u8>>,
    /// HANDLERs of unknown names.
    other_handlers: bool,
    xa: bool,
}

/// More names than any session has for a purpose.
const MANY: usize = 1000;

impl Holdings {
    /// Whether there is nothing.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.blocker().is_none()
    }

    /// What of it comes first to keep a session where it is.
    #[inline]
    pub(super) fn blocker(&self) -> Option<MigrationBlocker> {
        if !self.locks.is_empty() || self.other_locks {
            return Some(MigrationBlocker::UserLocks);
        }
        if !self.handlers.is_empty() || self.other_handlers {
            return Some(MigrationBlocker::Handler);
        }
        self.xa.then_some(MigrationBlocker::Xa)
    }

    /// A statement with GET_LOCK in it was executed.
    pub(super) fn lock_taken(&mut self, tokens: Tokens<'_>) {
        match lock_name(tokens, "GET_LOCK") {
            Some(name) if self.locks.len() < MANY => *self.locks.entry(name).or_default() += 1,
            _ => self.other_locks = true,
        }
    }

    /// A lock was taken under a name that is not known.
    pub(super) fn some_lock_taken(&mut self) {
        self.other_locks = true;
    }

    /// RELEASE_ALL_LOCKS was executed.
    pub(super) fn all_locks_released(&mut self) {
        self.locks.clear();
        self.other_locks = false;
    }

    /// A statement was executed that may release a lock.
    pub(super) fn lock_released(&mut self, tokens: Tokens<'_>) {
        let Some(name) = lock_name(tokens, "RELEASE_LOCK") else { return };
        if let Some(count) = self.locks.get_mut(&name) {
            *count -= 1;
            if *count == 0 {
                self.locks.remove(&name);
            }
        }
    }

    /// `HANDLER t OPEN [[AS] a]`, `HANDLER a READ …` or `HANDLER a CLOSE` was executed.
    pub(super) fn handler(&mut self, mut tokens: Tokens<'_>) {
        tokens.next();
        let mut name = tokens.next().and_then(identifier);
        let mut verb = tokens.next();
        if verb == Some(Token::Symbol(b'.')) {
            name = tokens.next().and_then(identifier);
            verb = tokens.next();
        }
        let is = |keyword| matches!(verb, Some(Token::Word(word)) if Keyword(word).is(keyword));
        if is("CLOSE") {
            if let Some(name) = name {
                self.handlers.remove(&name);
            }
        } else if !is("READ") {
            let mut alias = tokens.next();
            if matches!(alias, Some(Token::Word(word)) if Keyword(word).is("AS")) {
                alias = tokens.next();
            }
            match alias.and_then(identifier).or(name) {
                Some(name) if self.handlers.len() < MANY => {
                    self.handlers.insert(name);
                }
                _ => self.other_handlers = true,
            }
        }
    }

    /// A statement of XA was executed: COMMIT and ROLLBACK end what START began, and RECOVER is no
    /// part of it.
    pub(super) fn xa(&mut self, mut tokens: Tokens<'_>) {
        tokens.next();
        let Some(Token::Word(verb)) = tokens.next() else { return };
        let is = |keyword| Keyword(verb).is(keyword);
        if is("COMMIT") || is("ROLLBACK") {
            self.xa = false;
        } else if !is("RECOVER") {
            self.xa = true;
        }
    }
}

/// The name in `SELECT GET_LOCK('name', …)` or `DO RELEASE_LOCK('name')`, if that is all there is.
fn lock_name(mut tokens: Tokens<'_>, function: &str) -> Option<Vec<u8>> {
    let is = |token, keyword| matches!(token, Some(Token::Word(word)) if Keyword(word).is(keyword));
    let verb = tokens.next();
    if !is(verb, "SELECT") && !is(verb, "DO") || !is(tokens.next(), function) {
        return None;
    }
    let (Some(Token::Symbol(b'(')), Some(Token::Text(name))) = (tokens.next(), tokens.next())
    else {
        return None;
    };
    // An escape or a doubled quote would have to be understood.
    let inner = name.get(1..name.len().checked_sub(1)?)?;
    if name.first() != Some(&b'\'') || inner.iter().any(|byte| matches!(byte, b'\\' | b'\'')) {
        return None;
    }
    // The seconds to wait, which call nothing. A string may go on: 'a' 'b'.
    loop {
        match tokens.next()? {
            Token::Symbol(b')') => break,
            Token::Symbol(b',' | b'-' | b'.' | b'?') | Token::Word(_) => {}
            Token::Symbol(_) | Token::Text(_) => return None,
        }
    }
    // A name for the column; a row of a table behind it would mean as many calls.
    let mut next = tokens.next();
    if is(next, "AS") {
        next = tokens.next().and_then(|_| tokens.next());
    } else if matches!(next, Some(Token::Word(word)) if !Keyword(word).is("FROM")) {
        next = tokens.next();
    }
    matches!(next, None | Some(Token::Symbol(b';'))).then(|| inner.to_ascii_lowercase())
}

fn identifier(token: Token<'_>) -> Option<Vec<u8>> {
    match token {
        Token::Word(name) => Some(name.to_ascii_lowercase()),
        Token::Text(name) if name.first() == Some(&b'`') && name.len() >= 2 => {
            Some(name[1..name.len() - 1].to_ascii_lowercase())
        }
        Token::Text(_) | Token::Symbol(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(sql: &str) -> Tokens<'_> {
        Tokens::new(sql.as_bytes(), true)
    }

    #[test]
    fn names_of_locks_are_read_where_nothing_else_happens() {
        for sql in [
            "SELECT GET_LOCK('a', 10)",
            "select get_lock('A', -1) as got;",
            "DO GET_LOCK ( 'a' , ? )",
            "/* why */ SELECT GET_LOCK('a', 0.5) got",
        ] {
            assert_eq!(lock_name(tokens(sql), "GET_LOCK").as_deref(), Some(&b"a"[..]), "{sql}");
        }
        for sql in [
            "SELECT GET_LOCK(?, 1)",
            "SELECT GET_LOCK(@name, 1)",
            "SELECT GET_LOCK('a' 'b', 1)",
            "SELECT GET_LOCK('a\\'', 1)",
            "SELECT GET_LOCK('it''s', 1)",
            "SELECT GET_LOCK(\"a\", 1)",
            "SELECT GET_LOCK(CONCAT('a', 'b'), 1)",
            "SELECT GET_LOCK('a', SLEEP(1))",
            "SELECT GET_LOCK('a', 1), GET_LOCK('b', 1)",
            "SELECT GET_LOCK('a', 1) FROM t",
            "SELECT GET_LOCK('a', 1) AS got FROM t",
            "SELECT 1 + GET_LOCK('a', 1)",
            "SELECT GET_LOCK('a', 1",
            "INSERT INTO t VALUES (GET_LOCK('a', 1))",
        ] {
            assert_eq!(lock_name(tokens(sql), "GET_LOCK"), None, "{sql}");
        }
    }

    #[test]
    fn a_lock_is_held_until_it_is_released_as_often_as_it_was_taken() {
        let mut held = Holdings::default();
        for _ in 0..2 {
            held.lock_taken(tokens("SELECT GET_LOCK('a', 1)"));
        }
        held.lock_released(tokens("SELECT RELEASE_LOCK('b')"));
        held.lock_released(tokens("SELECT RELEASE_LOCK('A')"));
        assert_eq!(held.blocker(), Some(MigrationBlocker::UserLocks));
        held.lock_released(tokens("SELECT RELEASE_LOCK('a') AS released"));
        assert!(held.is_empty());
        held.lock_taken(tokens("SELECT GET_LOCK(?, 1)"));
        held.lock_released(tokens("SELECT RELEASE_LOCK(?)"));
        assert!(!held.is_empty(), "nobody knows which one that was");
        held.all_locks_released();
        assert!(held.is_empty());
    }

    #[test]
    fn handlers_are_closed_by_their_names() {
        let mut held = Holdings::default();
        for sql in ["HANDLER t OPEN", "HANDLER shop.`T` OPEN AS x", "HANDLER u OPEN y"] {
            held.handler(tokens(sql));
        }
        for sql in ["HANDLER t READ FIRST", "HANDLER x CLOSE", "HANDLER `Y` CLOSE"] {
            held.handler(tokens(sql));
            assert_eq!(held.blocker(), Some(MigrationBlocker::Handler), "{sql}");
        }
        held.handler(tokens("HANDLER T CLOSE"));
        assert!(held.is_empty());
    }

    #[test]
    fn an_xa_transaction_ends_with_its_commit_or_rollback() {
        let mut held = Holdings::default();
        for end in ["XA COMMIT 'a' ONE PHASE", "XA ROLLBACK 'a'"] {
            for sql in ["XA START 'a'", "XA END 'a'", "XA PREPARE 'a'", "XA RECOVER"] {
                held.xa(tokens(sql));
                assert_eq!(held.blocker(), Some(MigrationBlocker::Xa), "{sql}");
            }
            held.xa(tokens(end));
            assert!(held.is_empty(), "{end}");
        }
        held.xa(tokens("XA RECOVER"));
        assert!(held.is_empty());
    }
}
