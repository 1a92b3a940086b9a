//! `SHOW CHECKS`, as rows of texts.

use std::time::SystemTime;

use super::tables::Table;
use crate::pair::check::{Checked, Finding, Mend};

/// A row for each finding of the last look at the servers, the gravest first, and then for what could not be
/// looked at.
pub(super) fn checks(standing: &Checked) -> Table {
    let columns = ["Severity", "Check", "Servers", "Since", "What", "Why", "Mend"];
    let mut table = Table::new(&columns);
    for stood in &standing.findings {
        let Finding { severity, check, servers, what, why, mend } = &stood.finding;
        let mend: Vec<String> = mend.iter().map(Mend::to_string).collect();
        table.rows.push(vec![
            Some(severity.to_string()),
            Some((*check).to_owned()),
            Some(servers.join(", ")),
            Some(as_datetime(stood.since)),
            Some(what.clone()),
            Some(why.clone()),
            Some(mend.join("\n")),
        ]);
    }
    for blind in &standing.not_seen {
        table.rows.push(vec![
            Some("not seen".to_owned()),
            Some(blind.checks.join(", ")),
            Some(blind.server.clone()),
            standing.at.map(as_datetime),
            Some(blind.what.clone()),
            Some(blind.why.clone()),
            blind.grant.clone(),
        ]);
    }
    table
}

/// As servers show a `DATETIME`, in UTC.
fn as_datetime(time: SystemTime) -> String {
    let time = humantime::format_rfc3339_seconds(time).to_string();
    time.replace('T', " ").trim_end_matches('Z').to_owned()
}
