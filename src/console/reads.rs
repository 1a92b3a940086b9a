//! `SHOW READS`, as rows of texts.

use super::tables::Table;
use crate::routing::Decision;
use crate::topology::{Role, Servers};

/// A row for each server that could serve reads, the first choice first.
pub(super) fn reads(decision: &Decision, servers: &Servers) -> Table {
    let columns = ["Server", "Role", "Serves", "Why_Not", "Age_Milliseconds"];
    let mut table = Table::new(&columns);
    table.rows = decision
        .standings
        .iter()
        .map(|standing| {
            let server = servers.get(standing.server);
            let serves = match &standing.until {
                Ok(_) if decision.readers.contains(&standing.server) => "Yes",
                Ok(_) => "If_Needed",
                Err(_) => "No",
            };
            vec![
                Some(server.name.clone()),
                Some(if server.role == Role::Replica { "replica" } else { "master" }.to_owned()),
                Some(serves.to_owned()),
                standing.until.as_ref().err().cloned(),
                standing.age.map(|age| age.as_millis().to_string()),
            ]
        })
        .collect();
    table
}
