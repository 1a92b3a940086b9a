//! A statement without what clients put into it: for people who look for the statement, and may not
//! see the data.
//!
//! Literals become `?`, lists of them one `?`, rows of lists one row; names, keywords and punctuation stay,
//! comments go. It is like the digest of a server's performance schema, and shorter.

use super::statement::{Keyword, Token, Tokens};

/// What is longer is cut off.
const LONGEST: usize = 400;
/// What stands behind so many words and signs is not read.
const TOKENS: usize = 4096;

/// The statement without literals.
pub(super) fn digest(sql: &[u8], backslash_escapes: bool) -> String {
    let mut pieces: Vec<&[u8]> = Vec::new();
    for (count, token) in Tokens::new(sql, backslash_escapes).enumerate() {
        if count == TOKENS {
            pieces.push("…".as_bytes());
            break;
        }
        let piece = piece(token);
        if !fold(&mut pieces, piece) {
            pieces.push(piece);
        }
    }
    join(&pieces)
}

/// Every symbol there is, at its place.
const ASCII: &[u8; 128] = &{
    let mut all = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        all[byte as usize] = byte;
        byte += 1;
    }
    all
};

/// A token as it is shown.
fn piece<'a>(token: Token<'a>) -> &'a [u8] {
    const LITERAL: &[u8] = b"?";
    match token {
        // A number, or a word that is the front of one: 0x1F, 1e9.
        Token::Word(word) if word.first().is_some_and(u8::is_ascii_digit) => LITERAL,
        Token::Word(word) => word,
        // Under ANSI_QUOTES a name may stand in double quotes; it is hidden with the strings.
        Token::Text(text) if text.first() == Some(&b'`') => text,
        Token::Text(_) => LITERAL,
        Token::Symbol(Token::EQUALS) => b"=",
        Token::Symbol(b'=') => b":=",
        Token::Symbol(symbol) => ASCII.get(usize::from(symbol)).map_or(b"", std::slice::from_ref),
    }
}

/// Leaves a piece out that only repeats what is there: `?, ?`, `(?), (?)`.
fn fold(pieces: &mut Vec<&[u8]>, next: &[u8]) -> bool {
    let ends_in = |pieces: &[&[u8]], end: &[&[u8]]| pieces.ends_with(end);
    match next {
        b"?" if ends_in(pieces, &[b"?", b","]) => {
            pieces.pop();
            true
        }
        b")" if ends_in(pieces, &[b"(", b"?", b")", b",", b"(", b"?"]) => {
            pieces.truncate(pieces.len() - 3);
            true
        }
        // The sign of a number, and a string of several parts.
        b"?" if ends_in(pieces, &[b",", b"-"]) || ends_in(pieces, &[b"(", b"-"]) => {
            pieces.pop();
            fold(pieces, next)
        }
        b"?" => ends_in(pieces, &[b"?"]),
        _ => false,
    }
}

fn join(pieces: &[&[u8]]) -> String {
    let mut text = String::new();
    let mut before: &[u8] = b"(";
    for piece in pieces {
        let tight =
            matches!(before, b"(" | b"." | b"@") || matches!(*piece, b")" | b"," | b"." | b";");
        if !tight {
            text.push(' ');
        }
        text.push_str(&String::from_utf8_lossy(piece));
        before = piece;
        if text.len() > LONGEST {
            let cut = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(cut);
            text.push('…');
            break;
        }
    }
    text
}

/// What an INSERT, a REPLACE or a LOAD writes to, as far as the text tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Insertion {
    /// `schema.table`, or the table alone where there is no schema.
    pub(super) table: String,
    /// REPLACE: it may give an existing row its key again.
    pub(super) replaces: bool,
}

/// Reads where a statement puts new rows; `None` for one that puts none, or whose answer may name a key
/// that it did not make: `LAST_INSERT_ID(expr)` says what the client asked for, and
/// `ON DUPLICATE KEY UPDATE` the key of the row that was there.
pub(super) fn insertion(
    sql: &[u8],
    schema: Option<&[u8]>,
    backslash_escapes: bool,
) -> Option<Insertion> {
    let mut tokens = Tokens::new(sql, backslash_escapes);
    let Token::Word(verb) = tokens.next()? else { return None };
    let verb = Keyword(verb);
    let (replaces, loads) = (verb.is("REPLACE"), verb.is("LOAD"));
    if !replaces && !loads && !verb.is("INSERT") {
        return None;
    }
    let names_another = |token: Token<'_>| {
        matches!(token, Token::Word(word)
            if Keyword(word).is("LAST_INSERT_ID") || Keyword(word).is("DUPLICATE"))
    };
    if tokens.clone().any(names_another) {
        return None;
    }
    let mut token = tokens.next()?;
    while let Token::Word(word) = token {
        let before_it = ["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"];
        // LOAD DATA … INFILE 'x' INTO TABLE t
        let more = if loads {
            !Keyword(word).is("TABLE")
        } else {
            before_it.iter().any(|known| Keyword(word).is(known))
        };
        if loads && !more {
            token = tokens.next()?;
            break;
        }
        if !more {
            break;
        }
        token = tokens.next()?;
        while loads && matches!(token, Token::Text(_)) {
            token = tokens.next()?;
        }
    }
    let first = name(token)?;
    let mut rest = tokens;
    let table = match (rest.next(), rest.next().and_then(name)) {
        (Some(Token::Symbol(b'.')), Some(table)) => format!("{first}.{table}"),
        _ => match schema {
            Some(schema) => format!("{}.{first}", String::from_utf8_lossy(schema)),
            None => first,
        },
    };
    Some(Insertion { table, replaces })
}

fn name(token: Token<'_>) -> Option<String> {
    match token {
        Token::Word(word) => Some(String::from_utf8_lossy(word).into_owned()),
        Token::Text(text) if text.len() >= 2 => {
            Some(String::from_utf8_lossy(&text[1..text.len() - 1]).replace("``", "`"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_put_in_is_taken_out() {
        for (sql, shown) in [
            ("INSERT INTO t (a, b) VALUES (1, 'x')", "INSERT INTO t (a, b) VALUES (?)"),
            (
                "insert  into shop.`or``der` values (-1,'it''s',NULL),(2,\"y\",NULL) -- why",
                "insert into shop.`or``der` values (?, NULL), (?, NULL)",
            ),
            ("INSERT INTO t VALUES (1,2),(3,4),(5,6)", "INSERT INTO t VALUES (?)"),
            ("REPLACE t SET a = 0x1F, b = x'41'", "REPLACE t SET a = ?, b = x ?"),
            ("INSERT INTO t VALUES (?, ?)", "INSERT INTO t VALUES (?)"),
            ("INSERT INTO t VALUES ('a' 'b', @c)", "INSERT INTO t VALUES (?, @c)"),
            ("INSERT t SELECT a.b FROM a WHERE c=1", "INSERT t SELECT a.b FROM a WHERE c = ?"),
        ] {
            assert_eq!(digest(sql.as_bytes(), true), shown, "{sql}");
        }
    }

    #[test]
    fn what_is_long_is_cut_off() {
        let names: Vec<String> = (0..1000).map(|n| format!("column_é{n}")).collect();
        let long = format!("INSERT INTO t ({}) VALUES (1)", names.join(", "));
        let shown = digest(long.as_bytes(), true);
        assert!(shown.ends_with('…') && shown.len() <= LONGEST + 4, "{}", shown.len());
        let rows = vec!["(1, 'secret')"; 100_000].join(",");
        let shown = digest(format!("INSERT INTO t VALUES {rows}").as_bytes(), true);
        assert!(shown.starts_with("INSERT INTO t VALUES (?)") && shown.ends_with('…'), "{shown}");
        assert!(shown.len() < 40, "{shown}");
    }

    #[test]
    fn the_table_is_read_where_the_key_is_of_a_new_row() {
        let of = |sql: &str| insertion(sql.as_bytes(), Some(b"app"), true).map(|i| i.table);
        for (sql, table) in [
            ("INSERT INTO t VALUES (1)", "app.t"),
            ("INSERT t VALUES (1)", "app.t"),
            ("insert low_priority ignore into shop.t (a) values (1)", "shop.t"),
            ("INSERT INTO `sh op` . `t` SET a=1", "sh op.t"),
            ("REPLACE INTO t VALUES (1)", "app.t"),
            ("LOAD DATA LOCAL INFILE 'x.csv' REPLACE INTO TABLE shop.t", "shop.t"),
            ("/* c */ INSERT INTO t(a) VALUES (1)", "app.t"),
        ] {
            assert_eq!(of(sql).as_deref(), Some(table), "{sql}");
        }
        for sql in [
            "UPDATE t SET id = LAST_INSERT_ID(id + 1)",
            "INSERT INTO t VALUES (LAST_INSERT_ID(7))",
            "INSERT INTO t VALUES (6, 1) ON DUPLICATE KEY UPDATE a = 1",
            "DELETE FROM t",
            "SELECT 1",
            "INSERT",
            "",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
        assert!(insertion(b"REPLACE t VALUES (1)", None, true).is_some_and(|i| i.replaces));
        assert_eq!(
            insertion(b"INSERT t VALUES (1)", None, true).map(|i| i.table),
            Some("t".into())
        );
    }
}
