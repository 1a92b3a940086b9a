//! What kind of statement a text is, in one pass and without allocating.
//!
//! This is no parser. It answers what failover needs to know: may the statement be run again if its
//! answer got lost, may it end a transaction, and does it leave something in the session that must
//! be carried to another server, or that cannot be. Whatever it does not recognise counts as a write
//! with consequences: the safe side.
//!
//! Strings, quoted names and comments are skipped; the contents of `/*! */` and `/*M! */` are read,
//! because servers execute them.

use super::functions;
pub(crate) use super::traits::Traits;

/// What a statement begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// SELECT, VALUES, TABLE, or a parenthesis.
    Select,
    /// WITH: a SELECT, or a write.
    With,
    /// SHOW, EXPLAIN, DESCRIBE, HELP, CHECKSUM: reads that leave nothing behind.
    Show,
    /// INSERT, UPDATE, DELETE, REPLACE, LOAD: work inside a transaction.
    Write,
    /// DO.
    Do,
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK of the whole transaction.
    Rollback,
    /// SAVEPOINT, RELEASE SAVEPOINT, ROLLBACK TO.
    Savepoint,
    /// SET, but for SET STATEMENT.
    Set,
    /// USE.
    Use,
    /// CREATE TEMPORARY TABLE.
    CreateTemporary,
    /// DROP TABLE, with or without TEMPORARY.
    DropTable,
    /// PREPARE name FROM.
    Prepare,
    /// EXECUTE, EXECUTE IMMEDIATE.
    Execute,
    /// DEALLOCATE PREPARE, DROP PREPARE.
    Deallocate,
    /// LOCK TABLES.
    LockTables,
    /// UNLOCK TABLES.
    UnlockTables,
    /// FLUSH.
    Flush,
    /// HANDLER.
    Handler,
    /// XA.
    Xa,
    /// CALL.
    Call,
    /// KILL.
    Kill,
    /// ALTER, CREATE, DROP and their like: refused whole, or carried out whole.
    Definition,
    /// SET STATEMENT ... FOR: sets variables for one statement.
    SetStatement,
    /// Everything else: may write, may end a transaction.
    Other,
}

/// What a statement is, as far as failover is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) verb: Verb,
    pub(crate) traits: Traits,
}

impl Statement {
    /// Something that may do anything.
    pub(crate) const UNKNOWN: Self = Self { verb: Verb::Other, traits: Traits::NONE };

    /// Reads a statement's text. `backslash_escapes` is off in sessions with NO_BACKSLASH_ESCAPES.
    pub(crate) fn classify(sql: &[u8], backslash_escapes: bool) -> Self {
        let mut tokens = Tokens { sql, at: 0, backslash_escapes, conditional: false };
        let Some(first) = tokens.next() else { return Self::UNKNOWN };
        let verb = match first {
            // A version decides whether the server reads this word at all.
            Token::Word(word) if tokens.conditional => match verb_of(word, tokens.clone()) {
                verb @ (Verb::Set | Verb::Use | Verb::Kill) => verb,
                _ => Verb::Other,
            },
            Token::Word(word) => verb_of(word, tokens.clone()),
            Token::Symbol(b'(') => Verb::Select,
            Token::Symbol(_) | Token::Text(_) => Verb::Other,
        };
        Self { verb, traits: traits_of(tokens) }
    }

    /// Whether it may be run again when its answer got lost: it changes nothing that outlasts the
    /// session, and running it twice leaves the session as running it once.
    pub(crate) fn is_repeatable(self) -> bool {
        if self.traits.has(Traits::SEVERAL) {
            return false;
        }
        match self.verb {
            Verb::Select | Verb::Show | Verb::Set => !self.has_consequences(),
            Verb::With => !self.has_consequences() && !self.traits.has(Traits::WRITES),
            Verb::Begin | Verb::Use | Verb::Prepare | Verb::Deallocate => true,
            _ => false,
        }
    }

    /// Whether it is this, and nothing more.
    pub(crate) fn is_only(self, verb: Verb) -> bool {
        self.verb == verb && !self.traits.has(Traits::SEVERAL)
    }

    /// Whether the refusal of a fenced master proves that nothing of it was executed: a procedure,
    /// a batch or a compound statement may have committed its beginning.
    pub(crate) fn is_refused_whole(self) -> bool {
        !self.traits.has(Traits::SEVERAL)
            && matches!(
                self.verb,
                Verb::Select
                    | Verb::With
                    | Verb::Show
                    | Verb::Write
                    | Verb::Do
                    | Verb::Begin
                    | Verb::Commit
                    | Verb::Rollback
                    | Verb::Savepoint
                    | Verb::Set
                    | Verb::Use
                    | Verb::CreateTemporary
                    | Verb::DropTable
                    | Verb::Definition
                    | Verb::LockTables
                    | Verb::UnlockTables
            )
    }

    /// Whether a function or a clause of it does more than read.
    fn has_consequences(self) -> bool {
        (self.verb != Verb::Set && self.traits.has(Traits::ASSIGNS))
            || self.traits.has(Traits::INTO)
            || self.traits.has(Traits::TAKES_LOCK)
            || self.traits.has(Traits::RELEASES_LOCKS)
            || self.traits.has(Traits::ACTS)
    }

    /// Whether it may end an open transaction with a commit, so that its lost answer leaves the
    /// outcome unknown.
    pub(crate) fn may_commit(self) -> bool {
        if self.traits.has(Traits::SEVERAL) {
            return true;
        }
        match self.verb {
            Verb::Select
            | Verb::With
            | Verb::Show
            | Verb::Write
            | Verb::Do
            | Verb::Rollback
            | Verb::Savepoint
            | Verb::Use
            | Verb::Handler
            | Verb::Prepare
            | Verb::Kill
            | Verb::Deallocate => false,
            // SET autocommit = 1 commits.
            _ => true,
        }
    }

    /// Whether it leaves nothing in the session that has to be looked into.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        let usual = match self.verb {
            // FOR UPDATE, REPLACE() and functions leave nothing in a session.
            Verb::Select | Verb::With | Verb::Show => {
                Traits::WRITES.0
                    | Traits::LOCKS.0
                    | Traits::ACTS.0
                    | Traits::TRACKING.0
                    | Traits::ACCESS_MODE.0
                    | Traits::DIAGNOSES.0
            }
            Verb::Write => {
                Traits::WRITES.0
                    | Traits::DIAGNOSES.0
                    | Traits::INTO.0
                    | Traits::LOCKS.0
                    | Traits::ACTS.0
                    | Traits::TRACKING.0
            }

            _ => return false,
        };
        self.traits.0 & !usual == 0
    }
}

fn verb_of(first: &[u8], mut rest: Tokens<'_>) -> Verb {
    let mut next = || match rest.next() {
        Some(Token::Word(word)) => word,
        _ => &b""[..],
    };
    match Keyword(first) {
        k if k.is("SELECT") || k.is("VALUES") || k.is("TABLE") => Verb::Select,
        k if k.is("WITH") => Verb::With,
        k if k.is("INSERT") || k.is("UPDATE") || k.is("DELETE") || k.is("REPLACE") => Verb::Write,
        k if k.is("SHOW") || k.is("EXPLAIN") || k.is("DESCRIBE") || k.is("DESC") => Verb::Show,
        k if k.is("HELP") || k.is("CHECKSUM") => Verb::Show,
        // BEGIN NOT ATOMIC is a compound statement.
        k if k.is("BEGIN") && !Keyword(next()).is("NOT") => Verb::Begin,
        k if k.is("START") && Keyword(next()).is("TRANSACTION") => Verb::Begin,
        k if k.is("COMMIT") => Verb::Commit,
        k if k.is("ROLLBACK") => {
            let mut word = Keyword(next());
            if word.is("WORK") {
                word = Keyword(next());
            }
            match word.0 {
                b"" => Verb::Rollback,
                _ if word.is("TO") => Verb::Savepoint,
                _ => Verb::Other, // AND CHAIN begins another transaction, RELEASE ends the session
            }
        }
        k if k.is("SAVEPOINT") || k.is("RELEASE") => Verb::Savepoint,
        k if k.is("SET") => {
            if Keyword(next()).is("STATEMENT") {
                Verb::SetStatement
            } else {
                Verb::Set
            }
        }
        k if k.is("USE") => Verb::Use,
        k if k.is("CREATE") => {
            let mut word = Keyword(next());
            if word.is("OR") {
                next();
                word = Keyword(next());
            }
            if word.is("TEMPORARY") { Verb::CreateTemporary } else { Verb::Definition }
        }
        k if k.is("DROP") => match Keyword(next()) {
            word if word.is("TABLE") || word.is("TABLES") || word.is("TEMPORARY") => {
                Verb::DropTable
            }
            word if word.is("PREPARE") => Verb::Deallocate,
            _ => Verb::Definition,
        },
        k if k.is("ALTER") || k.is("TRUNCATE") || k.is("RENAME") => Verb::Definition,
        k if k.is("GRANT") || k.is("REVOKE") => Verb::Definition,
        k if k.is("LOAD") && !Keyword(next()).is("INDEX") => Verb::Write,
        k if k.is("DO") => Verb::Do,
        k if k.is("PREPARE") => Verb::Prepare,
        k if k.is("EXECUTE") => Verb::Execute,
        k if k.is("DEALLOCATE") => Verb::Deallocate,
        k if k.is("LOCK") => Verb::LockTables,
        k if k.is("UNLOCK") => Verb::UnlockTables,
        k if k.is("FLUSH") => Verb::Flush,
        k if k.is("HANDLER") => Verb::Handler,
        k if k.is("XA") => Verb::Xa,
        k if k.is("CALL") => Verb::Call,
        k if k.is("KILL") => Verb::Kill,
        _ => Verb::Other,
    }
}

fn traits_of(tokens: Tokens<'_>) -> Traits {
    let mut traits = Traits::default();
    let mut semicolon = false;
    let mut before = Token::Symbol(0);
    let mut qualified = false; // the word before belongs to somebody: `shop.price`
    for token in tokens {
        if semicolon {
            traits.add(Traits::SEVERAL);
            semicolon = false;
        }
        if token == Token::Symbol(b'(')
            && (qualified || !functions::is_harmless_before_parenthesis(before))
        {
            traits.add(Traits::ACTS);
        }
        qualified = before == Token::Symbol(b'.') && matches!(token, Token::Word(_));
        before = token;
        match token {
            Token::Symbol(b';') => semicolon = true,
            Token::Symbol(b'=') => traits.add(Traits::ASSIGNS),
            Token::Symbol(_) | Token::Text(_) => {}
            Token::Word(word) => traits.add(Traits::of_word(word)),
        }
    }
    traits
}

/// A word, compared without regard to case.
#[derive(Clone, Copy)]
pub(crate) struct Keyword<'a>(pub(crate) &'a [u8]);

impl Keyword<'_> {
    #[inline]
    pub(crate) fn is(self, keyword: &str) -> bool {
        self.0.eq_ignore_ascii_case(keyword.as_bytes())
    }

    pub(super) fn begins_with(self, keyword: &str) -> bool {
        self.0.get(..keyword.len()).is_some_and(|front| Keyword(front).is(keyword))
    }
}

/// A piece of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A keyword, a name, a number, or a variable without its `@`.
    Word(&'a [u8]),
    /// A quoted string or name, with its quotes.
    Text(&'a [u8]),
    /// One of `( ) , ; @ . = + - * / ?` ...; `:=` comes as `=`, a plain `=` as `~`.
    Symbol(u8),
}

impl Token<'_> {
    /// The symbol that stands for a plain `=`.
    pub(crate) const EQUALS: u8 = b'~';
}

/// Cuts a statement into tokens.
#[derive(Clone)]
pub(crate) struct Tokens<'a> {
    sql: &'a [u8],
    at: usize,
    backslash_escapes: bool,
    /// Inside `/*! */`, whose end is just another space.
    conditional: bool,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(sql: &'a [u8], backslash_escapes: bool) -> Self {
        Self { sql, at: 0, backslash_escapes, conditional: false }
    }

    /// Where the next token would be looked for.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.sql.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_past(&mut self, end: &[u8]) {
        let rest = &self.sql[self.at..];
        self.at = rest
            .windows(end.len())
            .position(|window| window == end)
            .map_or(self.sql.len(), |found| self.at + found + end.len());
    }

    /// Skips a comment, or enters a conditional one. False when there is none here.
    fn comment(&mut self) -> bool {
        match (self.peek(0), self.peek(1), self.peek(2)) {
            (b'#', ..) => self.skip_past(b"\n"),
            (b'-', b'-', c) if c <= b' ' => self.skip_past(b"\n"),
            (b'/', b'*', b'!') => self.enter_conditional(3),
            (b'/', b'*', b'M') if self.peek(3) == b'!' => self.enter_conditional(4),
            (b'/', b'*', _) => {
                self.at += 2;
                self.skip_past(b"*/");
            }
            (b'*', b'/', _) if self.conditional => {
                self.at += 2;
                self.conditional = false;
            }
            _ => return false,
        }
        true
    }

    fn enter_conditional(&mut self, marker: usize) {
        self.at += marker;
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
        self.conditional = true;
    }

    fn quoted(&mut self, quote: u8) -> Token<'a> {
        let start = self.at;
        self.at += 1;
        while self.at < self.sql.len() {
            let byte = self.sql[self.at];
            self.at += 1;
            if byte == b'\\' && self.backslash_escapes && quote != b'`' {
                self.at += 1;
            } else if byte == quote {
                if self.peek(0) != quote {
                    break;
                }
                self.at += 1;
            }
        }
        self.at = self.at.min(self.sql.len());
        Token::Text(&self.sql[start..self.at])
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let byte = *self.sql.get(self.at)?;
            match byte {
                0..=b' ' => self.at += 1,
                b'#' | b'-' | b'/' | b'*' if self.comment() => {}
                b'\'' | b'"' | b'`' => return Some(self.quoted(byte)),
                b':' if self.peek(1) == b'=' => {
                    self.at += 2;
                    return Some(Token::Symbol(b'='));
                }
                b'=' => {
                    self.at += 1;
                    return Some(Token::Symbol(Token::EQUALS));
                }
                _ if is_word(byte) => {
                    let start = self.at;
                    while is_word(self.peek(0)) {
                        self.at += 1;
                    }
                    return Some(Token::Word(&self.sql[start..self.at]));
                }
                _ => {
                    self.at += 1;
                    return Some(Token::Symbol(byte));
                }
            }
        }
    }
}

#[inline]
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn classify(sql: &str) -> Statement {
        Statement::classify(sql.as_bytes(), true)
    }

    #[test]
    fn verbs_are_found_behind_comments_and_in_conditional_ones() {
        for (sql, verb) in [
            ("select 1", Verb::Select),
            ("  /* hint */ -- line\n # other\n SeLeCt 1", Verb::Select),
            ("(select 1) union (select 2)", Verb::Select),
            ("/*!40101 SET NAMES utf8 */", Verb::Set),
            ("/*M!100100 INSERT INTO t VALUES (1) */", Verb::Other),
            ("start transaction read only", Verb::Begin),
            ("start slave", Verb::Other),
            ("rollback work to savepoint a", Verb::Savepoint),
            ("rollback and chain", Verb::Other),
            ("rollback work", Verb::Rollback),
            ("rollback;", Verb::Rollback),
            ("begin not atomic select 1; end", Verb::Other),
            ("begin", Verb::Begin),
            ("create or replace temporary table t (a int)", Verb::CreateTemporary),
            ("create table t (a int)", Verb::Definition),
            ("drop temporary table t", Verb::DropTable),
            ("drop prepare s", Verb::Deallocate),
            ("set statement max_statement_time=1 for select 1", Verb::SetStatement),
            ("load data local infile 'x' into table t", Verb::Write),
            ("", Verb::Other),
            ("--", Verb::Other),
        ] {
            assert_eq!(classify(sql).verb, verb, "{sql}");
        }
    }

    #[test]
    fn only_what_changes_nothing_is_repeated() {
        for sql in [
            "select * from t where a = 'x; delete from t' for update",
            "select `insert`, \"get_lock\" from t",
            "show tables",
            "begin",
            "set @a = 1",
            "set @a := 1, sql_mode = concat(@@sql_mode, ',ANSI')",
            "select count(*), max(a), coalesce(sum(b), 0) from (select 1) as t where a in (1, 2)",
            "select now(), date_format(d, '%Y'), cast(a as char(10)) from t use index (i)",
            "select row_number() over (partition by a) from t where exists (select 1)",
            "use shop",
            "select 1;",
            "select 'it''s \\' into @a'",
        ] {
            assert!(classify(sql).is_repeatable(), "{sql}");
        }
        for sql in [
            "insert into t values (1)",
            "select @a := 1",
            "select 1 into @a",
            "select a from t into outfile '/tmp/x'",
            "select get_lock('x', 1)",
            "select nextval(s)",
            "select next value for s",
            "with c as (select 1) delete from t",
            "select next_invoice_number()",
            "select shop.price(1)",
            "select sleep(1)",
            "set @a = f()",
            "explain select 1 into @a",
            "/*!99999 select 1, */ update t set a = 1",
            "rollback and chain",
            "select 1; select 2",
            "select 1; /* then */ delete from t",
            "call p()",
            "commit",
            "execute s",
            "select /*! 1 into @a */",
            "optimize table t",
        ] {
            assert!(!classify(sql).is_repeatable(), "{sql}");
        }
    }

    #[test]
    fn what_may_commit_is_never_taken_for_rolled_back() {
        for sql in [
            "commit",
            "alter table t add b int",
            "begin",
            "set autocommit=1",
            "call p()",
            "insert into t values (1); commit",
        ] {
            assert!(classify(sql).may_commit(), "{sql}");
        }
        for sql in [
            "insert into t values (1)",
            "select 1",
            "update t set a = 1",
            "rollback",
            "savepoint a",
        ] {
            assert!(!classify(sql).may_commit(), "{sql}");
        }
    }

    #[test]
    fn without_backslash_escapes_a_backslash_is_a_letter() {
        let sql = br"select '\', 1 into @a";
        assert!(!Statement::classify(sql, false).is_repeatable());
        assert!(Statement::classify(sql, true).is_repeatable());
    }

    #[test]
    fn plain_statements_are_the_usual_ones() {
        for sql in [
            "select c from t where id=1",
            "insert into t values (1)",
            "update t set a=1 where b=2",
            "delete from t",
        ] {
            let statement = classify(sql);
            assert!(statement.is_plain(), "{sql} {statement:?}");
        }
        assert!(!classify("select get_lock('a', 1)").is_plain());
        assert!(!classify("set names utf8").is_plain());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(sql: Vec<u8>, escapes: bool) {
            let _ = Statement::classify(&sql, escapes);
            prop_assert!(Tokens::new(&sql, escapes).count() <= sql.len());
        }
    }
}
