//! What the console shows, and that real clients can read it.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row};
use tokio::net::TcpListener;

use super::answer::{Answer, Asker, answer};
use super::statement::Statement;
use super::*;
use crate::config::Place;
use crate::routing::Writer;
use crate::topology::Term;
use crate::topology::fixture::{self, M1, M2};

fn session(id: u64, server: &str, state: &str, since: Instant) -> SessionRow {
    SessionRow {
        id,
        user: "app".into(),
        client: "10.0.0.99:51234".into(),
        server: server.into(),
        state: state.into(),
        since,
    }
}

fn login(user: &str, refusal: Option<&str>, asked: Instant) -> StandbyLogin {
    StandbyLogin {
        user: user.into(),
        schema: "shop".into(),
        server: M2,
        refusal: refusal.map(Into::into),
        asked,
    }
}

struct Fixed(Vec<SessionRow>);

impl SessionList for Fixed {
    fn sessions(&self) -> Vec<SessionRow> {
        self.0.clone()
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
        sessions: vec![session(12, "", "held", gone), session(11, "m1", "in a transaction", start)],
        logins: [login("app", None, gone), login("old", Some("error 1045: denied"), gone)].into(),
        samples: "# TYPE tandem_a counter\ntandem_a_total{server=\"m 1\"} 3\n# EOF\n".into(),
    }
}

/// The answer as the mysql command line shows it with `\G`.
fn shown(statement: &str, picture: &Picture) -> String {
    let asker = Asker { connection_id: 7, user: "admin".into() };
    let table = match answer(&Statement::parse(statement), &asker, picture) {
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
    ");
    insta::assert_snapshot!(shown("SHOW TERMS", &picture), @r"
    ***
    Server: m1
      Term: 5
    Active: m1
    Remark: NULL
    ***
    Server: m2
      Term: 5
    Active: m1
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
           Server: m1
            State: in a transaction
    Since_Seconds: 5.0
    ***
               Id: 12
             User: app
           Client: 10.0.0.99:51234
           Server: NULL
            State: held
    Since_Seconds: 3.0
    ");
    assert_eq!(shown("SHOW REPLICAS", &picture), "");
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
     Name: tandem_a_total{server="m 1"}
    Value: 3
    "#);
    let both = [shown("SHOW SLAVE STATUS", &picture), shown("SHOW REPLICA STATUS", &picture)];
    assert!(both[1].contains("Replica_SQL_Running: No") && !both[1].contains("Slave_"));
    assert_eq!(both[0].lines().count(), both[1].lines().count());
}

#[test]
fn logins_that_a_standby_refuses_come_first() {
    insta::assert_snapshot!(shown("SHOW LOGINS", &picture(true)), @r"
    ***
                 User: old
               Schema: shop
              Standby: m2
             Accepted: No
              Refusal: error 1045: denied
    Asked_Seconds_Ago: 3.0
    ***
                 User: app
               Schema: shop
              Standby: m2
             Accepted: Yes
              Refusal: NULL
    Asked_Seconds_Ago: 3.0
    ");
}

#[test]
fn what_there_is_not_is_refused_with_what_there_is() {
    let picture = picture(true);
    insta::assert_snapshot!(shown("SWITCHOVER TO m2", &picture), @"SWITCHOVER is not built yet in this version; there are: SHOW MASTERS, SHOW REPLICAS, SHOW SLAVE STATUS, SHOW TERMS, SHOW SESSIONS, SHOW LOGINS, SHOW STATS, SHOW CONFIG");
    insta::assert_snapshot!(shown("DROP TABLE t", &picture), @"the console does not know this statement; there are: SHOW MASTERS, SHOW REPLICAS, SHOW SLAVE STATUS, SHOW TERMS, SHOW SESSIONS, SHOW LOGINS, SHOW STATS, SHOW CONFIG");
    insta::assert_snapshot!(shown("SELECT @@nothing", &picture), @"Unknown system variable 'nothing'");
}

/// The console behind a loopback port, for clients that need one.
async fn console() -> (u16, tokio::task::JoinHandle<Result<(), ConsoleError>>) {
    let Picture { routing, topology, settings, sessions, logins, .. } = picture(true);
    let handles = Handles {
        routing: watch::channel(routing).1,
        topology: watch::channel(topology).1,
        metrics: Arc::new(Metrics::new(["m1", "m2"])),
        settings,
        admin: "admin".into(),
        sessions: Arc::new(Fixed(sessions)),
        logins: watch::channel(logins).1,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        serve(stream, 7, handles).await
    });
    (port, served)
}

#[tokio::test]
async fn a_real_client_reads_the_tables() {
    let (port, served) = console().await;
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("anybody"))
        .pass(Some("anything"))
        .db_name(Some("whatever"));
    let mut client = Conn::new(options).await.unwrap();
    assert_eq!(client.id(), 7);
    let masters: Vec<Row> = client.query("SHOW MASTERS").await.unwrap();
    let names: Vec<String> = masters.iter().map(|row| row.get("Name").unwrap()).collect();
    assert_eq!(names, ["m1", "m2"]);
    assert_eq!(masters[0].get::<String, _>("State").unwrap(), "active");
    let none: Vec<Row> = client.query("SHOW REPLICAS").await.unwrap();
    assert!(none.is_empty());
    let error = client.query_drop("SWITCHOVER TO m2").await.unwrap_err();
    assert!(error.to_string().contains("not built yet"), "{error}");
    let error = client.query_drop("SELECT @@nothing").await.unwrap_err();
    assert!(error.to_string().contains("1193"), "{error}");
    assert!(client.prep("SHOW MASTERS").await.is_err());
    client.query_drop("SET NAMES utf8mb4").await.unwrap();
    client.query_drop("USE anything").await.unwrap();
    client.ping().await.unwrap();
    let picked: Option<(String, Option<String>, u32)> =
        client.query_first("SELECT USER(), DATABASE(), CONNECTION_ID()").await.unwrap();
    assert_eq!(picked, Some(("admin".into(), None, 7)));
    client.disconnect().await.unwrap();
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn two_greetings_have_two_salts() {
    use tokio::io::AsyncReadExt;
    let mut greetings = Vec::new();
    for _ in 0..2 {
        let (port, served) = console().await;
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut greeting = vec![0; 4];
        stream.read_exact(&mut greeting).await.unwrap();
        let mut rest = vec![0; usize::from(greeting[0])];
        stream.read_exact(&mut rest).await.unwrap();
        drop(stream);
        assert!(served.await.unwrap().is_err(), "a client that leaves in the login is an error");
        greetings.push(rest);
    }
    assert_ne!(greetings[0], greetings[1]);
    assert_eq!(greetings[0].len(), greetings[1].len());
}
