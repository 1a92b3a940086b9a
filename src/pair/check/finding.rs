//! What a check found, and what mends it.

use std::fmt;

use serde::Serialize;

use crate::pair::facts::Facts;
use crate::topology::Flavor;

/// How much a finding matters. The order is that of weight: an error is the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; nobody has to act.
    Notice,
    /// Somebody should look at it: it will cost something some day.
    Warning,
    /// A failover would fail now, or lose or corrupt data.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        })
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The check that found it: a name that stays (`docs/check.md`).
    pub check: &'static str,
    /// The servers that it is about, in the order of the configuration. With `check` it is what makes a
    /// finding the same one as before.
    pub servers: Vec<String>,
    /// What is so.
    pub what: String,
    /// Why it matters in a pair behind a proxy: one sentence.
    pub why: String,
    /// What mends it, in this order.
    pub mend: Vec<Mend>,
}

impl Finding {
    /// About these servers; `what` is so.
    #[must_use]
    pub fn new(
        severity: Severity,
        servers: impl IntoIterator<Item = impl Into<String>>,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        let servers = servers.into_iter().map(Into::into).collect();
        // The list of checks puts the name in.
        Self { severity, check: "", servers, what: what.into(), why: why.into(), mend: Vec::new() }
    }

    /// The same, mended by these.
    #[must_use]
    pub fn mended_by(mut self, mend: impl IntoIterator<Item = Mend>) -> Self {
        self.mend.extend(mend);
        self
    }
}

/// One step of mending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Mend {
    /// A statement for the administrator of this server, to be carried out as it stands.
    Sql {
        /// The server.
        on: String,
        /// The statement, with its semicolon.
        sql: String,
    },
    /// A line under `[mysqld]` in this server's configuration file, so that a restart keeps it.
    Config {
        /// The server.
        on: String,
        /// `name = value`
        my_cnf: String,
    },
    /// What one server answers to a question, to be carried out on another, outside of its binary log.
    Copy {
        /// Who is asked.
        from: String,
        /// `SHOW CREATE TABLE …`: the last column of each row is a statement.
        show: String,
        /// Who carries it out.
        to: String,
    },
    /// What is left to people.
    Advice {
        /// What to do.
        advice: String,
    },
}

impl Mend {
    /// A statement to carry out on a server.
    #[must_use]
    pub fn sql(on: &str, statement: impl fmt::Display) -> Self {
        Self::Sql { on: on.to_owned(), sql: format!("{statement};") }
    }

    /// Statements for one server, in one session, that stay out of its binary log: the other masters
    /// have it already.
    #[must_use]
    pub fn unlogged(on: &str, statements: impl IntoIterator<Item = String>) -> Vec<Self> {
        let mut steps = vec![Self::sql(on, "SET SESSION sql_log_bin = 0")];
        steps.extend(statements.into_iter().map(|statement| Self::sql(on, statement)));
        steps.push(Self::sql(on, "SET SESSION sql_log_bin = 1"));
        steps
    }

    /// A line for a server's configuration file.
    #[must_use]
    pub fn config(on: &str, line: impl fmt::Display) -> Self {
        Self::Config { on: on.to_owned(), my_cnf: line.to_string() }
    }

    /// What is left to people.
    #[must_use]
    pub fn advice(text: impl Into<String>) -> Self {
        Self::Advice { advice: text.into() }
    }

    /// Sets a global variable that can be set while the server runs, so that it lasts: SET PERSIST on
    /// MySQL; on MariaDB, which has none, SET GLOBAL and the line of the file.
    #[must_use]
    pub fn set(facts: &Facts, name: &str, value: impl fmt::Display) -> Vec<Self> {
        match facts.flavor() {
            Flavor::MySql => {
                vec![Self::sql(&facts.name, format_args!("SET PERSIST {name} = {value}"))]
            }
            Flavor::MariaDb => vec![
                Self::sql(&facts.name, format_args!("SET GLOBAL {name} = {value}")),
                Self::config(&facts.name, format_args!("{name} = {value}")),
            ],
        }
    }

    /// Sets a variable that only a start reads.
    #[must_use]
    pub fn set_and_restart(facts: &Facts, name: &str, value: impl fmt::Display) -> Vec<Self> {
        let name_of = &facts.name;
        let setting = match facts.flavor() {
            Flavor::MySql => Self::sql(name_of, format_args!("SET PERSIST_ONLY {name} = {value}")),
            Flavor::MariaDb => Self::config(name_of, format_args!("{name} = {value}")),
        };
        let restart = format!("restart {name_of} (while it is not the active master)");
        vec![setting, Self::advice(restart)]
    }
}

impl fmt::Display for Mend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql { on, sql } => write!(f, "on {on}: {sql}"),
            Self::Config { on, my_cnf } => write!(f, "in my.cnf of {on}: {my_cnf}"),
            Self::Copy { from, show, to } => {
                write!(
                    f,
                    "on {to}, with SET SESSION sql_log_bin = 0: what {from} answers to {show}"
                )
            }
            Self::Advice { advice } => f.write_str(advice),
        }
    }
}
