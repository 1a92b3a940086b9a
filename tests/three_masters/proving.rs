//! The write test, before pairs and rings that are right and such that are not.

use std::time::Duration;

use mysql_async::OptsBuilder;
use mysql_async::prelude::*;
use tandem::config;
use tandem::monitor::Dialer;
use tandem::pair::Shape;
use tandem::pair::write_test::{self, Proof, WriteTestError};
use tandem::sandbox::{Sandbox, SandboxOptions};
use tandem::topology::{Flavor, ServerAddress, Servers};

use crate::ledger::{Client, Fate};
use crate::patience::{ask, eventually};
use crate::support::{Stack, config_for};

/// For a direction.
const WITHIN: Duration = Duration::from_secs(30);

/// As an administrator, who logs in over the sockets.
async fn prove(sandbox: &Sandbox, within: Duration) -> Result<Proof, WriteTestError> {
    let at = |index: usize| {
        let server = sandbox.server(index);
        (server.name().to_owned(), ServerAddress::Unix(server.socket()))
    };
    let servers = Servers::new((0..sandbox.servers().len()).map(at), []);
    let account = config::Monitor {
        user: "root".to_owned(),
        password: config::Secret::new(String::new()),
        ..config_for(sandbox).monitor
    };
    let dialer = Dialer::new(&account);
    write_test::prove(&servers, |_| dialer.clone(), within).await
}

/// As the monitor.
async fn prove_as_monitor(sandbox: &Sandbox) -> Result<Proof, WriteTestError> {
    let config = config_for(sandbox);
    let dialer = Dialer::new(&config.monitor);
    write_test::prove(&config.servers, |_| dialer.clone(), WITHIN).await
}

fn keys(proof: &Proof) -> Vec<(&str, &[u64])> {
    proof.writes.iter().map(|written| (written.master.as_str(), &written.keys[..])).collect()
}

async fn on(sandbox: &Sandbox, server: usize, statements: &[&str]) {
    sandbox.server(server).execute(statements).await.expect("executed");
}

/// No table of any run is on any server.
async fn nothing_is_left(sandbox: &Sandbox) {
    for server in sandbox.servers() {
        eventually("the scratch table is gone", async || {
            let tables: u64 = ask(
                server,
                "SELECT COUNT(*) FROM information_schema.tables \
                 WHERE table_schema = 'tandem' AND table_name LIKE 'write\\_test\\_%'",
            )
            .await;
            (tables == 0).then_some(())
        })
        .await;
    }
}

/// What closes a standby.
async fn closed_with(sandbox: &Sandbox, server: usize) -> (u8, u8) {
    let question = match sandbox.binaries().flavor() {
        Flavor::MySql => "SELECT CONCAT(@@GLOBAL.read_only, @@GLOBAL.super_read_only)",
        Flavor::MariaDb => "SELECT CONCAT(@@GLOBAL.read_only, 0)",
    };
    let both: String = ask(sandbox.server(server), question).await;
    (both.as_bytes()[0] - b'0', both.as_bytes()[1] - b'0')
}

#[tokio::test]
async fn the_write_test_of_a_ring() {
    the_write_test_of_three(Shape::Ring).await;
}

#[tokio::test]
async fn the_write_test_of_a_mesh() {
    the_write_test_of_three(Shape::Mesh).await;
}

async fn the_write_test_of_three(shape: Shape) {
    let options = SandboxOptions { masters: 3, shape, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await.expect("three servers");
    let proof = prove(&sandbox, WITHIN).await.expect("proven");
    println!("{proof}");
    assert_eq!(keys(&proof), [("m1", &[1, 4, 7][..]), ("m2", &[8]), ("m3", &[9]), ("m1", &[10])]);
    assert_eq!(proof.same_on, ["m1", "m2", "m3"]);
    nothing_is_left(&sandbox).await;
}

/// Beside a proxy with clients that write: nothing happens to them, and nothing is decided.
#[tokio::test]
async fn a_running_proxy_is_not_disturbed() {
    let stack = Stack::start_with(SandboxOptions::default(), |config| {
        config.monitor.interval = Duration::from_millis(100);
        config.failover.failback = None;
    })
    .await;
    let sandbox = &stack.sandbox;
    on(
        sandbox,
        0,
        &["CREATE TABLE app.written (id BIGINT AUTO_INCREMENT PRIMARY KEY, \
         token VARCHAR(64) NOT NULL, by_server INT NOT NULL)"],
    )
    .await;
    if sandbox.binaries().flavor() == Flavor::MySql {
        // As after a switchover.
        on(sandbox, 1, &["SET GLOBAL super_read_only=1"]).await;
    }
    let was = closed_with(sandbox, 1).await;
    let client = Client::start("c".to_owned(), OptsBuilder::from_opts(stack.opts()));
    eventually("the client writes", async || (client.acknowledged() > 10).then_some(())).await;
    let (term, events) = (stack.app.handles().routes.borrow().term, last_event(&stack));
    for _ in 0..10 {
        let proof = prove(sandbox, WITHIN).await.expect("proven");
        println!("{proof}");
        assert_eq!(keys(&proof), [("m1", &[1, 3, 5][..]), ("m2", &[6]), ("m1", &[7])]);
        assert!(!proof.writes[0].closed && proof.writes[1].closed);
        assert_eq!(closed_with(sandbox, 1).await, was, "closed as before");
    }
    let before = client.acknowledged();
    eventually("the client goes on", async || (client.acknowledged() > before + 10).then_some(()))
        .await;
    assert!(client.writes().iter().all(|write| write.fate == Fate::Acknowledged));
    assert_eq!(last_event(&stack), events, "nothing happened");
    // Rows that the standby wrote itself are everywhere: nothing of it is stranded when it is made
    // active, or when it comes back.
    for to in ["m2", "m1"] {
        let mut console = stack.console().await;
        let done: Option<String> =
            console.query_first(format!("SWITCHOVER TO {to}")).await.expect("switched over");
        println!("{done:?}");
    }
    assert!(stack.app.handles().routes.borrow().term > term);
    let stranded: Vec<mysql_async::Row> =
        stack.console().await.query("SHOW STRANDED").await.expect("shown");
    assert!(stranded.is_empty());
    nothing_is_left(sandbox).await;
}

fn last_event(stack: &Stack) -> u64 {
    stack.app.handles().journal.rows_after(0).last().map_or(0, |row| row.number)
}

/// Each thing that is wrong with a pair, one after the other, and mended before the next.
#[tokio::test]
async fn what_is_wrong_is_told() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.expect("a pair");
    let flavor = sandbox.binaries().flavor();

    // The monitor may make tables, and not drop them: told before anything is made.
    let error = prove_as_monitor(&sandbox).await.expect_err("it may not drop").to_string();
    println!("{error}");
    let grant = error.split("mend it with: ").nth(1).expect("a statement");
    assert!(grant.starts_with("GRANT CREATE, DROP, SELECT, INSERT ON tandem.* TO"), "{grant}");
    nothing_is_left(&sandbox).await;
    on(&sandbox, 0, &[grant]).await;
    if flavor == Flavor::MySql {
        on(&sandbox, 0, &["SET GLOBAL super_read_only=1"]).await;
        on(&sandbox, 1, &["SET GLOBAL super_read_only=1"]).await;
    }
    eventually("the grant is on both", async || {
        let proof = prove_as_monitor(&sandbox).await.ok()?;
        assert_eq!(keys(&proof), [("m1", &[1, 3, 5][..]), ("m2", &[6]), ("m1", &[7])]);
        Some(())
    })
    .await;
    if flavor == Flavor::MySql {
        assert_eq!(closed_with(&sandbox, 0).await, (1, 1));
        assert_eq!(closed_with(&sandbox, 1).await, (1, 1));
        on(&sandbox, 0, &["SET GLOBAL super_read_only=0"]).await;
        on(&sandbox, 1, &["SET GLOBAL super_read_only=0"]).await;
    }

    // Both hand out the odd numbers.
    on(&sandbox, 1, &["SET GLOBAL auto_increment_offset=1"]).await;
    let error = prove(&sandbox, WITHIN).await.expect_err("the same numbers");
    println!("{error}");
    assert!(matches!(error, WriteTestError::SameNumbers { .. }), "{error}");
    on(&sandbox, 1, &["SET GLOBAL auto_increment_offset=2"]).await;

    // A table of a run that was killed is dropped, a table of a run that goes on is not.
    let mut other = sandbox.server(0).root_connection().await.expect("a login");
    for name in ["write_test_1_2_3", "write_test_4_5_6"] {
        let made = format!("CREATE TABLE tandem.{name} (id INT PRIMARY KEY)");
        on(&sandbox, 0, &["CREATE DATABASE IF NOT EXISTS tandem", &made]).await;
    }
    other.query_drop("DO GET_LOCK('tandem.write_test_4_5_6', 0)").await.expect("a lock");
    let proof = prove(&sandbox, WITHIN).await.expect("proven");
    assert_eq!(proof.leftovers, ["tandem.write_test_1_2_3"]);
    drop(other);
    eventually("the other run has ended", async || {
        let proof = prove(&sandbox, WITHIN).await.expect("proven");
        (proof.leftovers == ["tandem.write_test_4_5_6"]).then_some(())
    })
    .await;
    nothing_is_left(&sandbox).await;

    // A direction that does not work; what was made is dropped, and is gone when it works again.
    let (stop, start) = match flavor {
        Flavor::MariaDb => ("STOP SLAVE SQL_THREAD", "START SLAVE"),
        Flavor::MySql => ("STOP REPLICA SQL_THREAD", "START REPLICA"),
    };
    on(&sandbox, 0, &[stop]).await;
    let error = prove(&sandbox, Duration::from_millis(500)).await.expect_err("m1 is deaf");
    println!("{error}");
    let WriteTestError::NotReceived { from, to, said, .. } = &error else { panic!("{error}") };
    assert_eq!((from.as_str(), to.as_str()), ("m2", "m1"));
    assert!(said.contains("Slave_SQL_Running: No"), "{said}");
    on(&sandbox, 0, &[start]).await;
    nothing_is_left(&sandbox).await;
    prove(&sandbox, WITHIN).await.expect("proven again");
}

/// On MySQL a standby that was opened for a moment is closed again, whenever the test is broken off.
#[tokio::test]
async fn a_test_that_is_broken_off_leaves_the_standby_closed() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.expect("a pair");
    if sandbox.binaries().flavor() != Flavor::MySql {
        println!("MariaDB: nothing is opened there");
        return;
    }
    for server in [0, 1] {
        on(&sandbox, server, &["SET GLOBAL super_read_only=1"]).await;
    }
    let began = std::time::Instant::now();
    prove(&sandbox, WITHIN).await.expect("proven");
    let whole = began.elapsed();
    let rounds = 40;
    for round in 0..rounds {
        let after = whole * round / rounds;
        let _ = tokio::time::timeout(after, prove(&sandbox, WITHIN)).await;
        for server in [0, 1] {
            eventually("closed again", async || {
                (closed_with(&sandbox, server).await == (1, 1)).then_some(())
            })
            .await;
        }
    }
    prove(&sandbox, WITHIN).await.expect("proven again");
    nothing_is_left(&sandbox).await;
}
