//! Carries a plan out, statement by statement, saying what it does.
//!
//! Servers are looked at again after each part: what comes next is planned from what is there, not from
//! what was expected to be there. It stops at the first statement that is refused; what was done before
//! stays, and the same command goes on from there.

use std::time::{Duration, Instant};

use super::copying::{Copy, CopyError};
use super::plan::{Action, Part, Plan, Stage, Step};
use super::survey::{Access, Survey};
use crate::monitor::{Columns, Connection, ConnectionError, read_channels};
use crate::topology::{Channel, ThreadState};

/// For replication to come up, and for transactions without a GTID to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what cannot be waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What stopped it.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A server refused a statement, or died over it.
    #[error("{server} did not carry out `{statement}`: {reason}")]
    Refused {
        /// Its name.
        server: String,
        /// Without passwords.
        statement: String,
        /// Its words.
        reason: ConnectionError,
    },
    /// Transactions without a GTID do not end.
    #[error("{server} has had transactions without a GTID for {within:?}; they have to end first")]
    Anonymous {
        /// Its name.
        server: String,
        /// How long was waited.
        within: Duration,
    },
    /// The data could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A channel does not run.
    #[error("{server} does not receive: {said}")]
    NotReceiving {
        /// Its name.
        server: String,
        /// What it says of its channels.
        said: String,
    },
}

/// Carries out the steps of `part`, stage by stage.
///
/// # Errors
/// At the first refusal.
pub(super) async fn carry_out(
    access: &mut Access,
    mut survey: Survey,
    plan: &Plan,
    part: Part,
    say: &mut dyn FnMut(&str),
) -> Result<(), ApplyError> {
    let of_part = |step: &&Step| step.stage.part() == part;
    let mut stages: Vec<Stage> = plan
        .servers
        .iter()
        .flat_map(|server| &server.steps)
        .filter(of_part)
        .map(|step| step.stage)
        .collect();
    stages.sort_unstable();
    stages.dedup();
    for stage in stages {
        for (place, server) in plan.servers.iter().enumerate() {
            for step in server.steps.iter().filter(|step| step.stage == stage) {
                match &step.action {
                    Action::Sql { sql, shown } => {
                        say(&format!("{}: {shown}", server.name));
                        let connection = &mut survey.connections[place];
                        if stage == Stage::GtidStep(3) {
                            await_named(connection, &server.name).await?;
                        }
                        let answers = async { connection.ask(sql.reveal()).await?.all() };
                        answers.await.map_err(|reason| ApplyError::Refused {
                            server: server.name.clone(),
                            statement: shown.clone(),
                            reason,
                        })?;
                    }
                    Action::CopyFrom(from) => {
                        let donor = &survey.states[*from];
                        let copy = Copy {
                            access: &mut *access,
                            from: *from,
                            into: place,
                            data: &donor.data,
                            flavor: donor.flavor(),
                            follows: donor.channels().next().is_some(),
                        };
                        copy.run(say).await?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Waits until every transaction that is open on the server has a GTID: only then may `gtid_mode` be ON.
async fn await_named(connection: &mut Connection, server: &str) -> Result<(), ApplyError> {
    const STATUS: &str = "SHOW GLOBAL STATUS LIKE 'Ongoing_anonymous_transaction_count'";
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let answers = async { connection.ask(STATUS).await?.all() };
        let sets = answers.await.map_err(|reason| ApplyError::Refused {
            server: server.to_owned(),
            statement: STATUS.to_owned(),
            reason,
        })?;
        let row = sets.iter().flatten().next().map(Columns);
        if row.is_none_or(|row| row.text_or_empty(&["Value"]) == "0") {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(ApplyError::Anonymous { server: server.to_owned(), within: PATIENCE })
}

/// Waits until both threads of every channel run, and says so.
///
/// # Errors
/// When an applier has stopped, or a channel does not run in time.
pub(super) async fn await_receiving(
    survey: &mut Survey,
    say: &mut dyn FnMut(&str),
) -> Result<(), ApplyError> {
    let deadline = Instant::now() + PATIENCE;
    for (state, connection) in survey.states.iter().zip(&mut survey.connections) {
        loop {
            let channels = channels(connection).await.map_err(|reason| ApplyError::Refused {
                server: state.name().to_owned(),
                statement: connection.dialect().replication_status().to_owned(),
                reason,
            })?;
            let runs = |channel: &Channel| {
                channel.io == ThreadState::Yes && channel.sql == ThreadState::Yes
            };
            let said: Vec<String> = channels.iter().map(told).collect();
            if !channels.is_empty() && channels.iter().all(runs) {
                said.iter().for_each(|said| say(&format!("{} {said}", state.name())));
                break;
            }
            let broken = channels.iter().any(|channel| channel.sql_error.0 != 0);
            if broken || Instant::now() > deadline {
                let (server, said) = (state.name().to_owned(), said.join("; "));
                return Err(ApplyError::NotReceiving { server, said });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
    Ok(())
}

async fn channels(connection: &mut Connection) -> Result<Vec<Channel>, ConnectionError> {
    let dialect = connection.dialect();
    let rows = connection.ask(dialect.replication_status()).await?.all()?.into_iter().flatten();
    let rows: Vec<mysql_async::Row> = rows.collect();
    Ok(read_channels(dialect, &rows)?.into_iter().map(|channel| channel.channel).collect())
}

fn told(channel: &Channel) -> String {
    let Channel { source_host, source_port, io, sql, io_error, sql_error, .. } = channel;
    let mut text = format!(
        "receives from {source_host}:{source_port}: Slave_IO_Running: {io}, Slave_SQL_Running: {sql}"
    );
    for (code, error) in [io_error, sql_error] {
        if *code != 0 {
            text.push_str(&format!(" (error {code}: {error})"));
        }
    }
    text
}
