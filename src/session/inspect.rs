//! The session's private readers, for tests that feed them bytes from outside.
//!
//! Fuzz targets (`fuzz/`) and the replay of their corpora (`tests/fuzz_corpus.rs`) are crates of
//! their own and see only what is public. What they ask of the statement scanner and of the session
//! state is here, and nothing else uses it: it has no part in the library's interface.

use super::kill::Kill;
use super::state::SessionState;
use super::statement::{Statement, Token, Tokens, Traits};
use crate::wire::{Command, OkPacket};

/// What the scanner says of a statement. Equal when it says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified(Statement);

impl Classified {
    /// Whether another statement follows behind a semicolon.
    #[must_use]
    pub fn is_several(self) -> bool {
        self.0.traits.has(Traits::SEVERAL)
    }

    /// Whether it may be run again when its answer got lost.
    #[must_use]
    pub fn is_repeatable(self) -> bool {
        self.0.is_repeatable()
    }

    /// Whether a refusal proves that nothing of it was executed.
    #[must_use]
    pub fn is_refused_whole(self) -> bool {
        self.0.is_refused_whole()
    }

    /// Whether it leaves nothing behind in a session.
    #[must_use]
    pub fn is_plain(self) -> bool {
        self.0.is_plain()
    }
}

/// Reads a statement's text as the relay does.
#[must_use]
pub fn classify(sql: &[u8], backslash_escapes: bool) -> Classified {
    Classified(Statement::classify(sql, backslash_escapes))
}

/// The connection that a COM_QUERY or COM_PROCESS_KILL names, and the same command naming another.
/// `None` when the command kills nothing, or there is no room for the other.
#[must_use]
pub fn aim_kill(payload: &[u8], backslash_escapes: bool, other: u32) -> Option<(u32, Vec<u8>)> {
    let command = Command::from_byte(*payload.first()?);
    let kill = Kill::read(command, payload, backslash_escapes)?;
    let mut aimed = payload.to_vec();
    kill.aim(&mut aimed, other).then_some((kill.id, aimed))
}

/// How many tokens a text has, and the words and quoted texts among them, in order.
#[must_use]
pub fn tokens(sql: &[u8], backslash_escapes: bool) -> (usize, Vec<&[u8]>) {
    let mut count = 0;
    let mut texts = Vec::new();
    for token in Tokens::new(sql, backslash_escapes) {
        count += 1;
        match token {
            Token::Word(text) | Token::Text(text) => texts.push(text),
            Token::Symbol(_) => {}
        }
    }
    (count, texts)
}

/// A session's state, as it follows from statements and their answers.
#[derive(Debug, Default)]
pub struct Followed(SessionState);

impl Followed {
    /// `sql` was answered with this OK, as the relay takes it in.
    pub fn answered(&mut self, sql: &[u8], ok: &OkPacket<'_>) {
        let statement = Statement::classify(sql, self.0.backslash_escapes());
        self.0.told(ok, statement);
        self.0.set_status(ok.status);
        self.0.executed(statement, sql);
    }

    /// Whether the session cannot move.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.0.migration_blocker().is_some()
    }

    /// Whether a backslash escapes inside strings.
    #[must_use]
    pub fn backslash_escapes(&self) -> bool {
        self.0.backslash_escapes()
    }

    /// The statements that make it again elsewhere.
    #[must_use]
    pub fn restoring_sql(&self) -> Vec<Vec<u8>> {
        self.0.restoring_sql()
    }
}
