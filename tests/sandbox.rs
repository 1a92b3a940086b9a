//! The sandbox, with real servers: whichever `TANDEM_SERVER` names, or the installed one.
//!
//! Without a server these tests fail, and say what to install.

#![allow(clippy::unwrap_used, reason = "what a test calls may panic as the test may")]

#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use futures_util::StreamExt as _;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStreamRequest, Conn, Row};
use support::eventually;
use tandem::config;
use tandem::monitor::{Connection, Dialer, missing_privileges};
use tandem::pair::facts::{Facts, Part, Wanted};
use tandem::pair::{Replication, Shape};
use tandem::sandbox::{Sandbox, SandboxOptions, SandboxServer};
use tandem::topology::{Flavor, Server, ThreadState, grants};

/// For what must happen; it bounds a failing test and nothing else.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(options: SandboxOptions) -> Sandbox {
    match Sandbox::start(options).await {
        Ok(sandbox) => sandbox,
        Err(error) => panic!("the sandbox did not start: {error}"),
    }
}

/// What the server says of its one channel.
async fn replication(sandbox: &Sandbox, server: &SandboxServer) -> Replication {
    let mut channels = sandbox.replication(server).await.unwrap();
    assert_eq!(channels.len(), 1, "{channels:?}");
    channels.remove(0)
}

async fn ids(server: &SandboxServer) -> Vec<u64> {
    let mut root = server.root_connection().await.unwrap();
    root.query("SELECT id FROM app.t ORDER BY id").await.unwrap()
}

async fn insert(server: &SandboxServer) -> u64 {
    let mut root = server.root_connection().await.unwrap();
    root.query_drop("INSERT INTO app.t () VALUES ()").await.unwrap();
    root.last_insert_id().unwrap()
}

/// Waits until the server has these rows, which it gets from the other one.
async fn await_ids(server: &SandboxServer, expected: &[u64]) {
    eventually(&format!("{} has the rows {expected:?}", server.name()), async || {
        let mut root = server.root_connection().await.unwrap();
        // The table may be on its way, too.
        let ids: Vec<u64> = root.query("SELECT id FROM app.t ORDER BY id").await.ok()?;
        (ids == expected).then_some(())
    })
    .await;
}

async fn received_heartbeats(sandbox: &Sandbox, server: &SandboxServer) -> u64 {
    let mut root = server.root_connection().await.unwrap();
    match sandbox.binaries().flavor() {
        Flavor::MariaDb => {
            let row: Row = root.query_first("SHOW ALL SLAVES STATUS").await.unwrap().unwrap();
            row.get("Slave_received_heartbeats").unwrap()
        }
        Flavor::MySql => root
            .query_first(
                "SELECT COUNT_RECEIVED_HEARTBEATS \
                 FROM performance_schema.replication_connection_status",
            )
            .await
            .unwrap()
            .unwrap(),
    }
}

#[tokio::test]
async fn two_masters_replicate_and_hand_out_odd_and_even_keys() {
    let sandbox = start(SandboxOptions::default()).await;
    let (m1, m2) = (sandbox.server(0), sandbox.server(1));
    for server in sandbox.servers() {
        let replication = replication(&sandbox, server).await;
        assert_eq!((replication.io, replication.sql), (ThreadState::Yes, ThreadState::Yes));
        // Everything that Tandem relies on in the masters of a pair.
        let mut root = server.root_connection().await.unwrap();
        let set: (bool, u32, u64, bool, u32) = root
            .query_first(
                "SELECT @@read_only, @@auto_increment_increment, @@max_allowed_packet, \
                 @@local_infile, @@sync_binlog",
            )
            .await
            .unwrap()
            .unwrap();
        assert_eq!(set, (true, 2, 1 << 30, true, 1));
    }
    let sources: Vec<u16> = [m2, m1].map(SandboxServer::port).into();
    for (server, source) in sandbox.servers().iter().zip(sources) {
        let replication = replication(&sandbox, server).await;
        assert_eq!(replication.source, format!("127.0.0.1:{source}"));
    }

    m1.execute(&["CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT)"]).await.unwrap();
    for expected in [1, 3, 5] {
        assert_eq!(insert(m1).await, expected);
    }
    await_ids(m2, &[1, 3, 5]).await;
    // The next free number of its own class above what it has seen.
    assert_eq!(insert(m2).await, 6);
    await_ids(m1, &[1, 3, 5, 6]).await;
    assert_eq!(insert(m1).await, 7);
    await_ids(m2, &[1, 3, 5, 6, 7]).await;
}

#[tokio::test]
async fn a_killed_a_stopped_and_a_frozen_server_come_back_and_catch_up() {
    let mut sandbox = start(SandboxOptions::default()).await;
    sandbox
        .server(0)
        .execute(&["CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT)"])
        .await
        .unwrap();
    assert_eq!(insert(sandbox.server(0)).await, 1);
    await_ids(sandbox.server(1), &[1]).await;

    let (first_pid, port) = (sandbox.server(0).pid().unwrap(), sandbox.server(0).port());
    sandbox.server_mut(0).kill().await.unwrap();
    assert!(sandbox.server(0).pid().is_none());
    assert!(!std::path::Path::new(&format!("/proc/{first_pid}")).exists());
    eventually("m2 notices that m1 is dead", async || {
        let said = replication(&sandbox, sandbox.server(1)).await;
        (said.io == ThreadState::Connecting && said.sql == ThreadState::Yes).then_some(())
    })
    .await;
    assert_eq!(insert(sandbox.server(1)).await, 2);
    sandbox.server_mut(0).restart().await.unwrap();
    assert_eq!(sandbox.server(0).port(), port);
    sandbox.await_replication().await.unwrap();
    await_ids(sandbox.server(0), &[1, 2]).await;

    sandbox.server_mut(1).stop().await.unwrap();
    assert!(sandbox.server_mut(1).stop().await.is_err(), "a stopped server cannot be stopped");
    assert_eq!(insert(sandbox.server(0)).await, 3);
    sandbox.server_mut(1).restart().await.unwrap();
    sandbox.await_replication().await.unwrap();
    await_ids(sandbox.server(1), &[1, 2, 3]).await;

    sandbox.server(1).freeze().await.unwrap();
    let pid = sandbox.server(1).pid().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(stat.contains(") T "), "{stat}");
    assert_eq!(insert(sandbox.server(0)).await, 5);
    sandbox.server(1).thaw().unwrap();
    await_ids(sandbox.server(1), &[1, 2, 3, 5]).await;
    // A frozen server can be stopped, and killed.
    for kill in [false, true] {
        sandbox.server(1).freeze().await.unwrap();
        if kill {
            sandbox.server_mut(1).kill().await.unwrap();
        } else {
            sandbox.server_mut(1).stop().await.unwrap();
        }
        sandbox.server_mut(1).restart().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_cut_off_is_silent_until_it_is_reconnected() {
    let options = SandboxOptions { forwarders: true, ..SandboxOptions::default() };
    let mut sandbox = start(options).await;
    sandbox
        .server(0)
        .execute(&["CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT)"])
        .await
        .unwrap();
    assert_eq!(insert(sandbox.server(0)).await, 1);
    await_ids(sandbox.server(1), &[1]).await;

    let beats = received_heartbeats(&sandbox, sandbox.server(1)).await;
    eventually("heartbeats arrive while nothing is written", async || {
        (received_heartbeats(&sandbox, sandbox.server(1)).await > beats + 1).then_some(())
    })
    .await;

    let url = sandbox.url(sandbox.server(0).port());
    let mut client = Conn::from_url(&url).await.unwrap();
    sandbox.server_mut(0).cut_off().unwrap();
    let mut question = client.query_first::<u8, _>("SELECT 1");
    // m2's receiver gives up after four heartbeats that did not come, and tries to connect again;
    // in all that time the client has heard nothing.
    tokio::select! {
        answer = &mut question => panic!("somebody answered: {answer:?}"),
        () = eventually("m2 misses m1's heartbeats", async || {
            let said = replication(&sandbox, sandbox.server(1)).await;
            (said.io == ThreadState::Connecting).then_some(())
        }) => {}
    }
    assert_eq!(insert(sandbox.server(0)).await, 3);
    assert_eq!(ids(sandbox.server(1)).await, [1], "a row went through a network that is cut");

    sandbox.server_mut(0).reconnect().unwrap();
    assert_eq!(question.await.unwrap(), Some(1));
    await_ids(sandbox.server(1), &[1, 3]).await;

    sandbox.server_mut(0).refuse().await.unwrap();
    assert!(client.query_drop("SELECT 1").await.is_err());
    let refused = Conn::from_url(&url).await.unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");
    sandbox.server_mut(0).reconnect().unwrap();
    sandbox.await_replication().await.unwrap();
    Conn::from_url(&url).await.unwrap();

    // A machine whose server is dead refuses; a forwarder must not hide that.
    sandbox.server_mut(0).kill().await.unwrap();
    let refused = Conn::from_url(&url).await.unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");
    sandbox.server_mut(0).restart().await.unwrap();
    sandbox.await_replication().await.unwrap();
}

#[tokio::test]
async fn a_semi_synchronous_pair_acknowledges_in_both_directions() {
    let sandbox = start(SandboxOptions { semi_sync: true, ..SandboxOptions::default() }).await;
    let word = match sandbox.binaries().flavor() {
        Flavor::MariaDb => "master",
        Flavor::MySql => "source",
    };
    let count = async |server: &SandboxServer, what: &str| {
        let mut root = server.root_connection().await.unwrap();
        let status = format!("SHOW STATUS LIKE 'Rpl_semi_sync_{word}_{what}'");
        let (_, count): (String, u64) = root.query_first(status).await.unwrap().unwrap();
        count
    };
    for server in sandbox.servers() {
        eventually("the other master acknowledges", async || {
            (count(server, "clients").await == 1).then_some(())
        })
        .await;
        let before = count(server, "yes_tx").await;
        server.execute(&[&format!("CREATE TABLE app.{} (id INT)", server.name())]).await.unwrap();
        // On the second one the first one's table may have come in between, and counts as well.
        assert!(count(server, "yes_tx").await > before);
        assert_eq!(count(server, "no_tx").await, 0);
    }
}

#[tokio::test]
async fn three_masters_form_a_ring() {
    let sandbox = start(SandboxOptions { masters: 3, ..SandboxOptions::default() }).await;
    let servers = sandbox.servers();
    servers[0].execute(&["CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT)"]).await.unwrap();
    let mut rows = Vec::new();
    for (server, expected) in servers.iter().zip([1, 2, 3]) {
        eventually("the table arrives", async || {
            let mut root = server.root_connection().await.unwrap();
            root.query_drop("SELECT id FROM app.t").await.ok()
        })
        .await;
        await_ids(server, &rows).await;
        assert_eq!(insert(server).await, expected);
        rows.push(expected);
        // From the last one on it goes all the way round.
        for other in servers {
            await_ids(other, &rows).await;
        }
    }
}

/// A row comes by three ways to each, and is executed once.
#[tokio::test]
async fn three_masters_form_a_mesh() {
    let sandbox =
        start(SandboxOptions { masters: 3, shape: Shape::Mesh, ..SandboxOptions::default() }).await;
    let servers = sandbox.servers();
    for server in servers {
        let mut sources: Vec<_> = sandbox.replication(server).await.unwrap();
        sources.sort_by(|one, other| one.channel.cmp(&other.channel));
        let others = servers.iter().filter(|other| other.name() != server.name());
        let expected: Vec<_> = others
            .map(|other| (other.name().to_owned(), format!("127.0.0.1:{}", other.port())))
            .collect();
        let found: Vec<_> = sources.into_iter().map(|s| (s.channel, s.source)).collect();
        assert_eq!(found, expected);
    }
    servers[0].execute(&["CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT)"]).await.unwrap();
    let mut rows = Vec::new();
    for round in 0..10 {
        for (server, number) in servers.iter().zip(1..) {
            eventually("the table arrives", async || {
                let mut root = server.root_connection().await.unwrap();
                root.query_drop("SELECT id FROM app.t").await.ok()
            })
            .await;
            await_ids(server, &rows).await;
            assert_eq!(insert(server).await, 3 * round + number);
            rows.push(3 * round + number);
        }
    }
    for server in servers {
        await_ids(server, &rows).await;
    }
    sandbox.await_replication().await.unwrap();
}

#[tokio::test]
async fn the_monitor_may_do_what_tandem_does_and_no_grant_is_idle() {
    let sandbox = start(SandboxOptions { semi_sync: true, ..SandboxOptions::default() }).await;
    let server = sandbox.server(0);
    let user = &sandbox.monitor().user;
    let password = sandbox.monitor().password.clone();
    let dialer = Dialer::new(&config::Monitor {
        user: user.clone(),
        password,
        ..config::Monitor::default()
    });
    let log_in = async || dialer.connect(&server.address(), PATIENCE).await.unwrap();
    let mut monitor = log_in().await;
    let dialect = monitor.dialect();
    let work = work(dialect.flavor);
    for statement in work {
        let answers = monitor.ask(statement).await.unwrap();
        assert_eq!(answers.error, None, "{statement}");
    }
    assert_eq!(missing_privileges(&mut monitor).await.unwrap(), []);
    let config = sandbox.proxy_config();
    let asked = config.servers.masters().next().expect("a master");
    // MySQL shows events only to whoever may change them.
    let never = if dialect.flavor == Flavor::MySql { &[Part::Events][..] } else { &[] };
    assert_eq!(denied(&mut monitor, asked).await, never);
    // Taken away one by one, each is missed, by whoever looks and by whoever works; and what is said
    // to be missing is what mends it.
    for grant in grants::monitor_grants(dialect, user) {
        let revoke = grant.replace("GRANT ", "REVOKE ").replace(" TO ", " FROM ");
        server.execute(&["SET SESSION sql_log_bin = 0", &revoke]).await.unwrap();
        // Privileges are looked up when a connection begins.
        let mut monitor = log_in().await;
        let missing = missing_privileges(&mut monitor).await.unwrap();
        assert!(missing.iter().any(|(_, mends)| *mends == grant), "after {revoke}: {missing:?}");
        let mut refused = 0;
        for statement in work {
            let answers = monitor.ask(statement).await.unwrap();
            refused += usize::from(answers.error.is_some());
        }
        refused += denied(&mut monitor, asked).await.len() - never.len();
        refused += usize::from(!may_read_the_log(monitor).await);
        assert!(refused > 0, "nothing needs {grant}");
        server.execute(&["SET SESSION sql_log_bin = 0", &grant]).await.unwrap();
        let mut mended = log_in().await;
        assert_eq!(missing_privileges(&mut mended).await.unwrap(), [], "after {grant}");
    }
}

/// What the checks are not told for want of a privilege.
async fn denied(connection: &mut Connection, server: &Server) -> Vec<Part> {
    let facts = Facts::read(connection, server, Wanted::ALL).await.expect("answers");
    let parts = [
        Part::Channels,
        Part::Term,
        Part::Beats,
        Part::Tables,
        Part::Accounts,
        Part::Grants,
        Part::Events,
        Part::LogFilters,
    ];
    parts
        .into_iter()
        .filter(|part| facts.unseen(*part).is_some_and(|it| it.grant().is_some()))
        .collect()
}

/// Asks for the binary log as a replica would. No statement needs what that needs.
async fn may_read_the_log(connection: Connection) -> bool {
    let request = BinlogStreamRequest::new(1 << 31).with_non_blocking();
    let Ok(mut log) = connection.into_conn().get_binlog_stream(request).await else { return false };
    !matches!(log.next().await, Some(Err(_)))
}

/// The statements of the monitor and the coordinator, one of each kind.
fn work(flavor: Flavor) -> &'static [&'static str] {
    match flavor {
        Flavor::MariaDb => &[
            "SHOW ALL SLAVES STATUS",
            "SELECT User, Host, Priv FROM mysql.global_priv",
            "SET GLOBAL read_only = 1",
            "CREATE DATABASE IF NOT EXISTS tandem",
            "CREATE TABLE IF NOT EXISTS tandem.term (term BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY)",
            "INSERT INTO tandem.term () VALUES ()",
            "SELECT term FROM tandem.term",
            "CREATE TABLE IF NOT EXISTS tandem.heartbeat (server_id INT UNSIGNED PRIMARY KEY, at DATETIME(6))",
            "INSERT INTO tandem.heartbeat VALUES (1, NOW(6)) ON DUPLICATE KEY UPDATE at = NOW(6)",
            "SET GLOBAL read_only = 0",
            "STOP SLAVE IO_THREAD",
            "START SLAVE IO_THREAD",
            "SET GLOBAL rpl_semi_sync_master_enabled = 1",
            // Others' threads: the list of them hides what this refuses.
            "SELECT COUNT(*) FROM information_schema.INNODB_TRX",
        ],
        Flavor::MySql => &[
            "SHOW REPLICA STATUS",
            "SELECT COUNT_RECEIVED_HEARTBEATS FROM performance_schema.replication_connection_status",
            "SELECT HEARTBEAT_INTERVAL FROM performance_schema.replication_connection_configuration",
            "SELECT COUNT(*) FROM performance_schema.error_log",
            "SELECT user, host, plugin, authentication_string FROM mysql.user",
            "SET GLOBAL super_read_only = 1",
            "SET GLOBAL super_read_only = 0",
            "CREATE DATABASE IF NOT EXISTS tandem",
            "CREATE TABLE IF NOT EXISTS tandem.term (term BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY)",
            "INSERT INTO tandem.term () VALUES ()",
            "SELECT term FROM tandem.term",
            "CREATE TABLE IF NOT EXISTS tandem.heartbeat (server_id INT UNSIGNED PRIMARY KEY, at DATETIME(6))",
            "INSERT INTO tandem.heartbeat VALUES (1, NOW(6)) ON DUPLICATE KEY UPDATE at = NOW(6)",
            "SET GLOBAL read_only = 0",
            "STOP REPLICA IO_THREAD",
            "START REPLICA IO_THREAD",
            "SET GLOBAL rpl_semi_sync_source_enabled = 1",
            "SELECT COUNT(*) FROM information_schema.INNODB_TRX",
        ],
    }
}
