//! What was typed.
//!
//! Statements are told apart by their words, in any case; comments and a closing `;` do not count.
//! Besides the console's own statements there is what client programs say without being asked: they
//! set character sets and read a few variables before the first prompt appears.

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// `SHOW MASTERS`
    Masters,
    /// `SHOW REPLICAS`
    Replicas,
    /// `SHOW SLAVE STATUS` in one of its spellings.
    Replication(Spelling),
    /// `SHOW TERMS`
    Terms,
    /// `SHOW SESSIONS`
    Sessions,
    /// `SHOW LOGINS`
    Logins,
    /// `SHOW STATS`
    Stats,
    /// `SHOW CONFIG`
    Config,
    /// `SELECT` of variables, functions and literals.
    Select(Vec<Item>),
    /// What clients say for form's sake (`SET NAMES …`): answered OK, means nothing here.
    Ignored,
    /// Nothing but blanks and comments.
    Empty,
    /// A statement of the design that this version does not carry out yet.
    NotBuilt(&'static str),
    /// Anything else.
    Unknown,
}

/// The names of the columns of replication status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `Master_Host`, `Slave_IO_Running`
    Slave,
    /// `Source_Host`, `Replica_IO_Running`
    Replica,
}

/// One expression of a `SELECT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// The column's name.
    pub(super) name: String,
    pub(super) value: Expression,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// A number or a text, without its quotes.
    Literal(String),
    /// `@@name`, without `session.` or `global.`, in lower case.
    Variable(String),
    /// `name()`, in lower case.
    Function(String),
}

/// The statements that there are, for the error of one that there is not.
pub(super) const KNOWN: &str = "SHOW MASTERS, SHOW REPLICAS, SHOW SLAVE STATUS, SHOW TERMS, \
                                SHOW SESSIONS, SHOW LOGINS, SHOW STATS, SHOW CONFIG";

/// Statements of the design that are not built yet, by their first words.
const NOT_BUILT: &[&str] = &[
    "SHOW EVENTS",
    "SWITCHOVER",
    "FAILOVER",
    "RELEASE",
    "PAUSE",
    "RESUME",
    "RELOAD",
    "KILL",
    "SHUTDOWN",
];

/// What clients say for form's sake.
const IGNORED: &[&str] = &["SET", "USE", "BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK"];

impl Statement {
    /// Understands `text`.
    pub(super) fn parse(text: &str) -> Self {
        let text = without_comments(text);
        let text = text.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        let words: Vec<String> = text.split_whitespace().map(str::to_ascii_uppercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => Self::Empty,
            ["SHOW", "MASTERS"] => Self::Masters,
            ["SHOW", "REPLICAS"] => Self::Replicas,
            ["SHOW", "SLAVE", "STATUS"] | ["SHOW", "ALL", "SLAVES", "STATUS"] => {
                Self::Replication(Spelling::Slave)
            }
            ["SHOW", "REPLICA", "STATUS"] | ["SHOW", "ALL", "REPLICAS", "STATUS"] => {
                Self::Replication(Spelling::Replica)
            }
            ["SHOW", "TERMS"] => Self::Terms,
            ["SHOW", "SESSIONS" | "PROCESSLIST"] | ["SHOW", "FULL", "PROCESSLIST"] => {
                Self::Sessions
            }
            ["SHOW", "LOGINS"] => Self::Logins,
            ["SHOW", "STATS"] => Self::Stats,
            ["SHOW", "CONFIG"] => Self::Config,
            ["SELECT", ..] => select(&text["SELECT".len()..]).map_or(Self::Unknown, Self::Select),
            words => match NOT_BUILT.iter().find(|head| begins(words, head)) {
                Some(order) => Self::NotBuilt(order),
                None if IGNORED.iter().any(|head| begins(words, head)) => Self::Ignored,
                None => Self::Unknown,
            },
        }
    }
}

fn begins(words: &[&str], head: &str) -> bool {
    let mut words = words.iter();
    head.split(' ').all(|word| words.next() == Some(&word))
}

/// `text` with blanks in place of `/* */`, `-- ` and `#` comments. Quotes are respected.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut quote = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let comment = match quote {
            Some(_) => None,
            None if rest.starts_with("/*") => {
                Some(rest[2..].find("*/").map_or(rest.len(), |end| end + 4))
            }
            None if c == '#' || is_dash_comment(rest) => {
                Some(rest.find('\n').unwrap_or(rest.len()))
            }
            None => None,
        };
        if let Some(length) = comment {
            kept.push(' ');
            rest = &rest[length..];
            continue;
        }
        if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && matches!(c, '\'' | '"' | '`') {
            quote = Some(c);
        }
        kept.push(c);
        rest = &rest[c.len_utf8()..];
    }
    kept
}

/// Two dashes begin a comment only before a blank or at the end, as in MySQL.
fn is_dash_comment(text: &str) -> bool {
    text.strip_prefix("--").is_some_and(|rest| rest.chars().next().is_none_or(char::is_whitespace))
}

/// The list of a `SELECT`; `None` if there is anything in it that the console does not know.
fn select(list: &str) -> Option<Vec<Item>> {
    let upper = list.to_ascii_uppercase();
    let list = match upper.rfind(" LIMIT ") {
        Some(at) if list[at + 7..].trim().bytes().all(|byte| byte.is_ascii_digit()) => &list[..at],
        _ => list,
    };
    split_outside_quotes(list).into_iter().map(item).collect()
}

fn split_outside_quotes(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quote) = (Vec::new(), 0, None);
    for (at, c) in list.char_indices() {
        match (quote, c) {
            (None, ',') => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

/// `expression [[AS] name]`
fn item(text: &str) -> Option<Item> {
    let text = text.trim();
    if let Some(value) = expression(text) {
        return Some(Item { name: text.to_owned(), value });
    }
    let (before, name) = text.rsplit_once(char::is_whitespace)?;
    let before = before.trim_end();
    let without_as = match before.rsplit_once(char::is_whitespace) {
        Some((expression, word)) if word.eq_ignore_ascii_case("as") => expression.trim_end(),
        _ => before,
    };
    let name = name.trim_matches(['\'', '"', '`']).to_owned();
    expression(without_as).map(|value| Item { name, value })
}

fn expression(text: &str) -> Option<Expression> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if let Some(variable) = text.strip_prefix("@@") {
        let variable = variable.to_ascii_lowercase();
        let name = ["session.", "global.", "local."]
            .iter()
            .find_map(|scope| variable.strip_prefix(scope))
            .unwrap_or(&variable)
            .trim_matches('`');
        return is_name(name).then(|| Expression::Variable(name.to_owned()));
    }
    if let Some(name) = text.strip_suffix(')').and_then(|text| text.trim_end().strip_suffix('(')) {
        let name = name.trim_end().to_ascii_lowercase();
        return is_name(&name).then_some(Expression::Function(name));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Expression::Literal(text.to_owned()));
    }
    if text.eq_ignore_ascii_case("current_user") {
        return Some(Expression::Function("current_user".to_owned()));
    }
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = text[1..].strip_suffix(quote)?;
    (!inner.contains(quote)).then(|| Expression::Literal(inner.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_known_in_any_dress() {
        for (text, statement) in [
            ("show masters", Statement::Masters),
            ("  SHOW\n\tMasters ; ", Statement::Masters),
            ("/* who */ SHOW MASTERS -- really", Statement::Masters),
            ("SHOW MASTERS; # now\n", Statement::Masters),
            ("SHOW /* unfinished", Statement::Unknown),
            ("SHOW REPLICAS", Statement::Replicas),
            ("SHOW SLAVE STATUS", Statement::Replication(Spelling::Slave)),
            ("SHOW ALL SLAVES STATUS", Statement::Replication(Spelling::Slave)),
            ("SHOW REPLICA STATUS", Statement::Replication(Spelling::Replica)),
            ("SHOW ALL REPLICAS STATUS", Statement::Replication(Spelling::Replica)),
            ("SHOW TERMS", Statement::Terms),
            ("SHOW SESSIONS", Statement::Sessions),
            ("show logins", Statement::Logins),
            ("SHOW FULL PROCESSLIST", Statement::Sessions),
            ("SHOW STATS", Statement::Stats),
            ("SHOW CONFIG", Statement::Config),
            ("SWITCHOVER TO m2", Statement::NotBuilt("SWITCHOVER")),
            ("failover to m2 force;", Statement::NotBuilt("FAILOVER")),
            ("KILL 12", Statement::NotBuilt("KILL")),
            ("SHOW EVENTS", Statement::NotBuilt("SHOW EVENTS")),
            ("SET NAMES utf8mb4", Statement::Ignored),
            ("START TRANSACTION READ ONLY", Statement::Ignored),
            ("SHOW MASTERS NOW", Statement::Unknown),
            ("SETTLE", Statement::Unknown),
            ("DROP TABLE t", Statement::Unknown),
            ("select $$", Statement::Unknown),
            ("SELECT * FROM t", Statement::Unknown),
            ("-- nothing", Statement::Empty),
            (";", Statement::Empty),
            ("", Statement::Empty),
        ] {
            assert_eq!(Statement::parse(text), statement, "{text:?}");
        }
    }

    #[test]
    fn clients_read_variables_functions_and_literals() {
        let item = |name: &str, value| Item { name: name.to_owned(), value };
        let variable = |name: &str| Expression::Variable(name.to_owned());
        let function = |name: &str| Expression::Function(name.to_owned());
        let literal = |text: &str| Expression::Literal(text.to_owned());
        for (text, items) in [
            (
                "select @@version_comment limit 1",
                vec![item("@@version_comment", variable("version_comment"))],
            ),
            (
                "SELECT @@session.tx_isolation AS iso, DATABASE(), user ( ) u",
                vec![
                    item("iso", variable("tx_isolation")),
                    item("DATABASE()", function("database")),
                    item("u", function("user")),
                ],
            ),
            ("SELECT 1", vec![item("1", literal("1"))]),
            (
                "SELECT 'a, -- b' AS `x`, \"#\"",
                vec![item("x", literal("a, -- b")), item("\"#\"", literal("#"))],
            ),
        ] {
            assert_eq!(Statement::parse(text), Statement::Select(items), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_typed_breaks_it(text in ".*") {
            let _ = Statement::parse(&text);
            let _ = Statement::parse(&format!("SELECT {text}"));
        }

        #[test]
        fn no_comment_changes_a_statement(comment in "[^*]*") {
            let text = format!("SHOW/*{comment}*/MASTERS");
            proptest::prop_assert_eq!(Statement::parse(&text), Statement::Masters);
        }
    }
}
