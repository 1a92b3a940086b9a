//! What was typed.
//!
//! Statements are told apart by their words, in any case; comments and a closing `;` do not count.
//! Besides the console's own statements there is what client programs say without being asked: they
//! set character sets and read a few variables before the first prompt appears.

use crate::failover::Release;

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// Something that is answered from what is known, and changes nothing.
    Question(Question),
    /// Something that is to be done.
    Order(Order),
}

/// What changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// `SWITCHOVER TO name [FORCE]`
    Switchover(Target),
    /// `FAILOVER TO name [FORCE]`
    Failover(Target),
    /// `PAUSE`
    Pause,
    /// `RESUME`
    Resume,
    /// `RELEASE name [MERGE [FORCE] | DISCARD]`
    Release {
        /// As it was typed, without quotes.
        name: String,
        how: Release,
    },
    /// `KILL id`: a client's session, by the id that `SHOW SESSIONS` shows.
    Kill(u64),
    /// `SHUTDOWN`
    Shutdown,
}

/// A master that is to become active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As it was typed, without quotes.
    pub(super) name: String,
    pub(super) force: bool,
}

/// What changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// `SHOW MASTERS`
    Masters,
    /// `SHOW REPLICAS`
    Replicas,
    /// `SHOW READS`
    Reads,
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
    /// `SHOW STRANDED [name]`: of one master, its name in capitals, or of all.
    Stranded(Option<String>),
    /// `SHOW CHECKS`
    Checks,
    /// `SHOW LOST WRITES`
    LostWrites,
    /// `SHOW EVENTS [AFTER number] [LIMIT count]`
    Events {
        /// Only what came after the event of this number.
        after: u64,
        /// Only the last so many.
        limit: Option<usize>,
    },
    /// `SELECT` of variables, functions and literals.
    Select(Vec<Item>),
    /// What clients say for form's sake (`SET NAMES …`): answered OK, means nothing here.
    Ignored,
    /// Nothing but blanks and comments.
    Empty,
    /// A statement of the design that this version does not carry out yet.
    NotBuilt(&'static str),
    /// A statement that there is, with its words not in order; how it is written.
    Malformed(&'static str),
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
pub(super) const KNOWN: &str = "SHOW MASTERS, SHOW REPLICAS, SHOW READS, SHOW SLAVE STATUS, SHOW TERMS, \
                                SHOW EVENTS, SHOW CHECKS, SHOW LOST WRITES, SHOW STRANDED, SHOW SESSIONS, \
                                SHOW LOGINS, \
                                SHOW STATS, SHOW CONFIG, SWITCHOVER TO name, FAILOVER TO name, \
                                RELEASE name, PAUSE, RESUME, KILL id, SHUTDOWN";

/// How statements are written that take something.
const WRITTEN: &[(&str, &str)] = &[
    ("SHOW EVENTS", "SHOW EVENTS [AFTER number] [LIMIT count]"),
    ("SWITCHOVER", "SWITCHOVER TO name [FORCE]"),
    ("FAILOVER", "FAILOVER TO name [FORCE]"),
    ("SHOW LOST", "SHOW LOST WRITES"),
    ("SHOW STRANDED", "SHOW STRANDED [name]"),
    ("RELEASE", "RELEASE name [MERGE [FORCE] | DISCARD]"),
    ("PAUSE", "PAUSE"),
    ("RESUME", "RESUME"),
    ("KILL QUERY", "KILL id; an order that is under way is carried out to its end"),
    ("KILL", "KILL id, with an id of SHOW SESSIONS"),
    ("SHUTDOWN", "SHUTDOWN"),
];

/// Statements of the design that are not built yet, by their first words.
const NOT_BUILT: &[&str] = &["RELOAD"];

/// What clients say for form's sake.
const IGNORED: &[&str] = &["SET", "USE", "BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK"];

impl Statement {
    /// Understands `text`.
    pub(super) fn parse(text: &str) -> Self {
        let text = without_comments(text);
        let text = text.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        let typed: Vec<&str> = text.split_whitespace().collect();
        let words: Vec<String> = typed.iter().map(|word| word.to_ascii_uppercase()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match order(&words, &typed) {
            Some(order) => Self::Order(order),
            None => Self::Question(question(&words, text)),
        }
    }
}

/// The order that `words` are, which were `typed` so.
fn order(words: &[&str], typed: &[&str]) -> Option<Order> {
    let target = |force| Target { name: unquoted(typed[2]).to_owned(), force };
    let release = |how| Order::Release { name: unquoted(typed[1]).to_owned(), how };
    Some(match words {
        ["SWITCHOVER", "TO", _] => Order::Switchover(target(false)),
        ["SWITCHOVER", "TO", _, "FORCE"] => Order::Switchover(target(true)),
        ["FAILOVER", "TO", _] => Order::Failover(target(false)),
        ["FAILOVER", "TO", _, "FORCE"] => Order::Failover(target(true)),
        ["RELEASE", _] | ["RELEASE", _, "MERGE"] => release(Release::Merge { force: false }),
        ["RELEASE", _, "MERGE", "FORCE"] => release(Release::Merge { force: true }),
        ["RELEASE", _, "DISCARD"] => release(Release::Discard),
        ["PAUSE"] => Order::Pause,
        ["RESUME"] => Order::Resume,
        ["KILL", id] | ["KILL", "CONNECTION", id] => Order::Kill(number(id)?),
        ["SHUTDOWN"] => Order::Shutdown,
        _ => return None,
    })
}

fn question(words: &[&str], text: &str) -> Question {
    match words {
        [] => Question::Empty,
        ["SHOW", "MASTERS"] => Question::Masters,
        ["SHOW", "REPLICAS"] => Question::Replicas,
        ["SHOW", "READS"] => Question::Reads,
        ["SHOW", "SLAVE", "STATUS"] | ["SHOW", "ALL", "SLAVES", "STATUS"] => {
            Question::Replication(Spelling::Slave)
        }
        ["SHOW", "REPLICA", "STATUS"] | ["SHOW", "ALL", "REPLICAS", "STATUS"] => {
            Question::Replication(Spelling::Replica)
        }
        ["SHOW", "TERMS"] => Question::Terms,
        ["SHOW", "SESSIONS" | "PROCESSLIST"] | ["SHOW", "FULL", "PROCESSLIST"] => {
            Question::Sessions
        }
        ["SHOW", "LOGINS"] => Question::Logins,
        ["SHOW", "STATS"] => Question::Stats,
        ["SHOW", "CONFIG"] => Question::Config,
        ["SHOW", "CHECKS"] => Question::Checks,
        ["SHOW", "LOST", "WRITES"] => Question::LostWrites,
        ["SHOW", "STRANDED"] => Question::Stranded(None),
        ["SHOW", "STRANDED", name] => Question::Stranded(Some(unquoted(name).to_owned())),
        ["SHOW", "EVENTS", which @ ..] => events(which).unwrap_or_else(|| unknown(words)),
        ["SELECT", ..] => {
            select(&text["SELECT".len()..]).map_or(Question::Unknown, Question::Select)
        }
        words => unknown(words),
    }
}

/// `[AFTER number] [LIMIT count]`
fn events(which: &[&str]) -> Option<Question> {
    let (after, which) = match which {
        ["AFTER", after, rest @ ..] => (number(after)?, rest),
        _ => (0, which),
    };
    let limit = match which {
        [] => None,
        ["LIMIT", limit] => Some(number(limit)?),
        _ => return None,
    };
    Some(Question::Events { after, limit })
}

/// Words that are no statement, judged by the first of them.
fn unknown(words: &[&str]) -> Question {
    let written = WRITTEN.iter().find(|(head, _)| begins(words, head));
    if let Some((_, written)) = written {
        return Question::Malformed(written);
    }
    match NOT_BUILT.iter().find(|head| begins(words, head)) {
        Some(order) => Question::NotBuilt(order),
        None if IGNORED.iter().any(|head| begins(words, head)) => Question::Ignored,
        None => Question::Unknown,
    }
}

/// Digits, and nothing else.
fn number<T: std::str::FromStr>(word: &str) -> Option<T> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

/// A name without the quotes around it, of any kind.
fn unquoted(name: &str) -> &str {
    let inside = |quote| name.strip_prefix(quote)?.strip_suffix(quote);
    ['`', '\'', '"'].into_iter().find_map(inside).unwrap_or(name)
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

    /// What is said of a statement that begins so and goes on wrongly.
    fn malformed(head: &str) -> Question {
        let written = WRITTEN.iter().find(|(known, _)| *known == head);
        Question::Malformed(written.expect(head).1)
    }

    #[test]
    fn statements_are_known_in_any_dress() {
        for (text, statement) in [
            ("show masters", Question::Masters),
            ("  SHOW\n\tMasters ; ", Question::Masters),
            ("/* who */ SHOW MASTERS -- really", Question::Masters),
            ("SHOW MASTERS; # now\n", Question::Masters),
            ("SHOW /* unfinished", Question::Unknown),
            ("SHOW REPLICAS", Question::Replicas),
            ("SHOW READS", Question::Reads),
            ("SHOW SLAVE STATUS", Question::Replication(Spelling::Slave)),
            ("SHOW ALL SLAVES STATUS", Question::Replication(Spelling::Slave)),
            ("SHOW REPLICA STATUS", Question::Replication(Spelling::Replica)),
            ("SHOW ALL REPLICAS STATUS", Question::Replication(Spelling::Replica)),
            ("SHOW TERMS", Question::Terms),
            ("SHOW SESSIONS", Question::Sessions),
            ("show logins", Question::Logins),
            ("Show lost writes;", Question::LostWrites),
            ("SHOW LOST", malformed("SHOW LOST")),
            ("SHOW FULL PROCESSLIST", Question::Sessions),
            ("SHOW STATS", Question::Stats),
            ("SHOW CONFIG", Question::Config),
            ("SHOW EVENTS", Question::Events { after: 0, limit: None }),
            ("show events limit 5", Question::Events { after: 0, limit: Some(5) }),
            ("SHOW EVENTS AFTER 9 LIMIT 1;", Question::Events { after: 9, limit: Some(1) }),
            ("SHOW EVENTS LIMIT 1 AFTER 9", malformed("SHOW EVENTS")),
            ("SHOW EVENTS LIMIT many", malformed("SHOW EVENTS")),
            ("SHOW EVENTS LIMIT +5", malformed("SHOW EVENTS")),
            ("SWITCHOVER m2", malformed("SWITCHOVER")),
            ("SWITCHOVER TO m2 NOW", malformed("SWITCHOVER")),
            ("FAILOVER", malformed("FAILOVER")),
            ("PAUSE 5", malformed("PAUSE")),
            ("KILL m1", malformed("KILL")),
            ("KILL -1", malformed("KILL")),
            ("KILL 99999999999999999999999", malformed("KILL")),
            ("KILL QUERY 7", malformed("KILL QUERY")),
            ("RELOAD", Question::NotBuilt("RELOAD")),
            ("SHOW STRANDED", Question::Stranded(None)),
            ("show stranded `m1`", Question::Stranded(Some("M1".to_owned()))),
            ("RELEASE", Question::Malformed("RELEASE name [MERGE [FORCE] | DISCARD]")),
            ("reload", Question::NotBuilt("RELOAD")),
            ("SET NAMES utf8mb4", Question::Ignored),
            ("START TRANSACTION READ ONLY", Question::Ignored),
            ("SHOW MASTERS NOW", Question::Unknown),
            ("SETTLE", Question::Unknown),
            ("DROP TABLE t", Question::Unknown),
            ("select $$", Question::Unknown),
            ("SELECT * FROM t", Question::Unknown),
            ("-- nothing", Question::Empty),
            (";", Question::Empty),
            ("", Question::Empty),
        ] {
            assert_eq!(Statement::parse(text), Statement::Question(statement), "{text:?}");
        }
    }

    #[test]
    fn orders_are_known_in_any_dress() {
        let target = |name: &str, force| Target { name: name.to_owned(), force };
        for (text, order) in [
            ("SWITCHOVER TO m2", Order::Switchover(target("m2", false))),
            ("switchover to 'M-2' force;", Order::Switchover(target("M-2", true))),
            ("SWITCHOVER /* now */ TO `m2`", Order::Switchover(target("m2", false))),
            ("SWITCHOVER TO \"m2\"", Order::Switchover(target("m2", false))),
            ("SWITCHOVER TO 'm2", Order::Switchover(target("'m2", false))),
            ("SWITCHOVER TO force", Order::Switchover(target("force", false))),
            ("failover to m2 force;", Order::Failover(target("m2", true))),
            ("FAILOVER TO m1", Order::Failover(target("m1", false))),
            (
                "RELEASE m1",
                Order::Release { name: "m1".to_owned(), how: Release::Merge { force: false } },
            ),
            (
                "release `m1` merge force",
                Order::Release { name: "m1".to_owned(), how: Release::Merge { force: true } },
            ),
            (
                "RELEASE m1 DISCARD;",
                Order::Release { name: "m1".to_owned(), how: Release::Discard },
            ),
            ("pause", Order::Pause),
            ("RESUME;", Order::Resume),
            ("KILL 12", Order::Kill(12)),
            ("kill connection 1073741824", Order::Kill(1 << 30)),
            ("SHUTDOWN", Order::Shutdown),
        ] {
            assert_eq!(Statement::parse(text), Statement::Order(order), "{text:?}");
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
            assert_eq!(
                Statement::parse(text),
                Statement::Question(Question::Select(items)),
                "{text}"
            );
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
            proptest::prop_assert_eq!(Statement::parse(&text), Statement::Question(Question::Masters));
        }
    }
}
