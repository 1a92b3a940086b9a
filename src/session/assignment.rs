//! What a SET statement sets, and the names in a few others.
//!
//! Reads only what no session tracker tells: SET NAMES with its collation, user variables with
//! literal values, roles, and what SET TRANSACTION says of the next transaction. System variables
//! need no reading, the server reports them.

use super::state::is_word;
use super::statement::{Keyword, Token, Tokens};

/// One of the comma-separated parts of a SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Assignment<'a> {
    /// `NAMES x [COLLATE y]` or `CHARACTER SET x`, as written.
    Names(&'a [u8]),
    /// `@name = value`; the value's text when it is a literal.
    UserVariable {
        /// The name as written, with its `@`.
        name: &'a [u8],
        /// Its value as written.
        literal: Option<&'a [u8]>,
    },
    /// `ROLE x`, as written.
    Role(&'a [u8]),
    /// `TRANSACTION ...`, as written.
    NextTransaction(&'a [u8]),
    /// `timestamp = value`, which the server reports as the present time when it is set back; the
    /// value when it is a literal other than 0.
    Timestamp(Option<&'a [u8]>),
    /// A system variable, a password, ...: nothing to be remembered from the text.
    Variable,
}

/// The parts of a SET statement.
pub(super) fn assignments(sql: &[u8], backslash_escapes: bool) -> Vec<Assignment<'_>> {
    body(sql, backslash_escapes)
        .map_or_else(Vec::new, |body| parts(body, backslash_escapes))
        .into_iter()
        .map(|part| read(part, backslash_escapes))
        .collect()
}

/// What stands behind SET.
fn body(sql: &[u8], backslash_escapes: bool) -> Option<&[u8]> {
    let mut tokens = Tokens::new(sql, backslash_escapes);
    while !is_word(Some(tokens.next()?), "SET") {}
    let body = trim(&sql[tokens.position()..]);
    // The end of a conditional comment that began before SET.
    let body = trim(body.strip_suffix(b";").unwrap_or(body));
    Some(trim(body.strip_suffix(b"*/").unwrap_or(body)))
}

/// The names of the system variables that a SET gives values in this session.
pub(super) fn variables(sql: &[u8], backslash_escapes: bool) -> Vec<&[u8]> {
    body(sql, backslash_escapes)
        .map_or_else(Vec::new, |body| parts(body, backslash_escapes))
        .into_iter()
        .filter_map(|part| variable(Tokens::new(part, backslash_escapes)))
        .collect()
}

/// `x = `, `SESSION x = `, `@@x = `, `@@SESSION.x = `; `None` for what is none, or not the session's.
fn variable(mut tokens: Tokens<'_>) -> Option<&[u8]> {
    let mut token = tokens.next()?;
    let sigil = token == Token::Symbol(b'@');
    if sigil {
        (tokens.next()? == Token::Symbol(b'@')).then_some(())?;
        token = tokens.next()?;
    }
    let Token::Word(mut name) = token else { return None };
    if Keyword(name).is("SESSION") || Keyword(name).is("LOCAL") {
        if sigil {
            (tokens.next()? == Token::Symbol(b'.')).then_some(())?;
        }
        let Token::Word(word) = tokens.next()? else { return None };
        name = word;
    }
    // GLOBAL, NAMES and their like are followed by something else.
    matches!(tokens.next()?, Token::Symbol(b'=' | Token::EQUALS)).then_some(name)
}

/// Cuts at commas that stand outside of parentheses, and ends at a semicolon.
fn parts(body: &[u8], backslash_escapes: bool) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut tokens = Tokens::new(body, backslash_escapes);
    let (mut start, mut depth) = (0, 0_usize);
    // SET TRANSACTION separates its characteristics with commas too; they belong together.
    let whole = is_word(Tokens::new(body, backslash_escapes).next(), "TRANSACTION");
    while let Some(token) = tokens.next() {
        match token {
            Token::Symbol(b'(') => depth += 1,
            Token::Symbol(b')') => depth = depth.saturating_sub(1),
            Token::Symbol(b',') if depth == 0 && !whole => {
                parts.push(trim(&body[start..tokens.position() - 1]));
                start = tokens.position();
            }
            Token::Symbol(b';') => {
                parts.push(trim(&body[start..tokens.position() - 1]));
                return parts;
            }
            _ => {}
        }
    }
    parts.push(trim(&body[start..]));
    parts
}

fn read(part: &[u8], backslash_escapes: bool) -> Assignment<'_> {
    let mut tokens = Tokens::new(part, backslash_escapes);
    match tokens.next() {
        Some(Token::Word(word)) => match Keyword(word) {
            word if word.is("NAMES") || word.is("CHARSET") => Assignment::Names(part),
            word if word.is("CHARACTER") => Assignment::Names(part),
            word if word.is("ROLE") => Assignment::Role(part),
            word if word.is("TRANSACTION") => Assignment::NextTransaction(part),
            word if word.is("TIMESTAMP") => timestamp(part, tokens),
            word if word.is("SESSION") || word.is("LOCAL") => match tokens.next() {
                Some(Token::Word(word)) if Keyword(word).is("TIMESTAMP") => timestamp(part, tokens),
                _ => Assignment::Variable,
            },
            _ => Assignment::Variable,
        },
        Some(Token::Symbol(b'@')) => user_variable(part, tokens),
        _ => Assignment::Variable,
    }
}

/// What follows `timestamp`.
fn timestamp<'a>(part: &'a [u8], mut tokens: Tokens<'a>) -> Assignment<'a> {
    if !matches!(tokens.next(), Some(Token::Symbol(b'=' | Token::EQUALS))) {
        return Assignment::Variable;
    }
    let value = trim(&part[tokens.position()..]);
    let literal = value.first().is_some_and(|b| (b'1'..=b'9').contains(b)) && is_literal(tokens);
    Assignment::Timestamp(literal.then_some(value))
}

/// `@name`, `@'name'`, or `@@variable`, which is none.
fn user_variable<'a>(part: &'a [u8], mut tokens: Tokens<'a>) -> Assignment<'a> {
    let is_name = matches!(tokens.next(), Some(Token::Word(_) | Token::Text(_)));
    if !is_name {
        return Assignment::Variable;
    }
    let mut name_end = tokens.position();
    let mut next = tokens.next();
    while matches!(next, Some(Token::Symbol(b'.') | Token::Word(_))) {
        name_end = tokens.position(); // names may have dots in them: @a.b
        next = tokens.next();
    }
    let name = &part[..name_end];
    if !matches!(next, Some(Token::Symbol(b'=' | Token::EQUALS))) {
        return Assignment::UserVariable { name, literal: None };
    }
    let value = trim(&part[tokens.position()..]);
    let literal = is_literal(tokens).then_some(value);
    Assignment::UserVariable { name, literal }
}

/// Whether what is left is one string, number, NULL, TRUE or FALSE.
fn is_literal(mut tokens: Tokens<'_>) -> bool {
    let mut token = tokens.next();
    if matches!(token, Some(Token::Symbol(b'-' | b'+'))) {
        token = tokens.next();
    }
    match token {
        Some(Token::Text(text)) => text[0] != b'`' && tokens.next().is_none(),
        Some(Token::Word(word)) if word[0].is_ascii_digit() => {
            let mut rest =
                tokens.map(|token| matches!(token, Token::Symbol(b'.') | Token::Word(_)));
            rest.all(|of_a_number| of_a_number)
        }
        Some(Token::Word(word)) => {
            let word = Keyword(word);
            (word.is("NULL") || word.is("TRUE") || word.is("FALSE")) && tokens.next().is_none()
        }
        _ => false,
    }
}

/// The table that `CREATE TEMPORARY TABLE` makes.
pub(super) fn created_table(mut tokens: Tokens<'_>) -> Option<Vec<u8>> {
    while !is_word(Some(tokens.next()?), "TABLE") {}
    names(tokens).into_iter().next()
}

/// The tables that `DROP TABLE` drops.
pub(super) fn dropped_tables(mut tokens: Tokens<'_>) -> Vec<Vec<u8>> {
    for token in tokens.by_ref() {
        if is_word(Some(token), "TABLE") || is_word(Some(token), "TABLES") {
            break;
        }
    }
    names(tokens)
}

/// The comma-separated, possibly qualified names at the front, lower-cased and without quotes.
fn names(tokens: Tokens<'_>) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let mut name = Vec::new();
    for token in tokens {
        match token {
            Token::Word(word) => {
                let word = Keyword(word);
                if name.is_empty() && (word.is("IF") || word.is("NOT") || word.is("EXISTS")) {
                    continue;
                }
                if !name.is_empty() && name.last() != Some(&b'.') {
                    break;
                }
                name.extend(word.0.to_ascii_lowercase());
            }
            Token::Text(text) => name.extend(text[1..text.len().max(2) - 1].to_ascii_lowercase()),
            Token::Symbol(b'.') => name.push(b'.'),
            Token::Symbol(b',') => names.push(std::mem::take(&mut name)),
            Token::Symbol(_) => break,
        }
    }
    if !name.is_empty() {
        names.push(name);
    }
    names
}

/// Whether the statement is LOAD DATA or LOAD XML.
pub(super) fn is_load(mut tokens: Tokens<'_>) -> bool {
    is_word(tokens.next(), "LOAD")
}

/// The text behind FROM in `PREPARE name FROM 'text'`, without its quotes; `None` when it comes from
/// a variable.
pub(super) fn prepared_text(mut tokens: Tokens<'_>) -> Option<Vec<u8>> {
    while !is_word(Some(tokens.next()?), "FROM") {}
    match tokens.next()? {
        Token::Text(text) if text.len() >= 2 && text[0] != b'`' => {
            let mut out = Vec::with_capacity(text.len());
            let mut bytes = text[1..text.len() - 1].iter().copied().peekable();
            while let Some(byte) = bytes.next() {
                if byte == text[0] && bytes.peek() == Some(&byte) {
                    bytes.next();
                }
                out.push(byte);
            }
            Some(out)
        }
        _ => None,
    }
}

/// The name in `PREPARE name FROM`, `EXECUTE name`, `DEALLOCATE PREPARE name`, `DROP PREPARE name`.
pub(super) fn prepared_name(mut tokens: Tokens<'_>) -> Option<Vec<u8>> {
    let first = tokens.next();
    let mut name = tokens.next()?;
    if !is_word(first, "PREPARE") && !is_word(first, "EXECUTE") {
        name = tokens.next()?;
    }
    match name {
        Token::Word(name) | Token::Text(name) => {
            let quoted = name.first() == Some(&b'`') && name.len() >= 2;
            let name = if quoted { &name[1..name.len() - 1] } else { name };
            Some(name.to_ascii_lowercase())
        }
        Token::Symbol(_) => None,
    }
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(sql: &str) -> Vec<Assignment<'_>> {
        assignments(sql.as_bytes(), true)
    }

    #[test]
    fn names_with_their_collation() {
        assert_eq!(
            read_all("SET NAMES utf8mb4 COLLATE utf8mb4_bin"),
            [Assignment::Names(b"NAMES utf8mb4 COLLATE utf8mb4_bin")]
        );
        let conditional = read_all("/*!40101 set names 'latin1' */;");
        assert_eq!(conditional, [Assignment::Names(b"names 'latin1'")]);
    }

    #[test]
    fn user_variables_with_and_without_literals() {
        let known = |name, literal| Assignment::UserVariable { name, literal: Some(literal) };
        let unknown = |name| Assignment::UserVariable { name, literal: None };
        assert_eq!(
            read_all("set @a = 1, @b := 'x, y', sql_mode = '', @`c d` = -1.5, @e = null"),
            [
                known(&b"@a"[..], &b"1"[..]),
                known(b"@b", b"'x, y'"),
                Assignment::Variable,
                known(b"@`c d`", b"-1.5"),
                known(b"@e", b"null"),
            ]
        );
        assert_eq!(
            read_all(
                "set @a = (select 1, 2), @b = @a, @c = now(), @d = 1 + 1, @@session.x = 1, @e = ?"
            ),
            [
                unknown(&b"@a"[..]),
                unknown(b"@b"),
                unknown(b"@c"),
                unknown(b"@d"),
                Assignment::Variable,
                unknown(b"@e"),
            ]
        );
    }

    #[test]
    fn variables_of_the_session_by_name() {
        let sql = b"set autocommit=1, SESSION sql_mode = concat(@@sql_mode, ',ANSI'), @a = 1, \
                    @@session_track_schema := 1, @@local.time_zone = '+1:00', global x = 1, \
                    @@global.y = 2, names utf8";
        let names: [&[u8]; 4] = [b"autocommit", b"sql_mode", b"session_track_schema", b"time_zone"];
        assert_eq!(variables(sql, true), names);
    }

    #[test]
    fn the_next_transaction_and_roles() {
        assert_eq!(
            read_all("SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY"),
            [Assignment::NextTransaction(b"TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY")]
        );
        assert_eq!(read_all("SET SESSION TRANSACTION READ ONLY"), [Assignment::Variable]);
        assert_eq!(read_all("SET ROLE app"), [Assignment::Role(b"ROLE app")]);
    }

    #[test]
    fn tables_and_statements_by_name() {
        let tokens = |sql: &'static str| Tokens::new(sql.as_bytes(), true);
        let created =
            created_table(tokens("create temporary table if not exists `Shop`.T (a int)"));
        assert_eq!(created.as_deref(), Some(&b"shop.t"[..]));
        assert_eq!(dropped_tables(tokens("drop table if exists a, b.c")), [&b"a"[..], b"b.c"]);
        for sql in ["prepare S from 'select 1'", "deallocate prepare s", "drop prepare `s`"] {
            assert_eq!(prepared_name(tokens(sql)).as_deref(), Some(&b"s"[..]), "{sql}");
        }
    }
}
