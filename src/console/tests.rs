//! What the console shows, as texts.

use std::time::{Duration, SystemTime};

use super::answer::{Answer, Asker, answer};
use super::statement::Statement;
use super::*;
use crate::config::Place;
use crate::coordinator::{AtRisk, Finding, LostWrites, Missing, Unaccountable};
use crate::failover::Transition;
use crate::pair::check::{self, Blind, Checked, Mend, Severity, Verdict};
use crate::routing::{Standing, Writer};
use crate::session::Unfenced;
use crate::topology::fixture::{self, M1, M2};
use crate::topology::{Flavor, GtidSet, Term};

#[path = "client_tests.rs"]
mod clients;

fn session(id: u64, server: &str, state: &str, since: Instant) -> SessionRow {
    SessionRow {
        id,
        user: "app".into(),
        client: "10.0.0.99:51234".into(),
        port: if id == 12 { "reads" } else { "main" },
        server: server.into(),
        state: state.into(),
        tied_by: (!server.is_empty()).then(|| "is in a transaction".into()),
        since,
    }
}

fn login(user: &str, refusal: Option<&str>, asked: Instant) -> StandbyLogin {
    StandbyLogin {
        user: user.into(),
        schema: "shop".into(),
        server: M2,
        refusal: refusal.map(Into::into),
        unfenced: None,
        asked,
    }
}

struct Fixed(Vec<SessionRow>);

impl SessionList for Fixed {
    fn sessions(&self) -> Vec<SessionRow> {
        self.0.clone()
    }

    fn kill(&self, id: u64) -> bool {
        self.0.iter().any(|session| session.id == id)
    }
}

/// A failover in 21 ms, an hour after the start.
fn journal(start: Instant) -> Journal {
    let journal = Journal::new(10, start);
    let steps = [
        (0, "starting", "steady", "m1 is active", None),
        (3_600_000_000, "steady", "suspect", "a session lost m1", Some(M1)),
        (3_600_005_400, "suspect", "catching up", "m1 refuses connections", Some(M1)),
        (3_600_021_000, "promoting", "steady", "m2 is active by term 6", Some(M2)),
    ];
    for (micros, from, to, reason, server) in steps {
        let after = Duration::from_micros(micros);
        let transition = Transition { from, to, reason: reason.to_owned(), server };
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000) + after;
        journal.record(start + after, wall, transition);
    }
    journal
}

/// A warning, and something that was not seen.
fn checked() -> Checked {
    let finding = check::Finding::new(
        Severity::Warning,
        ["m1", "m2"],
        "m1 and m2 differ in sync_binlog: 1 and 0",
        "What m2 acknowledges may be lost with its machine.",
    );
    let verdict = Verdict {
        findings: vec![check::Finding {
            check: "sync-binlog",
            ..finding.mended_by([Mend::sql("m2", "SET GLOBAL sync_binlog = 1")])
        }],
        not_seen: vec![Blind {
            server: "m2".to_owned(),
            what: "accounts".to_owned(),
            why: "SELECT command denied".to_owned(),
            grant: Some("GRANT SELECT ON mysql.* TO 'tandem'@'%';".to_owned()),
            checks: vec!["accounts", "grants"],
        }],
        ..Verdict::default()
    };
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_003_600);
    Checked::default().after(verdict, at, Duration::from_millis(7)).0
}

/// Two writes that m2 lacks, one that is not known, and one that it has not received now.
fn accounts() -> Accounts {
    let at = |ms: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_003_600_000 + ms);
    let missing = Missing {
        writes: GtidSet::parse(Flavor::MariaDb, "1-1-118..119").expect("a set"),
        span: Some((at(3), at(17))),
        users: vec![("app".into(), 1), ("batch".into(), 1)],
        shared: 0,
        at_least: false,
    };
    let loss = LostWrites {
        at: at(250),
        from: M1,
        to: M2,
        term: Term(6),
        finding: Finding::Counted(missing),
        sessions_left: 0,
        came_back: 0,
    };
    let why = Unaccountable::NoGtids("m2".into());
    let finding = Finding::Unknown(why);
    let unknown = LostWrites { from: M2, to: M1, term: Term(7), finding, ..loss };
    let at_risk = AtRisk { unknown: None, standbys: vec![(M2, 1, true)] };
    Accounts { at_risk, losses: vec![loss, unknown] }
}

fn status(since: Instant) -> Status {
    Status {
        phase: "steady",
        since,
        active: None,
        held: None,
        decision: None,
        generation: 4,
        masters: Vec::new(),
        quarantine: Vec::new(),
    }
}

/// Five seconds after the start: healthy, or with `m1` gone for three.
fn picture(healthy: bool) -> Picture {
    let start = Instant::now();
    let (gone, now) = (start + Duration::from_secs(2), start + Duration::from_secs(5));
    let writer = if healthy {
        Writer::Active(M1)
    } else {
        Writer::Held { since: gone, reason: "m1 refuses connections".into() }
    };
    let topology = if healthy { fixture::healthy(start) } else { fixture::half_gone(start, gone) };
    let setting = Setting {
        key: "monitor.password".into(),
        value: "\"***\"".into(),
        origin: Place::Variable("TANDEM_MONITOR__PASSWORD".into()),
    };
    Picture {
        now,
        routing: Arc::new(RoutingTable {
            generation: 4,
            term: Term(5),
            writer,
            ..RoutingTable::starting(fixture::servers(), start)
        }),
        topology: Arc::new(topology),
        settings: [setting].into(),
        sessions: vec![session(12, "", "held", gone), session(11, "m1", "idle", start)],
        status: Arc::new(status(gone)),
        events: journal(start).rows_after(0),
        logins: [
            login("app", None, gone),
            StandbyLogin {
                unfenced: Some(Unfenced {
                    privilege: "READ_ONLY ADMIN",
                    mend: "REVOKE READ_ONLY ADMIN ON *.* FROM `boss`@`%`".into(),
                }),
                ..login("boss", None, gone)
            },
            login("old", Some("error 1045: denied"), gone),
        ]
        .into(),
        reads: Arc::new(who_serves(start)),
        accounts: Arc::new(accounts()),
        checks: Arc::new(checked()),
        samples: "# TYPE tandem_a counter\ntandem_a_total{server=\"m 1\"} 3\n# EOF\n".into(),
    }
}

/// One replica serves reads, the other one is behind, the standby stands by.
fn who_serves(start: Instant) -> Decision {
    let standing = |server, until, age| Standing { server, until, age, down: false };
    let age = |ms| Some(Duration::from_millis(ms));
    Decision {
        readers: [M2].into(),
        standings: vec![
            standing(M2, Ok(start), age(350)),
            standing(M1, Err("may be 5.0 s behind (reads.max_lag)".into()), None),
        ],
        ..Decision::default()
    }
}

/// The answer as the mysql command line shows it with `\G`.
fn shown(statement: &str, picture: &Picture) -> String {
    let asker = Asker { connection_id: 7, user: "admin".into() };
    let Statement::Question(question) = Statement::parse(statement) else {
        panic!("{statement} changes something");
    };
    let table = match answer(&question, &asker, picture) {
        Answer::Table(table) => table,
        Answer::Refused(refusal) => return refusal.to_string(),
        Answer::Done => return "OK".to_owned(),
    };
    let width = table.columns.iter().map(String::len).max().unwrap_or_default();
    let mut text = String::new();
    for row in &table.rows {
        assert_eq!(row.len(), table.columns.len(), "{statement}");
        text.push_str("***\n");
        for (column, value) in table.columns.iter().zip(row) {
            let value = value.as_deref().unwrap_or("NULL");
            text.push_str(format!("{column:>width$}: {value}").trim_end());
            text.push('\n');
        }
    }
    text
}

#[test]
fn a_healthy_pair_is_shown() {
    let picture = picture(true);
    insta::assert_snapshot!(shown("SHOW MASTERS", &picture), @r"
    ***
                  Name: m1
               Address: 10.0.0.11:3306
                 State: active
                    Up: Yes
            Last_Probe: answers
    Probe_Milliseconds: 1.2
     Probe_Seconds_Ago: 5.0
             Read_Only: No
             Server_Id: 1
        Auto_Increment: 1 + n * 2
                  Term: 5
               Version: 5.5.5-10.11.19-MariaDB-log
             Semi_Sync: off
      Lag_Milliseconds: NULL
               At_Risk: NULL
    ***
                  Name: m2
               Address: 10.0.0.12:3306
                 State: standby
                    Up: Yes
            Last_Probe: answers
    Probe_Milliseconds: 1.2
     Probe_Seconds_Ago: 5.0
             Read_Only: Yes
             Server_Id: 2
        Auto_Increment: 2 + n * 2
                  Term: 5
               Version: 5.5.5-10.11.19-MariaDB-log
             Semi_Sync: off
      Lag_Milliseconds: NULL
               At_Risk: at least 1
    ");
    insta::assert_snapshot!(shown("SHOW TERMS", &picture), @r"
    ***
     Server: m1
       Term: 5
     Active: m1
    Planned: No
     Remark: NULL
    ***
     Server: m2
       Term: 5
     Active: m1
    Planned: No
     Remark: NULL
    ");
    insta::assert_snapshot!(shown("SHOW STATS", &picture), @r#"
    ***
     Name: generation
    Value: 4
    ***
     Name: term
    Value: 5
    ***
     Name: active
    Value: m1
    ***
     Name: phase
    Value: steady
    ***
     Name: phase_seconds
    Value: 3.0
    ***
     Name: tandem_a_total{server="m 1"}
    Value: 3
    "#);
    insta::assert_snapshot!(shown("SHOW CONFIG", &picture), @r#"
    ***
       Key: monitor.password
     Value: "***"
    Set_By: TANDEM_MONITOR__PASSWORD
    "#);
    insta::assert_snapshot!(shown("SHOW SESSIONS", &picture), @r"
    ***
               Id: 11
             User: app
           Client: 10.0.0.99:51234
             Port: main
           Server: m1
            State: idle
          Tied_By: is in a transaction
    Since_Seconds: 5.0
    ***
               Id: 12
             User: app
           Client: 10.0.0.99:51234
             Port: reads
           Server: NULL
            State: held
          Tied_By: NULL
    Since_Seconds: 3.0
    ");
    assert_eq!(shown("SHOW REPLICAS", &picture), "");
    insta::assert_snapshot!(shown("SHOW READS", &picture), @r"
    ***
              Server: m2
                Role: master
              Serves: Yes
             Why_Not: NULL
    Age_Milliseconds: 350
    ***
              Server: m1
                Role: master
              Serves: No
             Why_Not: may be 5.0 s behind (reads.max_lag)
    Age_Milliseconds: NULL
    ");
}

#[test]
fn a_broken_pair_is_shown() {
    let picture = picture(false);
    insta::assert_snapshot!(shown("SHOW MASTERS", &picture), @r"
    ***
                  Name: m1
               Address: 10.0.0.11:3306
                 State: standby
                    Up: No
            Last_Probe: refuses connections (connection refused)
    Probe_Milliseconds: 0.1
     Probe_Seconds_Ago: 3.0
             Read_Only: No
             Server_Id: 1
        Auto_Increment: 1 + n * 2
                  Term: 5
               Version: 5.5.5-10.11.19-MariaDB-log
             Semi_Sync: off
      Lag_Milliseconds: NULL
               At_Risk: NULL
    ***
                  Name: m2
               Address: 10.0.0.12:3306
                 State: standby
                    Up: Yes
            Last_Probe: answers
    Probe_Milliseconds: 1.2
     Probe_Seconds_Ago: 3.0
             Read_Only: Yes
             Server_Id: 2
        Auto_Increment: 2 + n * 2
                  Term: 5
               Version: 5.5.5-10.11.19-MariaDB-log
             Semi_Sync: off
      Lag_Milliseconds: NULL
               At_Risk: at least 1
    ");
    insta::assert_snapshot!(shown("SHOW SLAVE STATUS", &picture), @r"
    ***
                   Server: m1
                   Master: m2
          Connection_name:
              Master_Host: 10.1.0.1
              Master_Port: 3306
         Slave_IO_Running: Yes
        Slave_SQL_Running: Yes
    Seconds_Behind_Master: 0
            Last_IO_Errno: 0
            Last_IO_Error:
           Last_SQL_Errno: 0
           Last_SQL_Error:
                 Received: 1-1-120,2-2-7
                 Executed: 1-1-120,2-2-7
               Using_Gtid: Yes
                       Up: No
         Lag_Milliseconds: NULL
    ***
                   Server: m2
                   Master: m1
          Connection_name:
              Master_Host: 10.1.0.1
              Master_Port: 3306
         Slave_IO_Running: Connecting
        Slave_SQL_Running: No
    Seconds_Behind_Master: NULL
            Last_IO_Errno: 2003
            Last_IO_Error: Can't connect to server on '10.1.0.1'
           Last_SQL_Errno: 1062
           Last_SQL_Error: Duplicate entry '7' for key 'PRIMARY'
                 Received: 1-1-120,2-2-7
                 Executed: 1-1-120,2-2-7
               Using_Gtid: Yes
                       Up: Yes
         Lag_Milliseconds: NULL
    ");
    insta::assert_snapshot!(shown("SHOW STATS", &picture), @r#"
    ***
     Name: generation
    Value: 4
    ***
     Name: term
    Value: 5
    ***
     Name: active
    Value: NULL
    ***
     Name: held_because
    Value: m1 refuses connections
    ***
     Name: held_seconds
    Value: 3.0
    ***
     Name: phase
    Value: steady
    ***
     Name: phase_seconds
    Value: 3.0
    ***
     Name: tandem_a_total{server="m 1"}
    Value: 3
    "#);
    let both = [shown("SHOW SLAVE STATUS", &picture), shown("SHOW REPLICA STATUS", &picture)];
    assert!(both[1].contains("Replica_SQL_Running: No") && !both[1].contains("Slave_"));
    assert_eq!(both[0].lines().count(), both[1].lines().count());
}

#[test]
fn logins_with_a_fault_come_first() {
    insta::assert_snapshot!(shown("SHOW LOGINS", &picture(true)), @r"
    ***
                 User: old
               Schema: shop
              Standby: m2
             Accepted: No
              Refusal: error 1045: denied
          Unfenced_By: NULL
                 Mend: NULL
    Asked_Seconds_Ago: 3.0
    ***
                 User: boss
               Schema: shop
              Standby: m2
             Accepted: Yes
              Refusal: NULL
          Unfenced_By: READ_ONLY ADMIN
                 Mend: REVOKE READ_ONLY ADMIN ON *.* FROM `boss`@`%`
    Asked_Seconds_Ago: 3.0
    ***
                 User: app
               Schema: shop
              Standby: m2
             Accepted: Yes
              Refusal: NULL
          Unfenced_By: NULL
                 Mend: NULL
    Asked_Seconds_Ago: 3.0
    ");
}

#[test]
fn what_was_lost_is_listed() {
    insta::assert_snapshot!(shown("SHOW LOST WRITES", &picture(true)), @r"
    ***
          Time: 2026-09-21 15:13:20.250
    Old_Master: m1
    New_Master: m2
          Term: 6
          Lost: 2
         Gtids: 1-1-118..119
         First: 2026-09-21 15:13:20.003
          Last: 2026-09-21 15:13:20.017
         Users: app 1, batch 1
         Final: Yes
     Came_Back: 0
        Remark: NULL
    ***
          Time: 2026-09-21 15:13:20.250
    Old_Master: m2
    New_Master: m1
          Term: 7
          Lost: NULL
         Gtids: NULL
         First: NULL
          Last: NULL
         Users: NULL
         Final: Yes
     Came_Back: NULL
        Remark: m2 gives transactions no GTIDs (gtid_mode)
    ");
}

#[test]
fn events_read_as_a_timeline() {
    let picture = picture(true);
    let numbers = |statement: &str| {
        let shown = shown(statement, &picture);
        let numbers = shown.lines().filter_map(|line| line.trim().strip_prefix("Number: "));
        numbers.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    insta::assert_snapshot!(shown("SHOW EVENTS", &picture), @r"
    ***
          Number: 1
            Time: 2026-09-21 14:13:20.000
    Milliseconds: NULL
            From: starting
              To: steady
          Server: NULL
          Reason: m1 is active
    ***
          Number: 2
            Time: 2026-09-21 15:13:20.000
    Milliseconds: 3600000.0
            From: steady
              To: suspect
          Server: m1
          Reason: a session lost m1
    ***
          Number: 3
            Time: 2026-09-21 15:13:20.005
    Milliseconds: 5.4
            From: suspect
              To: catching up
          Server: m1
          Reason: m1 refuses connections
    ***
          Number: 4
            Time: 2026-09-21 15:13:20.021
    Milliseconds: 15.6
            From: promoting
              To: steady
          Server: m2
          Reason: m2 is active by term 6
    ");
    assert_eq!(numbers("SHOW EVENTS LIMIT 2"), "3 4");
    assert_eq!(numbers("SHOW EVENTS LIMIT 99"), "1 2 3 4");
    assert_eq!(numbers("SHOW EVENTS LIMIT 0"), "");
    assert_eq!(numbers("SHOW EVENTS AFTER 3"), "4");
    assert_eq!(numbers("SHOW EVENTS AFTER 1 LIMIT 1"), "4");
    let last = shown("SHOW EVENTS LIMIT 1", &picture);
    assert!(last.contains("Milliseconds: 15.6"), "the pause is not lost with its row: {last}");
}

#[test]
fn what_there_is_not_is_refused_with_what_there_is() {
    let picture = picture(true);
    insta::assert_snapshot!(shown("RELOAD", &picture), @"RELOAD is not built yet in this version; there are: SHOW MASTERS, SHOW REPLICAS, SHOW READS, SHOW SLAVE STATUS, SHOW TERMS, SHOW EVENTS, SHOW CHECKS, SHOW LOST WRITES, SHOW STRANDED, SHOW SESSIONS, SHOW LOGINS, SHOW STATS, SHOW CONFIG, SWITCHOVER TO name, FAILOVER TO name, RELEASE name, PAUSE, RESUME, KILL id, SHUTDOWN");
    insta::assert_snapshot!(shown("DROP TABLE t", &picture), @"the console does not know this statement; there are: SHOW MASTERS, SHOW REPLICAS, SHOW READS, SHOW SLAVE STATUS, SHOW TERMS, SHOW EVENTS, SHOW CHECKS, SHOW LOST WRITES, SHOW STRANDED, SHOW SESSIONS, SHOW LOGINS, SHOW STATS, SHOW CONFIG, SWITCHOVER TO name, FAILOVER TO name, RELEASE name, PAUSE, RESUME, KILL id, SHUTDOWN");
    insta::assert_snapshot!(shown("SWITCHOVER m2", &picture), @"this is written: SWITCHOVER TO name [FORCE]");
    insta::assert_snapshot!(shown("SELECT @@nothing", &picture), @"Unknown system variable 'nothing'");
}

#[test]
fn findings_of_the_checks() {
    insta::assert_snapshot!(shown("show checks", &picture(true)), @r"
    ***
    Severity: warning
       Check: sync-binlog
     Servers: m1, m2
       Since: 2026-09-21 15:13:20
        What: m1 and m2 differ in sync_binlog: 1 and 0
         Why: What m2 acknowledges may be lost with its machine.
        Mend: on m2: SET GLOBAL sync_binlog = 1;
    ***
    Severity: not seen
       Check: accounts, grants
     Servers: m2
       Since: 2026-09-21 15:13:20
        What: accounts
         Why: SELECT command denied
        Mend: GRANT SELECT ON mysql.* TO 'tandem'@'%';
    ");
}
