//! What Tandem itself keeps on a server: the terms, and the rows of heartbeats.

use super::{Seen, Unseen};
use crate::monitor::{Columns, Connection, ConnectionError};
use crate::topology::grants::Privilege;
use crate::topology::{Beats, Term};

const HIGHEST: &str = "SELECT term, active FROM tandem.term ORDER BY term DESC LIMIT 1";

/// As the probes ask for them.
const BEATS: &str = "SELECT server_id, TIMESTAMPDIFF(MICROSECOND, '2020-01-01', at) AS at, \
     TIMESTAMPDIFF(MICROSECOND, '2020-01-01', UTC_TIMESTAMP(6)) AS clock FROM tandem.heartbeat";

/// The highest term, and the master that it makes active; `None` before the first one.
pub(super) async fn read_term(
    connection: &mut Connection,
) -> Result<Seen<Option<(Term, String)>>, ConnectionError> {
    let answers = connection.ask(HIGHEST).await?;
    match answers.error {
        // ER_NO_SUCH_TABLE, ER_BAD_DB_ERROR: no proxy has decided anything yet.
        Some((1146 | 1049, _)) => return Ok(Ok(None)),
        Some((code, message)) => {
            let grant = || Some(connection.grant(Privilege::Terms));
            return Ok(Err(Unseen::refused(code, message, grant)));
        }
        None => {}
    }
    let Some(row) = answers.sets.iter().flatten().next().map(Columns) else { return Ok(Ok(None)) };
    Ok(Ok(Some((Term(row.number(&["term"])?), row.text(&["active"])?))))
}

/// The rows of heartbeats; none before the first one is written.
pub(super) async fn read_beats(
    connection: &mut Connection,
) -> Result<Seen<Beats>, ConnectionError> {
    let answers = connection.ask(BEATS).await?;
    match answers.error {
        Some((1146 | 1049, _)) => return Ok(Ok(Beats::default())),
        Some((code, message)) => {
            let grant = || Some(connection.grant(Privilege::HeartbeatRow));
            return Ok(Err(Unseen::refused(code, message, grant)));
        }
        None => {}
    }
    let mut beats = Beats::default();
    for row in answers.sets.iter().flatten().map(Columns) {
        beats.clock = row.number(&["clock"])?;
        beats.rows.push((row.number(&["server_id"])?, row.number(&["at"])?));
    }
    Ok(Ok(beats))
}
