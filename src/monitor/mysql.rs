//! The real probe: one persistent connection and one round trip.
//!
//! All questions go in one packet. What may fail without making the rest worthless, Tandem's own tables,
//! stands last, because an error ends the packet: a table that does not exist yet costs nothing.
//!
//! A connection that broke is not a server that is down: a firewall forgets, an operator kills, a
//! server restarts between two probes. So a probe judges only what a *new* connection finds: at once
//! when the old one fails, and when the old one is silent for half of the timeout, beside it. A new
//! one that is as silent is asked for once more in the same way, and the connection that was begun
//! last is what the next probe begins with ([`Probe::asked_since`]).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::columns::Columns;
use super::connection::{Answers, Connection, ConnectionError, Dialer};
use super::grants::missing_privileges;
use super::greeting::read_identity;
use super::prober::{Look, Probe};
use super::replication::read_channels;
use crate::topology::grants::Privilege;
use crate::topology::{
    Beats, Dialect, Facts, Flavor, GtidSet, Identity, Numbering, Outcome, SemiSync, Sending,
    Server, Term, TermStore, UnreachableKind,
};

/// Probes one MariaDB or MySQL server.
pub struct MysqlProbe {
    server: Server,
    dialer: Dialer,
    timeout: Duration,
    live: Option<Live>,
    /// A question over a new connection, which the last look left unanswered.
    beside: Option<Question>,
    /// The identity that the server was last seen with: it stands in when the greeting cannot be
    /// read because the server is full.
    identity: Option<Arc<Identity>>,
    /// Whether people were told what the account lacks on this server.
    privileges_checked: bool,
}

/// A connection that has answered.
struct Live {
    connection: Connection,
    identity: Arc<Identity>,
    heartbeats: Heartbeats,
}

/// What MySQL's performance schema is asked about the replication heartbeats: less where that is
/// refused. (MariaDB has all of it in its status rows.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heartbeats {
    /// How many arrived, and how often they are sent.
    WithPeriod,
    /// How many arrived.
    Counted,
    /// Nothing.
    Unknown,
}

impl Heartbeats {
    /// The columns of `replication_connection_status` and `replication_connection_configuration`:
    /// <https://dev.mysql.com/doc/refman/8.4/en/performance-schema-replication-tables.html>.
    fn question(self) -> Option<&'static str> {
        match self {
            Self::WithPeriod => Some(
                "SELECT CHANNEL_NAME, COUNT_RECEIVED_HEARTBEATS, HEARTBEAT_INTERVAL \
                 FROM performance_schema.replication_connection_status \
                 JOIN performance_schema.replication_connection_configuration USING (CHANNEL_NAME); ",
            ),
            Self::Counted => Some(
                "SELECT CHANNEL_NAME, COUNT_RECEIVED_HEARTBEATS \
                 FROM performance_schema.replication_connection_status; ",
            ),
            Self::Unknown => None,
        }
    }

    fn less(self) -> Self {
        match self {
            Self::WithPeriod => Self::Counted,
            Self::Counted | Self::Unknown => Self::Unknown,
        }
    }
}

impl MysqlProbe {
    /// For `server`, as the account of `dialer`. `timeout` is the whole probe's.
    #[must_use]
    pub fn new(server: Server, dialer: Dialer, timeout: Duration) -> Self {
        Self {
            server,
            dialer,
            timeout,
            live: None,
            beside: None,
            identity: None,
            privileges_checked: false,
        }
    }

    async fn look(&mut self) -> Result<Box<Facts>, ConnectionError> {
        let answer = self.answer().await;
        self.beside = None;
        let (live, facts) = answer?;
        self.identity = Some(live.identity.clone());
        self.privileges_checked = true;
        self.live = Some(live);
        Ok(facts)
    }

    /// What is out when this is dropped for being too slow is left in `beside`.
    async fn answer(&mut self) -> Answer {
        let (mut first, mut judges) = match (self.beside.take(), self.live.take()) {
            (Some(asked), _) => (asked, true),
            (None, Some(live)) => (Question::ask(ask(live)), false),
            (None, None) => (self.anew(), true),
        };
        while let Ok(answer) = timeout_at(first.since + self.timeout / 2, &mut first.answer).await {
            if judges || answer.is_ok() {
                return answer;
            }
            (first, judges) = (self.anew(), true);
        }
        let first = async {
            match first.answer.await {
                Err(_) if !judges => std::future::pending().await,
                // It is the prober that says for how long; the second one may still be answered.
                Err(ConnectionError::Unreachable { kind: UnreachableKind::Silent, .. }) => {
                    std::future::pending().await
                }
                answer => answer,
            }
        };
        let second = self.anew();
        let second = self.beside.insert(second);
        tokio::select! {
            answer = first => answer,
            answer = &mut second.answer => answer,
        }
    }

    /// Judges by a new connection.
    fn anew(&self) -> Question {
        let (server, dialer, timeout) = (self.server.clone(), self.dialer.clone(), self.timeout);
        let (known, checked) = (self.identity.clone(), self.privileges_checked);
        Question::ask(async move {
            let mut connection = dialer.connect(&server.address, timeout).await?;
            let identity = match read_identity(connection.target()).await {
                Ok(identity) => Arc::new(identity),
                // The login took the last free place.
                Err(error) => known.ok_or(error)?,
            };
            // That there is a proxy here is seen by those that want to drain (coordinator/other_proxies.rs).
            connection.ask(PRESENCE).await?;
            if !checked {
                check_privileges(&mut connection, &server.name).await?;
            }
            let heartbeats = match connection.dialect().flavor {
                Flavor::MySql => Heartbeats::WithPeriod,
                Flavor::MariaDb => Heartbeats::Unknown,
            };
            ask(Live { connection, identity, heartbeats }).await
        })
    }
}

/// The lock by which a proxy is known, held by the connection of its probes.
const PRESENCE: &str = "DO GET_LOCK(CONCAT('tandem.proxy.', CONNECTION_ID()), 0)";

async fn check_privileges(
    connection: &mut Connection,
    server: &str,
) -> Result<(), ConnectionError> {
    let missing = missing_privileges(connection).await?;
    if missing.is_empty() {
        info!(server, account = connection.account(), "the account has every privilege");
    }
    for (privilege, grant) in missing {
        let purpose = privilege.purpose();
        if privilege.is_optional() {
            info!(
                server,
                "not everything is checked: the account may not {purpose}; mend it with: {grant}"
            );
        } else {
            warn!(server, "the account may not {purpose}; mend it with: {grant}");
        }
    }
    Ok(())
}

type Answer = Result<(Live, Box<Facts>), ConnectionError>;

/// A question that was asked.
struct Question {
    since: Instant,
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

impl Question {
    fn ask(answer: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self { since: Instant::now(), answer: Box::pin(answer) }
    }
}

#[async_trait]
impl Probe for MysqlProbe {
    async fn probe(&mut self) -> Look {
        match self.look().await {
            Ok(facts) => Look::Seen(Outcome::Alive(facts)),
            Err(ConnectionError::Exhausted(why)) => Look::Abstained(why),
            Err(ConnectionError::Unreachable { kind, detail }) => {
                Look::Seen(Outcome::Unreachable { kind, detail })
            }
            Err(ConnectionError::Server { code, message }) => {
                Look::Seen(Outcome::SaysNo { code, message })
            }
            // Something answers there, so it is alive; 0 is no server's code.
            Err(ConnectionError::Unintelligible(message)) => {
                Look::Seen(Outcome::SaysNo { code: 0, message })
            }
        }
    }

    fn asked_since(&self) -> Option<Instant> {
        self.beside.as_ref().map(|question| question.since)
    }

    fn forget(&mut self) {
        self.beside = None;
    }
}

async fn ask(mut live: Live) -> Result<(Live, Box<Facts>), ConnectionError> {
    let dialect = live.connection.dialect();
    loop {
        let answers = live.connection.ask(&questions(dialect, live.heartbeats)).await?;
        // Denied, or without a performance schema: go on without, for as long as this connection
        // lives.
        let refused = answers.error.is_some() && answers.sets.len() == HEARTBEATS;
        if refused && live.heartbeats != Heartbeats::Unknown {
            live.heartbeats = live.heartbeats.less();
            continue;
        }
        let facts = read_facts(dialect, live.heartbeats, live.identity.clone(), answers)
            .map_err(|error| explain(error, &live.connection))?;
        return Ok((live, Box::new(facts)));
    }
}

/// Adds the GRANT to a refusal to show the replication status (1227), without which nothing can be
/// decided.
fn explain(error: ConnectionError, connection: &Connection) -> ConnectionError {
    match error {
        ConnectionError::Server { code: code @ (1227 | 1142), message } => {
            let grant = connection.grant(Privilege::ReplicationStatus);
            ConnectionError::Server { code, message: format!("{message}; mend it with: {grant}") }
        }
        other => other,
    }
}

/// Places of the answers in the packet; the term is the last one.
const VARIABLES: usize = 0;
const UPTIME: usize = 1;
const SEMI_SYNC: usize = 2;
const REPLICATION: usize = 3;
const HEARTBEATS: usize = 4;

fn questions(dialect: Dialect, heartbeats: Heartbeats) -> String {
    let (executed, numbering) = match dialect.flavor {
        Flavor::MariaDb => ("gtid_current_pos", "gtid_domain_id"),
        Flavor::MySql => ("gtid_executed", "gtid_mode"),
    };
    // `SHOW SESSION STATUS`: the global form adds up the counters of every connection.
    let mut questions = format!(
        "SELECT @@server_id AS server_id, @@GLOBAL.read_only AS read_only, \
         @@GLOBAL.auto_increment_increment AS step, \
         @@GLOBAL.auto_increment_offset AS start, @@GLOBAL.{executed} AS executed, \
         @@GLOBAL.log_bin AS log_bin, @@GLOBAL.{numbering} AS numbering, \
         IS_USED_LOCK('tandem.switchover') IS NOT NULL AS claimed, \
         IS_USED_LOCK('tandem.draining') AS draining, CONNECTION_ID() AS connection; \
         SHOW SESSION STATUS WHERE Variable_name IN \
         ('Uptime', 'Rpl_semi_sync_master_status', 'Rpl_semi_sync_source_status'); \
         SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%_enabled'; {}; ",
        dialect.replication_status()
    );
    questions.push_str(heartbeats.question().unwrap_or_default());
    questions.push_str(
        // A table that was made by an older version has fewer columns.
        "SELECT * FROM tandem.term ORDER BY term DESC LIMIT 1; \
         SELECT server_id, TIMESTAMPDIFF(MICROSECOND, '2020-01-01', at) AS at, \
         TIMESTAMPDIFF(MICROSECOND, '2020-01-01', UTC_TIMESTAMP(6)) AS clock \
         FROM tandem.heartbeat",
    );
    questions
}

fn read_facts(
    dialect: Dialect,
    heartbeats: Heartbeats,
    identity: Arc<Identity>,
    answers: Answers,
) -> Result<Facts, ConnectionError> {
    let with_heartbeats = heartbeats != Heartbeats::Unknown;
    let term_place = if with_heartbeats { HEARTBEATS + 1 } else { HEARTBEATS };
    let terms = read_terms(&answers, term_place)?;
    let highest = answers.sets.get(term_place).and_then(|rows| rows.first()).map(Columns);
    let planned = highest.is_some_and(|row| row.find(&["planned"]).as_deref() == Some("1"));
    let beats = read_beats(&answers, term_place + 1)?;
    let row = |place: usize| {
        answers.sets.get(place).and_then(|rows| rows.first()).map(Columns).ok_or_else(|| {
            ConnectionError::Unintelligible(format!("the answer to question {place} is empty"))
        })
    };
    let variables = row(VARIABLES)?;
    let mut channels: Vec<_> = read_channels(dialect, &answers.sets[REPLICATION])?
        .into_iter()
        .map(|status| status.channel)
        .collect();
    if with_heartbeats {
        for counted in answers.sets[HEARTBEATS].iter().map(Columns) {
            let name = counted.text_or_empty(&["CHANNEL_NAME"]);
            if let Some(channel) = channels.iter_mut().find(|channel| channel.name == name) {
                channel.heartbeats = Some(counted.number(&["COUNT_RECEIVED_HEARTBEATS"])?);
                channel.heartbeat_period = counted.seconds(&["HEARTBEAT_INTERVAL"]);
            }
        }
    }
    Ok(Facts {
        identity,
        server_id: variables.number(&["server_id"])?,
        uptime: Duration::from_secs(read_uptime(&answers.sets[UPTIME])?),
        // MariaDB 12 has words here (`NO_LOCK`, …) besides 0 and 1.
        read_only: !matches!(variables.text(&["read_only"])?.as_str(), "0" | "OFF"),
        auto_increment_increment: variables.number(&["step"])?,
        auto_increment_offset: variables.number(&["start"])?,
        executed: GtidSet::parse(dialect.flavor, &variables.text_or_empty(&["executed"]))
            .map_err(|error| ConnectionError::Unintelligible(error.to_string()))?,
        channels,
        claimed: variables.number::<u8>(&["claimed"])? != 0,
        draining: match variables.find(&["draining"]) {
            Some(_) => Some(variables.number(&["draining"])?),
            None => None,
        },
        connection: variables.number(&["connection"])?,
        terms,
        planned,
        beats,
        sending: Sending {
            numbering: read_numbering(dialect.flavor, variables)?,
            semi_sync: read_semi_sync(&answers),
        },
    })
}

fn read_uptime(status: &[mysql_async::Row]) -> Result<u64, ConnectionError> {
    let uptime = |row: &Columns<'_>| row.text_or_empty(&["Variable_name"]) == "Uptime";
    let row = status.iter().map(Columns).find(uptime);
    let missing = || ConnectionError::Unintelligible("there is no Uptime".to_owned());
    row.ok_or_else(missing)?.number(&["Value"])
}

fn read_numbering(flavor: Flavor, row: Columns<'_>) -> Result<Numbering, ConnectionError> {
    if matches!(row.text(&["log_bin"])?.as_str(), "0" | "OFF") {
        return Ok(Numbering::NoLog);
    }
    Ok(match flavor {
        Flavor::MariaDb => Numbering::Domain(row.number(&["numbering"])?),
        // ON_PERMISSIVE numbers what is new.
        Flavor::MySql if row.text(&["numbering"])?.starts_with("ON") => Numbering::Own,
        Flavor::MySql => Numbering::NoGtids,
    })
}

/// The sender's side has `master` or `source` in its names.
fn read_semi_sync(answers: &Answers) -> SemiSync {
    let is_on = |place: usize| {
        let rows = answers.sets.get(place).into_iter().flatten().map(Columns);
        rows.filter(|row| {
            let name = row.text_or_empty(&["Variable_name"]).to_ascii_lowercase();
            name.contains("semi_sync_master") || name.contains("semi_sync_source")
        })
        .any(|row| matches!(row.text_or_empty(&["Value"]).as_str(), "ON" | "1"))
    };
    match (is_on(SEMI_SYNC), is_on(UPTIME)) {
        (false, _) => SemiSync::Off,
        (true, true) => SemiSync::Waiting,
        (true, false) => SemiSync::FellBack,
    }
}

fn read_terms(answers: &Answers, place: usize) -> Result<TermStore, ConnectionError> {
    // What stands behind the terms may be missing, too.
    if let Some((code, message)) = answers.error.as_ref().filter(|_| answers.sets.len() <= place) {
        let about_terms = answers.sets.len() == place;
        return match code {
            // ER_NO_SUCH_TABLE, ER_BAD_DB_ERROR
            1146 | 1049 if about_terms => Ok(TermStore::Missing),
            // ER_TABLEACCESS_DENIED_ERROR, ER_DBACCESS_DENIED_ERROR
            1142 | 1044 if about_terms => Ok(TermStore::Denied(message.clone())),
            _ => Err(ConnectionError::Server { code: *code, message: message.clone() }),
        };
    }
    let rows = answers.sets.get(place).ok_or_else(|| {
        ConnectionError::Unintelligible("the server left questions unanswered".to_owned())
    })?;
    let highest = rows.first().map(Columns).map(|row| {
        Ok::<_, ConnectionError>((Term(row.number(&["term"])?), row.text(&["active"])?))
    });
    Ok(TermStore::Present(highest.transpose()?))
}

/// Without the table, or without the right to read it, there are none.
fn read_beats(answers: &Answers, place: usize) -> Result<Option<Beats>, ConnectionError> {
    let Some(rows) = answers.sets.get(place) else {
        return match &answers.error {
            // Those of the term table, as above.
            None | Some((1146 | 1049 | 1142 | 1044, _)) => Ok(None),
            Some((code, message)) => {
                Err(ConnectionError::Server { code: *code, message: message.clone() })
            }
        };
    };
    let mut beats = Beats::default();
    for row in rows.iter().map(Columns) {
        beats.clock = row.number(&["clock"])?;
        beats.rows.push((row.number(&["server_id"])?, row.number(&["at"])?));
    }
    Ok(Some(beats))
}

#[cfg(test)]
#[path = "mysql_tests.rs"]
mod tests;
