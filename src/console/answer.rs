//! The answer to a question, from a picture of the moment.

use std::sync::Arc;
use std::time::Instant;

use super::SessionRow;
use super::checks::checks;
use super::losses::lost_writes;
use super::reads::reads;
use super::statement::{Expression, Item, KNOWN, Question};
use super::tables::{self, Table};
use crate::config::Setting;
use crate::coordinator::{Accounts, JournalRow};
use crate::failover::Status;
use crate::pair::check::Checked;
use crate::routing::{Decision, RoutingTable};
use crate::session::StandbyLogin;
use crate::topology::Topology;

/// What is known at one moment.
pub(super) struct Picture {
    pub(super) now: Instant,
    pub(super) routing: Arc<RoutingTable>,
    pub(super) topology: Arc<Topology>,
    pub(super) settings: Arc<[Setting]>,
    pub(super) sessions: Vec<SessionRow>,
    pub(super) logins: Arc<[StandbyLogin]>,
    pub(super) reads: Arc<Decision>,
    pub(super) status: Arc<Status>,
    /// All that the journal still has, oldest first.
    pub(super) events: Vec<JournalRow>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) checks: Arc<Checked>,
    /// All metrics as text.
    pub(super) samples: String,
}

/// What the client gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Rows.
    Table(Table),
    /// OK without rows.
    Done,
    /// An error.
    Refused(Refusal),
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// No such statement.
    #[error("the console does not know this statement; there are: {KNOWN}")]
    UnknownStatement,
    /// A statement of nothing.
    #[error("the statement is empty; there are: {KNOWN}")]
    Empty,
    /// A statement that a later version carries out.
    #[error("{0} is not built yet in this version; there are: {KNOWN}")]
    NotBuilt(&'static str),
    /// A statement whose words are not in order.
    #[error("this is written: {0}")]
    Malformed(&'static str),
    /// There is no master of this name.
    #[error("there is no master `{name}`; there are: {known}")]
    UnknownMaster {
        /// As it was typed.
        name: String,
        /// The configured ones.
        known: String,
    },
    /// There is no session of this id. The words are the servers' own (`ER_NO_SUCH_THREAD`).
    #[error("Unknown thread id: {0}")]
    UnknownSession(u64),
    /// An order that was not carried out: why, word for word.
    #[error("{0}")]
    NotDone(String),
    /// `@@name`
    #[error("Unknown system variable '{0}'")]
    UnknownVariable(String),
    /// `name()`
    #[error("FUNCTION {0} does not exist")]
    UnknownFunction(String),
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) connection_id: u32,
    pub(super) user: String,
}

/// The version that the greeting and `VERSION()` name. Clients decide by the number in front what a
/// server can do; the console can do little.
pub(super) const VERSION: &str = concat!("5.7.0-tandem-", env!("CARGO_PKG_VERSION"));

/// What client programs read before the first prompt, and connection pools when they connect.
const VARIABLES: &[(&str, Option<&str>)] = &[
    ("auto_increment_increment", Some("1")),
    ("autocommit", Some("1")),
    ("character_set_client", Some("utf8mb4")),
    ("character_set_connection", Some("utf8mb4")),
    ("character_set_database", Some("utf8mb4")),
    ("character_set_results", Some("utf8mb4")),
    ("character_set_server", Some("utf8mb4")),
    ("collation_connection", Some("utf8mb4_general_ci")),
    ("collation_server", Some("utf8mb4_general_ci")),
    ("init_connect", Some("")),
    ("interactive_timeout", Some("28800")),
    ("license", Some("MIT OR Apache-2.0")),
    ("lower_case_table_names", Some("0")),
    ("max_allowed_packet", Some("16777216")),
    ("net_write_timeout", Some("60")),
    ("performance_schema", Some("0")),
    ("socket", None),
    ("sql_mode", Some("")),
    ("system_time_zone", Some("UTC")),
    ("time_zone", Some("SYSTEM")),
    ("transaction_isolation", Some("REPEATABLE-READ")),
    ("tx_isolation", Some("REPEATABLE-READ")),
    ("version", Some(VERSION)),
    ("version_comment", Some("Tandem console")),
    ("wait_timeout", Some("28800")),
];

/// The answer to `question`.
pub(super) fn answer(question: &Question, asker: &Asker, picture: &Picture) -> Answer {
    let Picture { now, routing, topology, sessions, .. } = picture;
    Answer::Table(match question {
        Question::Masters => tables::masters(routing, topology, &picture.accounts, *now),
        Question::Replicas => tables::replicas(routing, topology, &picture.accounts, *now),
        Question::Reads => reads(&picture.reads, topology.servers()),
        Question::Checks => checks(&picture.checks),
        Question::LostWrites => lost_writes(&picture.accounts, topology.servers()),
        Question::Replication(spelling) => tables::replication(*spelling, topology),
        Question::Terms => tables::terms(topology),
        Question::Sessions => tables::sessions(sessions, *now),
        Question::Logins => tables::logins(&picture.logins, topology, *now),
        Question::Stats => tables::stats(routing, &picture.status, &picture.samples, *now),
        Question::Config => tables::config(&picture.settings),
        Question::Stranded(name) => tables::stranded(&picture.status, routing, name.as_deref()),
        Question::Events { after, limit } => {
            tables::events(&picture.events, topology.servers(), *after, *limit)
        }
        Question::Select(items) => match select(items, asker) {
            Ok(table) => table,
            Err(refusal) => return Answer::Refused(refusal),
        },
        Question::Ignored => return Answer::Done,
        Question::Empty => return Answer::Refused(Refusal::Empty),
        Question::NotBuilt(order) => return Answer::Refused(Refusal::NotBuilt(order)),
        Question::Malformed(written) => return Answer::Refused(Refusal::Malformed(written)),
        Question::Unknown => return Answer::Refused(Refusal::UnknownStatement),
    })
}

fn select(items: &[Item], asker: &Asker) -> Result<Table, Refusal> {
    let columns = items.iter().map(|item| item.name.clone()).collect();
    let row: Result<Vec<_>, _> = items.iter().map(|item| evaluate(&item.value, asker)).collect();
    Ok(Table { columns, rows: vec![row?] })
}

fn evaluate(expression: &Expression, asker: &Asker) -> Result<Option<String>, Refusal> {
    let text = match expression {
        Expression::Literal(text) => text.clone(),
        Expression::Variable(name) => {
            let value = VARIABLES.iter().find(|(known, _)| known == name).map(|(_, value)| value);
            let value = value.ok_or_else(|| Refusal::UnknownVariable(name.clone()))?;
            return Ok(value.map(str::to_owned));
        }
        Expression::Function(name) => match name.as_str() {
            "database" | "schema" => return Ok(None),
            "user" | "current_user" | "session_user" | "system_user" => asker.user.clone(),
            "version" => VERSION.to_owned(),
            "connection_id" => asker.connection_id.to_string(),
            _ => return Err(Refusal::UnknownFunction(name.clone())),
        },
    };
    Ok(Some(text))
}
