//! `SHOW SLAVE STATUS` in all its shapes, from real servers: named channels, two on one server, GTID
//! and file positions, receivers that were refused and appliers that stopped. Each is read by the
//! monitor, shown on the console, and does to switchovers and failovers what it should.

#[path = "failover/patience.rs"]
#[allow(dead_code, reason = "shared with another suite")]
mod patience;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mysql_async::prelude::*;
use mysql_async::{Conn, OptsBuilder, Row};
use patience::{ask, eventually, within};
use support::Stack;
use tandem::sandbox::{Sandbox, SandboxOptions};
use tandem::topology::{Channel, Flavor, ServerAddress, ServerId, ThreadState};

const M1: ServerId = ServerId(0);
const M2: ServerId = ServerId(1);

struct Rig {
    stack: Stack,
    console: Conn,
}

fn literal(channel: &str) -> String {
    format!("'{}'", channel.replace('\'', "''"))
}

/// How a receiver is told where to begin.
enum From {
    Gtid,
    File(String, u64),
}

impl Rig {
    async fn start() -> Self {
        let options = SandboxOptions { durable: false, ..Default::default() };
        let stack = Stack::start_with(options, |config| {
            config.monitor.interval = Duration::from_millis(200);
        })
        .await;
        let Some(ServerAddress::Tcp { port, .. }) = stack.app.console() else { panic!("TCP") };
        let console = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(*port)
            .user(Some("admin"))
            .prefer_socket(false);
        let console = Conn::new(console).await.expect("the console");
        Self { stack, console }
    }

    fn mariadb(&self) -> bool {
        self.stack.sandbox.binaries().flavor() == Flavor::MariaDb
    }

    async fn on(&self, server: usize, statement: &str) {
        let done = self.stack.sandbox.server(server).execute(&[statement]).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// Has m2 follow what listens on this port, by this channel.
    async fn follow(&self, channel: &str, port: u16, user: &str, from: &From) {
        let name = literal(channel);
        let begin = match (self.mariadb(), from) {
            (true, From::Gtid) => "MASTER_USE_GTID=slave_pos".to_owned(),
            (true, From::File(file, position)) => {
                format!("MASTER_USE_GTID=no, MASTER_LOG_FILE='{file}', MASTER_LOG_POS={position}")
            }
            (false, From::Gtid) => "SOURCE_AUTO_POSITION=1".to_owned(),
            (false, From::File(file, position)) => format!(
                "SOURCE_AUTO_POSITION=0, SOURCE_LOG_FILE='{file}', SOURCE_LOG_POS={position}"
            ),
        };
        let statement = if self.mariadb() {
            format!(
                "CHANGE MASTER {name} TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, \
                 MASTER_USER='{user}', MASTER_PASSWORD='r', MASTER_CONNECT_RETRY=1, \
                 MASTER_HEARTBEAT_PERIOD=1, {begin}"
            )
        } else {
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, \
                 SOURCE_USER='{user}', SOURCE_PASSWORD='r', SOURCE_CONNECT_RETRY=1, \
                 SOURCE_HEARTBEAT_PERIOD=1, GET_SOURCE_PUBLIC_KEY=1, {begin} \
                 FOR CHANNEL {name}"
            )
        };
        self.on(1, &statement).await;
        self.threads("START", channel).await;
    }

    /// `START` or `STOP`, both threads.
    async fn threads(&self, verb: &str, channel: &str) {
        let name = literal(channel);
        let statement = if self.mariadb() {
            format!("{verb} SLAVE {name}")
        } else {
            format!("{verb} REPLICA FOR CHANNEL {name}")
        };
        self.on(1, &statement).await;
    }

    async fn forget(&self, channel: &str) {
        self.threads("STOP", channel).await;
        let name = literal(channel);
        let statement = if self.mariadb() {
            format!("RESET SLAVE {name} ALL")
        } else {
            format!("RESET REPLICA ALL FOR CHANNEL {name}")
        };
        self.on(1, &statement).await;
    }

    /// Waits until the monitor sees m2's channel so.
    async fn seen(&self, name: &str, what: &str, wanted: impl Fn(&Channel) -> bool) -> Channel {
        let mut topology = self.stack.app.handles().topology.clone();
        let find = |channels: &[Channel]| {
            channels.iter().find(|channel| channel.name == name && wanted(channel)).cloned()
        };
        let mut last = Vec::new();
        let looking = async {
            loop {
                let seen = topology.borrow_and_update().clone();
                if let Some(facts) = seen.facts(M2) {
                    if let Some(found) = find(&facts.channels) {
                        return found;
                    }
                    last = facts.channels.clone();
                }
                topology.changed().await.expect("the proxy runs");
            }
        };
        let found = tokio::time::timeout(patience::PATIENCE, looking).await;
        found.unwrap_or_else(|_| panic!("channel {name:?} is never {what}: {last:#?}"))
    }

    /// Waits until m1 has answered a look that begins from now on: only what its receivers are then is
    /// known to have been so while it was up.
    async fn outlived(&self) {
        let since = Instant::now();
        let mut topology = self.stack.app.handles().topology.clone();
        let looked = topology.wait_for(|topology| {
            let seen = topology.seen(M1);
            let last = seen.last.as_ref().filter(|_| seen.answers());
            last.is_some_and(|last| last.at.checked_sub(last.took) >= Some(since))
        });
        within("m1 is looked at", looked).await.expect("the proxy runs");
    }

    /// The row of m2's channel, in one of the two spellings.
    async fn shown(
        &mut self,
        statement: &str,
        column: &str,
        name: &str,
    ) -> BTreeMap<String, String> {
        let rows: Vec<Row> = self.console.query(statement).await.expect("shown");
        let cells = |row: Row| -> BTreeMap<String, String> {
            let names: Vec<String> =
                row.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
            let values = (0..names.len())
                .map(|at| row.get::<Option<String>, _>(at).flatten().unwrap_or_default());
            names.iter().cloned().zip(values).collect()
        };
        let mut rows = rows.into_iter().map(cells);
        let found = rows.find(|row| row["Server"] == "m2" && row[column] == name);
        found.unwrap_or_else(|| panic!("no row of {name:?}"))
    }

    async fn order(&mut self, sql: &str) -> Result<String, String> {
        let answer = within(sql, self.console.query_first::<String, _>(sql)).await;
        answer.map(|row| row.expect("a row")).map_err(|error| match error {
            mysql_async::Error::Server(error) => error.message,
            other => panic!("{other}"),
        })
    }

    /// Where a server's binary log is.
    async fn position(&self, server: usize) -> (String, u64) {
        let mut root =
            self.stack.sandbox.server(server).root_connection().await.expect("root's login");
        let statement =
            if self.mariadb() { "SHOW MASTER STATUS" } else { "SHOW BINARY LOG STATUS" };
        let row: Row = root.query_first(statement).await.expect("asked").expect("a row");
        (row.get(0).expect("a file"), row.get(1).expect("a position"))
    }
}

#[tokio::test]
async fn every_shape_of_a_channel_is_read_right() {
    let mut rig = Rig::start().await;
    rig.on(0, "CREATE TABLE app.t (id INT PRIMARY KEY)").await;
    rig.on(0, "CREATE USER 'r'@'%' IDENTIFIED BY 'r'").await;
    rig.on(0, "GRANT REPLICATION SLAVE ON *.* TO 'r'@'%'").await;

    let channel = rig.seen("", "running", |channel| channel.sql == ThreadState::Yes).await;
    assert!(channel.uses_gtid && channel.io == ThreadState::Yes, "{channel:?}");
    assert_eq!(channel.source_server_id, 1);
    a_named_channel(&mut rig).await;
    a_second_channel(&mut rig).await;
    refused_receivers(&mut rig).await;
    an_applier_that_stopped(&mut rig).await;
    file_and_position(&mut rig).await;
    a_backlog_by_position(&mut rig).await;
}

/// The pair's own, under a name; all that Tandem does works with it.
async fn a_named_channel(rig: &mut Rig) {
    rig.forget("").await;
    let port = rig.stack.sandbox.server(0).port();
    rig.follow("it's", port, "r", &From::Gtid).await;
    let both =
        |channel: &Channel| channel.io == ThreadState::Yes && channel.sql == ThreadState::Yes;
    let whose = |channel: &Channel| both(channel) && channel.source_server_id == 1;
    let channel = rig.seen("it's", "running", whose).await;
    assert!(channel.uses_gtid && channel.source_port == port, "{channel:?}");
    let row = rig.shown("SHOW SLAVE STATUS", "Connection_name", "it's").await;
    assert_eq!(row["Master"], "m1");
    assert_eq!((&*row["Slave_IO_Running"], &*row["Slave_SQL_Running"]), ("Yes", "Yes"));
    assert_eq!(row["Using_Gtid"], "Yes");
    for to in ["m2", "m1"] {
        let done = rig.order(&format!("SWITCHOVER TO {to}")).await.expect(to);
        assert!(done.contains("is active"), "{done}");
    }
}

/// From a server that Tandem knows nothing of. It is shown, and stands in nobody's way.
async fn a_second_channel(rig: &mut Rig) {
    let options = SandboxOptions { durable: false, ..Default::default() };
    let other = Sandbox::start(options).await.expect("another pair");
    // It has the same server id as our m2, and a server serves only one slave of an id.
    let stop = if rig.mariadb() { "STOP SLAVE" } else { "STOP REPLICA" };
    other.server(1).execute(&[stop]).await.expect("stopped");
    let mut statements = vec!["SET GLOBAL server_id=77", "SET GLOBAL read_only=0"];
    match other.binaries().flavor() {
        Flavor::MariaDb => statements.push("SET GLOBAL gtid_domain_id=77"),
        Flavor::MySql => statements.push("SET GLOBAL super_read_only=0"),
    }
    statements.extend([
        "CREATE USER 'r'@'%' IDENTIFIED BY 'r'",
        "GRANT REPLICATION SLAVE ON *.* TO 'r'@'%'",
    ]);
    // On a new connection, whose session is of that domain.
    for statement in statements {
        other.server(0).execute(&["SET SESSION sql_log_bin=0", statement]).await.expect(statement);
    }
    if rig.mariadb() {
        // What the other writes comes to m2 by two ways, from itself and round by m1. MariaDB would execute
        // it each time it comes, and pass it on, for ever.
        for master in 0..2 {
            let once =
                ["STOP ALL SLAVES", "SET GLOBAL gtid_ignore_duplicates=1", "START ALL SLAVES"];
            rig.stack.sandbox.server(master).execute(&once).await.expect("executed once");
        }
    }
    rig.follow("other", other.server(0).port(), "r", &From::Gtid).await;
    let running =
        |channel: &Channel| channel.io == ThreadState::Yes && channel.sql == ThreadState::Yes;
    // MySQL says that it is connected a moment before it knows to whom.
    rig.seen("other", "running", |channel| running(channel) && channel.source_server_id == 77)
        .await;
    rig.seen("it's", "running beside it", running).await;
    other.server(0).execute(&["CREATE DATABASE elsewhere"]).await.expect("made");
    eventually("m2 has what the other wrote", async || {
        let count =
            "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name='elsewhere'";
        (ask::<u8>(rig.stack.sandbox.server(1), count).await == 1).then_some(())
    })
    .await;
    let row = rig.shown("SHOW REPLICA STATUS", "Channel_Name", "other").await;
    assert_eq!((&*row["Source"], &*row["Replica_IO_Running"]), ("", "Yes"));
    for to in ["m2", "m1"] {
        let done = rig.order(&format!("SWITCHOVER TO {to}")).await.expect(to);
        assert!(done.contains("is active"), "{done}");
    }
    rig.forget("other").await;
}

/// Never connected, a wrong password, a log that is gone.
async fn refused_receivers(rig: &mut Rig) {
    let port = rig.stack.sandbox.server(0).port();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = nobody.local_addr().expect("its address").port();
    drop(nobody);
    rig.follow("x", closed, "r", &From::Gtid).await;
    let channel = rig.seen("x", "refused", |channel| channel.io_error.0 == 2003).await;
    assert_eq!(channel.io, ThreadState::Connecting, "{channel:?}");
    // MySQL and MariaDB: nothing is known of a source that was never reached.
    assert_eq!(channel.source_server_id, 0, "{channel:?}");
    let row = rig.shown("SHOW SLAVE STATUS", "Connection_name", "x").await;
    assert_eq!((&*row["Slave_IO_Running"], &*row["Last_IO_Errno"]), ("Connecting", "2003"));
    rig.forget("x").await;

    // A server follows another only once.
    rig.forget("it's").await;
    rig.follow("x", port, "nobody", &From::Gtid).await;
    let channel = rig.seen("x", "denied", |channel| channel.io_error.0 == 1045).await;
    assert_eq!(channel.io, ThreadState::Connecting, "{channel:?}");
    rig.forget("x").await;

    rig.follow("x", port, "r", &From::File("binlog.000999".to_owned(), 4)).await;
    let gone = |channel: &Channel| matches!(channel.io_error.0, 1236 | 13114);
    let channel = rig.seen("x", "without its log", gone).await;
    assert_eq!((channel.io, channel.uses_gtid), (ThreadState::No, false), "{channel:?}");
    let refused = rig.order("SWITCHOVER TO m2").await.expect_err("it does not receive");
    println!("{refused}");
    let row = rig.shown("SHOW SLAVE STATUS", "Connection_name", "x").await;
    assert_eq!((&*row["Slave_IO_Running"], &*row["Using_Gtid"]), ("No", "No"));
    rig.forget("x").await;
}

async fn an_applier_that_stopped(rig: &mut Rig) {
    let port = rig.stack.sandbox.server(0).port();
    rig.follow("it's", port, "r", &From::Gtid).await;
    let m2 = rig.stack.sandbox.server(1);
    if !rig.mariadb() {
        m2.execute(&["SET GLOBAL super_read_only=0"]).await.expect("open to root");
    }
    let in_the_way = ["SET SESSION sql_log_bin=0", "INSERT INTO app.t VALUES (5)"];
    m2.execute(&in_the_way).await.expect("in the way");
    rig.on(0, "INSERT INTO app.t VALUES (5)").await;
    // MySQL shows the error some moments before the thread has stopped.
    let stopped = |channel: &Channel| channel.sql_error.0 == 1062 && channel.sql == ThreadState::No;
    let channel = rig.seen("it's", "stopped by 1062", stopped).await;
    assert_eq!(channel.io, ThreadState::Yes, "{channel:?}");
    let refused = rig.order("SWITCHOVER TO m2").await.expect_err("its applier stopped");
    assert!(refused.contains("1062"), "{refused}");
    let row = rig.shown("SHOW REPLICA STATUS", "Channel_Name", "it's").await;
    assert_eq!((&*row["Replica_SQL_Running"], &*row["Last_SQL_Errno"]), ("No", "1062"));
    let m2 = rig.stack.sandbox.server(1);
    let mended = ["SET SESSION sql_log_bin=0", "DELETE FROM app.t WHERE id=5"];
    m2.execute(&mended).await.expect("out of the way");
    rig.threads("START", "it's").await;
    rig.seen("it's", "running again", |channel| channel.sql == ThreadState::Yes).await;
}

/// A switchover needs GTID, and says how to get there.
async fn file_and_position(rig: &mut Rig) {
    rig.forget("it's").await;
    let (file, position) = rig.position(0).await;
    let port = rig.stack.sandbox.server(0).port();
    rig.follow("it's", port, "r", &From::File(file, position)).await;
    let both =
        |channel: &Channel| channel.io == ThreadState::Yes && channel.sql == ThreadState::Yes;
    rig.seen("it's", "running by position", |channel| both(channel) && !channel.uses_gtid).await;
    rig.on(0, "INSERT INTO app.t VALUES (6)").await;
    let row = rig.shown("SHOW SLAVE STATUS", "Connection_name", "it's").await;
    assert_eq!((&*row["Using_Gtid"], &*row["Slave_SQL_Running"]), ("No", "Yes"));
    let refused = rig.order("SWITCHOVER TO m2").await.expect_err("there is no GTID");
    println!("{refused}");
    assert!(refused.contains("without GTID"), "{refused}");
    let (_, mend) = refused.split_once("mend it with: ").expect("a statement that mends it");
    for statement in mend.split("; ") {
        rig.on(1, statement).await;
    }
    rig.seen("it's", "running by GTID", |channel| both(channel) && channel.uses_gtid).await;
    for to in ["m2", "m1"] {
        let done = rig.order(&format!("SWITCHOVER TO {to}")).await.expect(to);
        assert!(done.contains("is active"), "{done}");
    }
}

/// A failover does without: what was received is executed, by position.
async fn a_backlog_by_position(rig: &mut Rig) {
    rig.threads("STOP", "it's").await;
    rig.forget("it's").await;
    let (file, position) = rig.position(0).await;
    let port = rig.stack.sandbox.server(0).port();
    rig.follow("it's", port, "r", &From::File(file, position)).await;
    rig.seen("it's", "running by position", |channel| {
        channel.sql == ThreadState::Yes && channel.io == ThreadState::Yes && !channel.uses_gtid
    })
    .await;
    let mut lock = rig.stack.sandbox.server(1).root_connection().await.expect("root's login");
    lock.query_drop("LOCK TABLES app.t READ").await.expect("locked");
    for key in 100..150 {
        rig.on(0, &format!("INSERT INTO app.t VALUES ({key})")).await;
    }
    let end = rig.position(0).await;
    eventually("m2 received all", async || {
        let mut root = rig.stack.sandbox.server(1).root_connection().await.ok()?;
        let statement =
            if rig.mariadb() { "SHOW ALL SLAVES STATUS" } else { "SHOW REPLICA STATUS" };
        let row: Row = root.query_first(statement).await.ok()??;
        let number = |name: &str| row.get::<u64, _>(name);
        let received = if rig.mariadb() {
            number("Read_Master_Log_Pos")
        } else {
            number("Read_Source_Log_Pos")
        };
        (received? >= end.1).then_some(())
    })
    .await;
    rig.outlived().await;
    rig.stack.sandbox.server_mut(0).kill().await.expect("killed");
    let mut status = rig.stack.app.handles().status.clone();
    let catching = status.wait_for(|now| now.phase == "catching up");
    within("it waits for its applier", catching).await.expect("the proxy runs");
    let rows = "SELECT COUNT(*) FROM app.t WHERE id >= 100";
    lock.query_drop("UNLOCK TABLES").await.expect("unlocked");
    rig.stack.await_active(Some("m2")).await;
    assert_eq!(ask::<u8>(rig.stack.sandbox.server(1), rows).await, 50);
}
