//! What is shown, as rows of texts.

use std::time::{Duration, Instant};

use super::SessionRow;
use super::statement::Spelling;
use crate::config::Setting;
use crate::coordinator::{Accounts, JournalRow, ToldEvent};
use crate::failover::{Quarantined, Status};
use crate::routing::{RoutingTable, Writer};
use crate::session::StandbyLogin;
use crate::topology::{
    Channel, Facts, Role, Server, Servers, StrandedTransaction, TermStore, Topology,
};

/// A result: every value is a text or NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Option<String>>>,
}

impl Table {
    pub(super) fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }
}

/// `SHOW MASTERS`: in order of preference.
pub(super) fn masters(
    routing: &RoutingTable,
    topology: &Topology,
    accounts: &Accounts,
    now: Instant,
) -> Table {
    servers(Role::Master, routing, topology, accounts, now)
}

/// `SHOW REPLICAS`
pub(super) fn replicas(
    routing: &RoutingTable,
    topology: &Topology,
    accounts: &Accounts,
    now: Instant,
) -> Table {
    servers(Role::Replica, routing, topology, accounts, now)
}

fn servers(
    role: Role,
    routing: &RoutingTable,
    topology: &Topology,
    accounts: &Accounts,
    now: Instant,
) -> Table {
    let mut table = Table::new(&[
        "Name",
        "Address",
        "State",
        "Up",
        "Last_Probe",
        "Probe_Milliseconds",
        "Probe_Seconds_Ago",
        "Read_Only",
        "Server_Id",
        "Auto_Increment",
        "Term",
        "Version",
        "Semi_Sync",
        "Lag_Milliseconds",
        "At_Risk",
    ]);
    let of_role = topology.servers().iter().filter(|server| server.role == role);
    table.rows = of_role
        .map(|server| {
            let mut row = server_row(server, routing, topology, now);
            row.extend(safety(server, routing, topology, accounts));
            row
        })
        .collect();
    table
}

fn server_row(
    server: &Server,
    routing: &RoutingTable,
    topology: &Topology,
    now: Instant,
) -> Vec<Option<String>> {
    let seen = topology.seen(server.id);
    let facts = topology.facts(server.id);
    let of_facts = |text: fn(&Facts) -> String| facts.map(text);
    let state = match server.role {
        Role::Replica => "replica",
        Role::Master if routing.active() == Some(server.id) => "active",
        Role::Master => "standby",
    };
    vec![
        Some(server.name.clone()),
        Some(server.address.to_string()),
        Some(state.to_owned()),
        seen.last.as_ref().map(|_| yes_no(seen.answers())),
        seen.last.as_ref().map(|last| last.outcome.to_string()),
        seen.last.as_ref().map(|last| format!("{:.1}", last.took.as_secs_f64() * 1000.0)),
        seen.last.as_ref().map(|last| seconds(now.saturating_duration_since(last.at))),
        of_facts(|facts| yes_no(facts.read_only)),
        of_facts(|facts| facts.server_id.to_string()),
        of_facts(|facts| {
            format!("{} + n * {}", facts.auto_increment_offset, facts.auto_increment_increment)
        }),
        facts.and_then(|facts| match &facts.terms {
            TermStore::Present(Some((term, _))) => Some(term.to_string()),
            _ => None,
        }),
        of_facts(|facts| facts.identity.version.clone()),
    ]
}

/// What a crash of the active master would cost if this one took over.
fn safety(
    server: &Server,
    routing: &RoutingTable,
    topology: &Topology,
    accounts: &Accounts,
) -> [Option<String>; 3] {
    let of_facts = |id| topology.facts(id);
    let source = routing.active().and_then(of_facts).map(|facts| facts.server_id);
    let answers = topology.seen(server.id).answers();
    let lag = source.filter(|_| answers).and_then(|id| topology.lag(server.id, id));
    [
        of_facts(server.id).map(|facts| facts.sending.semi_sync.to_string()),
        lag.map(milliseconds),
        accounts.at_risk.number(server.id),
    ]
}

/// `SHOW SLAVE STATUS`: a row per server and channel, under the names that either vendor uses.
pub(super) fn replication(spelling: Spelling, topology: &Topology) -> Table {
    let mut table = Table::new(match spelling {
        Spelling::Slave => &[
            "Server",
            "Master",
            "Connection_name",
            "Master_Host",
            "Master_Port",
            "Slave_IO_Running",
            "Slave_SQL_Running",
            "Seconds_Behind_Master",
            "Last_IO_Errno",
            "Last_IO_Error",
            "Last_SQL_Errno",
            "Last_SQL_Error",
            "Received",
            "Executed",
            "Using_Gtid",
            "Up",
            "Lag_Milliseconds",
        ],
        Spelling::Replica => &[
            "Server",
            "Source",
            "Channel_Name",
            "Source_Host",
            "Source_Port",
            "Replica_IO_Running",
            "Replica_SQL_Running",
            "Seconds_Behind_Source",
            "Last_IO_Errno",
            "Last_IO_Error",
            "Last_SQL_Errno",
            "Last_SQL_Error",
            "Received",
            "Executed",
            "Using_Gtid",
            "Up",
            "Lag_Milliseconds",
        ],
    });
    for server in topology.servers().iter() {
        let Some(facts) = topology.facts(server.id) else {
            continue;
        };
        let channels = facts.channels.iter();
        let row = |channel| channel_row(server, facts, channel, topology);
        table.rows.extend(channels.map(row));
    }
    table
}

fn channel_row(
    server: &Server,
    facts: &Facts,
    channel: &Channel,
    topology: &Topology,
) -> Vec<Option<String>> {
    let source = topology.source_of(channel);
    vec![
        Some(server.name.clone()),
        source.map(|source| topology.servers().name(source).to_owned()),
        Some(channel.name.clone()),
        Some(channel.source_host.clone()),
        Some(channel.source_port.to_string()),
        Some(channel.io.to_string()),
        Some(channel.sql.to_string()),
        channel.seconds_behind.map(|seconds| seconds.to_string()),
        Some(channel.io_error.0.to_string()),
        Some(channel.io_error.1.clone()),
        Some(channel.sql_error.0.to_string()),
        Some(channel.sql_error.1.clone()),
        Some(channel.received.to_string()),
        Some(facts.executed.to_string()),
        Some(yes_no(channel.uses_gtid)),
        // Of a server that is down, this is what it was when it last answered.
        Some(yes_no(topology.seen(server.id).answers())),
        topology.lag(server.id, channel.source_server_id).map(milliseconds),
    ]
}

/// `SHOW TERMS`: the highest term that each server knows.
pub(super) fn terms(topology: &Topology) -> Table {
    let mut table = Table::new(&["Server", "Term", "Active", "Planned", "Remark"]);
    table.rows = topology
        .servers()
        .iter()
        .map(|server| {
            let (term, active, remark) = match topology.facts(server.id).map(|facts| &facts.terms) {
                Some(TermStore::Present(Some((term, active)))) => {
                    (Some(term.to_string()), Some(active.clone()), None)
                }
                Some(TermStore::Present(None)) => (None, None, Some("no decision yet".to_owned())),
                Some(TermStore::Missing) => {
                    (None, None, Some("there is no table tandem.term".to_owned()))
                }
                Some(TermStore::Denied(words)) => (None, None, Some(words.clone())),
                None => (None, None, Some("never answered".to_owned())),
            };
            let planned = topology.facts(server.id).map(|facts| yes_no(facts.planned));
            let planned = planned.filter(|_| term.is_some());
            vec![Some(server.name.clone()), term, active, planned, remark]
        })
        .collect();
    table
}

/// `SHOW SESSIONS`: the oldest first.
pub(super) fn sessions(sessions: &[SessionRow], now: Instant) -> Table {
    let mut table = Table::new(&[
        "Id",
        "User",
        "Client",
        "Port",
        "Server",
        "State",
        "Tied_By",
        "Since_Seconds",
    ]);
    let mut sessions: Vec<&SessionRow> = sessions.iter().collect();
    sessions.sort_by_key(|session| (session.since, session.id));
    table.rows = sessions
        .into_iter()
        .map(|session| {
            vec![
                Some(session.id.to_string()),
                Some(session.user.clone()),
                Some(session.client.clone()),
                Some(session.port.to_owned()),
                (!session.server.is_empty()).then(|| session.server.clone()),
                Some(session.state.clone()),
                session.tied_by.clone(),
                Some(seconds(now.saturating_duration_since(session.since))),
            ]
        })
        .collect();
    table
}

/// `SHOW LOGINS`: which standby lets in who the active master lets in, and whether a fence would stop
/// it; those with a fault first.
pub(super) fn logins(logins: &[StandbyLogin], topology: &Topology, now: Instant) -> Table {
    let mut table = Table::new(&[
        "User",
        "Schema",
        "Standby",
        "Accepted",
        "Refusal",
        "Unfenced_By",
        "Mend",
        "Asked_Seconds_Ago",
    ]);
    let mut logins: Vec<&StandbyLogin> = logins.iter().collect();
    logins.sort_by_key(|login| (login.refusal.is_none(), login.unfenced.is_none()));
    table.rows = logins
        .into_iter()
        .map(|login| {
            vec![
                Some(login.user.clone()),
                (!login.schema.is_empty()).then(|| login.schema.clone()),
                Some(topology.servers().name(login.server).to_owned()),
                Some(yes_no(login.refusal.is_none())),
                login.refusal.clone(),
                login.unfenced.as_ref().map(|unfenced| unfenced.privilege.to_owned()),
                login.unfenced.as_ref().map(|unfenced| unfenced.mend.clone()),
                Some(seconds(now.saturating_duration_since(login.asked))),
            ]
        })
        .collect();
    table
}

/// `SHOW EVENTS`: those after number `after`, of these the last `limit`, oldest first.
pub(super) fn events(
    events: &[JournalRow],
    servers: &Servers,
    after: u64,
    limit: Option<usize>,
) -> Table {
    let mut table =
        Table::new(&["Number", "Time", "Milliseconds", "From", "To", "Server", "Reason"]);
    let rows = events.iter().filter(|event| event.number > after);
    let skipped = limit.map_or(0, |limit| rows.clone().count().saturating_sub(limit));
    table.rows = rows.skip(skipped).map(|event| event_row(event.told(servers))).collect();
    table
}

fn event_row(event: ToldEvent) -> Vec<Option<String>> {
    // As servers show a `DATETIME(3)`.
    let time = event.time.replace('T', " ").trim_end_matches('Z').to_owned();
    vec![
        Some(event.number.to_string()),
        Some(time),
        event.milliseconds.map(|pause| format!("{pause:.1}")),
        Some(event.from.to_owned()),
        Some(event.to.to_owned()),
        event.server,
        Some(event.reason),
    ]
}

/// `SHOW STRANDED`: a row for each transaction that a master in quarantine has and the active one
/// lacks; for what was not read, or only counted, one row together.
pub(super) fn stranded(status: &Status, routing: &RoutingTable, name: Option<&str>) -> Table {
    let mut table = Table::new(&[
        "Server",
        "Lacked_By",
        "Gtid",
        "Time",
        "Bytes",
        "Tables",
        "Rows",
        "Keys",
        "Verdict",
    ]);
    for Quarantined { server, active, stranded, findings } in &status.quarantine {
        let (of, by) = (routing.servers.name(*server), routing.servers.name(*active));
        if name.is_some_and(|name| !name.eq_ignore_ascii_case(of)) {
            continue;
        }
        let heads = || [Some(of.to_owned()), Some(by.to_owned())];
        let summary = |gtids: String, verdict: String| {
            let mut row: Vec<_> = heads().into();
            row.extend([Some(gtids), None, None, None, None, None, Some(verdict)]);
            row
        };
        let Some(findings) = findings else {
            table.rows.push(summary(stranded.to_string(), "not read yet".to_owned()));
            continue;
        };
        for transaction in &findings.transactions {
            let mut row: Vec<_> = heads().into();
            row.extend(stranded_row(transaction));
            table.rows.push(row);
        }
        if findings.more > 0 {
            let more = format!("and {} more, which were only counted", findings.more);
            table.rows.push(summary(stranded.to_string(), more));
        }
    }
    table
}

fn stranded_row(transaction: &StrandedTransaction) -> [Option<String>; 7] {
    let tables = transaction.tables.iter().map(|table| {
        format!(
            "{}.{} (+{} ~{} -{})",
            table.schema, table.table, table.inserted, table.updated, table.deleted
        )
    });
    let tables: Vec<String> = tables.chain(transaction.statements.iter().cloned()).collect();
    let keys: Vec<&str> =
        transaction.tables.iter().flat_map(|table| &table.keys).map(String::as_str).collect();
    // As servers show a `DATETIME(3)`, in UTC.
    let at = humantime::format_rfc3339_millis(transaction.at).to_string();
    [
        Some(transaction.gtid.clone()),
        Some(at.replace('T', " ").trim_end_matches('Z').to_owned()),
        Some(transaction.bytes.to_string()),
        Some(tables.join("; ")),
        Some(transaction.rows().to_string()),
        Some(keys.join(" ")),
        Some(transaction.verdict.to_string()),
    ]
}

/// `SHOW STATS`: the routing table, what the machine is at, then every sample of the metrics
/// (`samples`, OpenMetrics text).
pub(super) fn stats(routing: &RoutingTable, status: &Status, samples: &str, now: Instant) -> Table {
    let mut table = Table::new(&["Name", "Value"]);
    let mut row = |name: &str, value: Option<String>| {
        table.rows.push(vec![Some(name.to_owned()), value]);
    };
    row("generation", Some(routing.generation.to_string()));
    row("term", Some(routing.term.to_string()));
    row("active", routing.active().map(|active| routing.servers.name(active).to_owned()));
    if let Writer::Held { since, reason } = &routing.writer {
        row("held_because", Some(reason.to_string()));
        row("held_seconds", Some(seconds(now.saturating_duration_since(*since))));
    }
    row("phase", Some(status.phase.to_owned()));
    row("phase_seconds", Some(seconds(now.saturating_duration_since(status.since))));
    for sample in samples.lines().filter(|line| !line.starts_with('#')) {
        // The value is behind the last blank; a label's value may contain blanks.
        if let Some((name, value)) = sample.rsplit_once(' ') {
            row(name, Some(value.to_owned()));
        }
    }
    table
}

/// `SHOW CONFIG`
pub(super) fn config(settings: &[Setting]) -> Table {
    let mut table = Table::new(&["Key", "Value", "Set_By"]);
    table.rows = settings
        .iter()
        .map(|Setting { key, value, origin }| {
            vec![Some(key.clone()), Some(value.clone()), Some(origin.to_string())]
        })
        .collect();
    table
}

/// What an order came to.
pub(super) fn result(done: String) -> Table {
    let mut table = Table::new(&["Result"]);
    table.rows.push(vec![Some(done)]);
    table
}

fn yes_no(yes: bool) -> String {
    if yes { "Yes" } else { "No" }.to_owned()
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}
